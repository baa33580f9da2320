// How a copy of what an etcd holds is made and kept: pages of one revision, then a watch from that
// revision on; a watch that breaks goes on where it broke, and where etcd has forgotten what came
// then, everything is read again. Answers in, changes out; whoever has sockets asks.

import Base

/// What has become of the copy.
public enum EtcdUpdate: Equatable, Sendable {
    /// All that there is, at a revision. `goesOn`: it is what became of the copy there was.
    case contents([StoreEntry], revision: UInt64, goesOn: Bool)
    /// What has happened since, in order.
    case commits([StoreCommit])
}

/// A copy of a store in the making.
public struct EtcdReplica: Sendable {
    /// What is to be asked next.
    public enum Step: Equatable, Sendable {
        /// Whether etcd still is what is being copied: `read(probe:)`.
        case probe
        /// A page: `read(page:)`.
        case page
        /// A stream of lines: `read(line:)`.
        case watch
    }

    /// The copy is at this revision; 0: there is none.
    public private(set) var revision: UInt64 = 0
    public private(set) var step = Step.probe
    /// That of the cluster that is copied.
    private var cluster = ""
    /// The head as it was last seen: it is never deleted, so that another one is another store's.
    private var head: StoreEntry?
    /// Whether what is being read is what has become of the copy.
    private var goesOn = false
    private var pages: [StoreEntry] = []
    private var pageBytes = 0
    private var pageRevision: UInt64 = 0
    /// Keys in a page. Fewer where a page had too many bytes.
    private var pageLimit = EtcdReplica.pageKeys
    /// Events of a commit that comes in fragments. Bound: what a transaction may hold.
    private var fragments: [EtcdAnswer] = []
    private var fragmentBytes = 0

    private static let pageKeys = 1024
    private static let fragmentLimit = 4 * StoreLimits.frameBytes

    public init() {}

    /// What is to be sent for the present step.
    public var request: EtcdRequest {
        switch step {
        case .probe: Self.probe
        case .page:
            .page(after: pages.last?.key, revision: pageRevision, limit: pageLimit)
        case .watch: .watch(from: revision + 1)
        }
    }

    /// What is sent for a probe at any time.
    public static var probe: EtcdRequest { .key(EtcdSpace.outside(ControlPlane.head)) }

    /// The connection has ended, or whoever is at its other end is not believed any more.
    public mutating func disconnected() {
        step = .probe
        dropPages()
        fragments = []
        fragmentBytes = 0
    }

    /// Reads whether etcd is what it was. It is asked at each connection, and now and then.
    /// - Returns: the revision that last changed the head; 0: none has.
    @discardableResult
    public mutating func read(probe body: [UInt8]) throws(EtcdFault) -> UInt64 {
        let answer = try EtcdAnswer(body)
        let now = try answer.revision()
        let found = try answer.list("kvs").first.map { item throws(EtcdFault) in
            try item.entry()
        }
        let cluster = try answer.cluster()
        if revision == 0 || !isSame(cluster, now, found) {
            // A watch that is open tells of the store that is gone.
            goesOn = false
            dropPages()
            step = .page
        } else if step == .probe {
            step = .watch
        }
        return found?.modRevision ?? 0
    }

    /// Reads a page.
    /// - Returns: everything, once it is read.
    public mutating func read(page body: [UInt8]) throws(EtcdFault) -> EtcdUpdate? {
        let answer = try EtcdAnswer(body)
        if pages.isEmpty, pageRevision == 0 {
            pageRevision = try answer.revision()
            let found = try answer.cluster()
            if found != cluster || pageRevision < revision { goesOn = false }
            cluster = found
        }
        for item in try answer.list("kvs") {
            let entry = try item.entry()
            guard pages.last.map({ $0.key < entry.key }) ?? true else {
                throw .malformed("keys out of order")
            }
            pageBytes += entry.byteCount
            pages.append(entry)
        }
        // As much again as one control plane puts there, because others may.
        guard pages.count <= 2 * StoreLimits().keys, pageBytes <= 2 * StoreLimits().bytes else {
            throw .tooLarge
        }
        if answer.flag("more") { return nil }
        let update = EtcdUpdate.contents(pages, revision: pageRevision, goesOn: goesOn)
        revision = pageRevision
        head = pages.first { $0.key == ControlPlane.head }
        dropPages()
        step = .watch
        return update
    }

    /// A page could not be read at this revision, or was too large to take.
    public mutating func pageFailed(tooLarge: Bool) {
        if tooLarge { pageLimit = max(1, pageLimit / 8) }
        dropPages()
    }

    /// Reads a line of a watch.
    public mutating func read(line: [UInt8]) throws(EtcdFault) -> EtcdUpdate? {
        let answer = try EtcdAnswer.line(line)
        if answer.flag("canceled") {
            guard try answer.number("compact_revision") > 0 else {
                throw .cancelled(answer.text("cancel_reason") ?? "no reason given")
            }
            goesOn = true
            dropPages()
            step = .page
            return nil
        }
        fragments += try answer.list("events")
        fragmentBytes += line.count
        guard fragmentBytes <= Self.fragmentLimit else { throw .tooLarge }
        if answer.flag("fragment") { return nil }
        let events = fragments
        fragments = []
        fragmentBytes = 0
        let commits = try self.commits(events)
        guard let last = commits.last else { return nil }
        revision = last.revision
        return .commits(commits)
    }

    /// The commits of events, without those that are known.
    private mutating func commits(_ events: [EtcdAnswer]) throws(EtcdFault) -> [StoreCommit] {
        var commits: [StoreCommit] = []
        for event in events {
            let (change, at) = try Self.change(event)
            guard at > revision else { continue }
            if let last = commits.last, at < last.revision {
                throw .malformed("events out of order")
            }
            if commits.last?.revision == at {
                commits[commits.count - 1].changes.append(change)
            } else {
                commits.append(StoreCommit(revision: at, changes: [change]))
            }
            if case .put(let entry) = change, entry.key == ControlPlane.head { head = entry }
        }
        return commits
    }

    private static func change(
        _ event: EtcdAnswer
    ) throws(EtcdFault) -> (StoreChange, revision: UInt64) {
        let item = try event.part("kv")
        switch event.text("type") {
        case nil, "PUT":
            let entry = try item.entry()
            return (.put(entry), entry.modRevision)
        case "DELETE":
            guard let key = EtcdSpace.inside(try item.bytes("key")) else {
                throw .malformed("a key that was not asked for")
            }
            return (.delete(key), try item.number("mod_revision"))
        case let type?: throw .malformed("an event of type \(type)")
        }
    }

    /// Whether a store is the one that is copied, grown older: not one that was restored from a
    /// copy of itself, or begun anew.
    private func isSame(_ cluster: String, _ now: UInt64, _ found: StoreEntry?) -> Bool {
        guard cluster == self.cluster, now >= revision else { return false }
        guard let head else { return found.map { $0.modRevision > revision } ?? true }
        guard let found, found.createRevision == head.createRevision else { return false }
        return found.modRevision == head.modRevision
            || found.modRevision > head.modRevision && found.version > head.version
    }

    private mutating func dropPages() {
        pages = []
        pageBytes = 0
        pageRevision = 0
    }
}
