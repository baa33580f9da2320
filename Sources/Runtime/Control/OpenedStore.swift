// What a control plane begins with: its store, and the token that clients show.

import Base
import ControlCore
import Posix

/// A store that is ready.
struct OpenedStore {
    let store: any MeshStore
    let token: ControlToken
    /// Who brings news of a store that is elsewhere; nil: nobody else writes.
    let inbox: EtcdInbox?

    /// In a store that several share, the token that they share.
    static let tokenKey = StoreKey("token")
    private static let writerFile = "replica"
    /// How long a store that does not take the token is asked at the start.
    static let patience = Duration.seconds(10)

    init(_ configuration: ControlConfiguration) throws(ControlStartError) {
        let folder: DiskFolder
        do throws(StoreFault) {
            folder = try DiskFolder(configuration.data)
        } catch {
            throw .store(error)
        }
        if let etcd = configuration.etcd {
            let client = try Self.client(etcd)
            let store = try Self.open(client, folder, configuration.data)
            self.store = store
            inbox = client.inbox
            do throws(ControlTokenError) {
                token = try Self.sharedToken(configuration.data, store, .system)
            } catch {
                throw .token(error)
            }
            return
        }
        do throws(StoreFault) {
            store = try Store(in: folder, now: Clock.now())
        } catch {
            throw .store(error)
        }
        do throws(ControlTokenError) {
            token = try ControlToken(folder: configuration.data)
        } catch {
            throw .token(error)
        }
        inbox = nil
    }

    private static func client(
        _ etcd: EtcdConfiguration
    ) throws(ControlStartError) -> EtcdClient {
        do throws(EtcdClientError) {
            return try EtcdClient(etcd)
        } catch {
            switch error {
            case .system(let error): throw .service(.system(error))
            case .file(let error): throw .service(.file(error))
            }
        }
    }

    private static func open(
        _ client: EtcdClient, _ folder: DiskFolder, _ path: String
    ) throws(ControlStartError) -> EtcdStore {
        let id: ControlToken
        do throws(ControlTokenError) {
            id = try ControlToken(folder: path, file: writerFile)
        } catch {
            throw .token(error)
        }
        var random = SystemRandomNumberGenerator()
        let writer = EtcdWriter(id: id.text, nonce: random.next())
        do throws(StoreFault) {
            return try EtcdStore(client, writer: writer, holding: folder)
        } catch {
            throw .store(error)
        }
    }

    /// How a start waits.
    struct Waiting {
        /// CLOCK_MONOTONIC.
        var now: () -> Instant
        var sleep: (Duration) -> Void

        static var system: Waiting {
            Waiting(now: Clock.now) { Clock.sleep(until: Clock.now() + $0) }
        }
    }

    /// The token of the folder, or else the one that others have put into the store. Whoever is
    /// first makes it.
    static func sharedToken(
        _ folder: String, _ store: any MeshStore, _ waiting: Waiting
    ) throws(ControlTokenError) -> ControlToken {
        if let found = try ControlToken.found(folder: folder) {
            share(found, store, waiting.now())
            return found
        }
        // Of several that begin at once one is first, and the others hear of it a moment later.
        let deadline = waiting.now() + patience
        var random = SeededRandom(seed: .random(in: 0...UInt64.max))
        while store.state.entry(tokenKey) == nil, waiting.now() < deadline {
            share(.random(), store, waiting.now())
            if store.state.entry(tokenKey) != nil { break }
            waiting.sleep(.milliseconds(Int64(20 + random.below(80))))
            store.advance()
        }
        guard let entry = store.state.entry(tokenKey),
            let token = ControlToken(shared: entry.value)
        else {
            throw ControlTokenError(file: folder, reason: "the store has no token for it")
        }
        try token.write(folder: folder)
        return token
    }

    /// Puts a token into the store, if there is none.
    private static func share(_ token: ControlToken, _ store: any MeshStore, _ now: Instant) {
        guard store.state.entry(tokenKey) == nil else { return }
        let transaction = StoreTransaction(
            conditions: [.init(tokenKey, modRevision: 0)],
            changes: [.put(tokenKey, value: Array(token.text.utf8))])
        // Where somebody else was faster, or the store does not take it now, what stands there
        // counts.
        do throws(StoreFault) {
            _ = try store.commit(.transaction(transaction), now: now)
        } catch {}
    }
}
