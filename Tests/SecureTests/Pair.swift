import Base
import COpenSSL
import Glibc

@testable import Secure

/// Who vouches, and for whom, in these tests. Made anew for each test: keys are cheap.
struct Authority {
    static let wall = Int64(time(nil))
    let authority: CertificateAuthority

    init(_ name: String = "test authority") throws {
        authority = try CertificateAuthority(commonName: name, validity: Self.aDay)
    }

    static let aDay = Validity(from: wall, for: .seconds(86_400))

    func identity(
        _ hosts: [String] = ["server.test"], uris: [String] = [], addresses: [String] = [],
        validity: Validity = aDay
    ) throws -> TLSIdentity {
        try authority.issue(
            CertificateSubject(
                commonName: "test", hosts: hosts, uris: uris, addresses: addresses),
            validity: validity)
    }

    var pem: [UInt8] { authority.certificate }

    /// A client that believes this authority and asks for `server.test`.
    func clientOptions(_ change: (inout TLSClientOptions) -> Void = { _ in }) -> TLSClientOptions {
        var options = TLSClientOptions(authorities: pem)
        options.serverName = "server.test"
        change(&options)
        return options
    }
}

/// A client and a server whose bytes pass through this memory.
final class Pair {
    let client: TLSSession
    let server: TLSSession
    /// Bytes on their way.
    var toServer: [UInt8] = []
    var toClient: [UInt8] = []
    /// What each has come to.
    var clientProgress = TLSProgress.wantsMore
    var serverProgress = TLSProgress.wantsMore
    /// Bytes taken and said in the last exchange of turns.
    private var moved = 0

    init(client: TLSContext, server: TLSContext, endpoint: String = "a:1", address: String = "a") {
        self.client = TLSSession(client: client, endpoint: endpoint, address: address)
        self.server = TLSSession(server: server)
    }

    convenience init(
        _ authority: Authority, client: (inout TLSClientOptions) -> Void = { _ in },
        server: (inout TLSServerOptions) -> Void = { _ in }
    ) throws {
        var options = TLSServerOptions(identity: try authority.identity())
        server(&options)
        self.init(
            client: try TLSContext(client: authority.clientOptions(client)),
            server: try TLSContext(server: options))
    }

    /// Lets both go on until neither has anything to say, `piece` bytes at a time.
    /// - Returns: whether both are done.
    @discardableResult
    func handshake(piece: Int = .max) -> Bool {
        while turn(piece: piece) {}
        return clientProgress == .done && serverProgress == .done
    }

    /// Lets each go on once.
    /// - Returns: whether anything was taken or said.
    func turn(piece: Int) -> Bool {
        moved = 0
        clientProgress = step(client, &toClient, to: &toServer, piece)
        serverProgress = step(server, &toServer, to: &toClient, piece)
        return moved > 0
    }

    private func step(
        _ session: TLSSession, _ from: inout [UInt8], to: inout [UInt8], _ piece: Int
    ) -> TLSProgress {
        let taken = Array(from.prefix(piece))
        let (progress, rest) = taken.withBytes { bytes in
            var input = bytes
            let progress = session.handshake(&input)
            return (progress, input.count)
        }
        let said = session.drain()
        from.removeFirst(taken.count - rest)
        to += said
        moved += taken.count - rest + said.count
        return progress
    }

    /// What the client failed with; nil: it did not.
    var clientFailure: TLSFailure? {
        if case .failed(let error) = clientProgress { return error.reason }
        return nil
    }

    var serverFailure: TLSFailure? {
        if case .failed(let error) = serverProgress { return error.reason }
        return nil
    }

    /// What the client's next read comes to, once the server's bytes are with it.
    func clientRead() -> TLSTransfer { client.receive(&toClient).last ?? .wantsMore }

    func serverRead() -> TLSTransfer { server.receive(&toServer).last ?? .wantsMore }
}

extension TLSSession {
    /// Everything that is held to be sent.
    func drain() -> [UInt8] {
        let bytes = unsafe Array(heldOutput.raw)
        sent(held: bytes.count)
        return bytes
    }

    /// Encrypts all of `plaintext`, through a scratch of `room` bytes.
    func encrypt(_ plaintext: [UInt8], room: Int = 64 * 1024) -> [UInt8] {
        var ciphertext: [UInt8] = drain()
        var scratch = [UInt8](repeating: 0, count: room)
        var place = 0
        while place < plaintext.count {
            var used = 0
            let rest = Array(plaintext[place...])
            let outcome = unsafe scratch.withUnsafeMutableBytes { memory in
                rest.withBytes { unsafe write($0, into: memory, used: &used) }
            }
            guard case .bytes(let taken) = outcome else { return [] }
            place += taken
            ciphertext += scratch[..<used] + drain()
        }
        return ciphertext
    }

    /// Decrypts what there is of `input`; what was not taken of it stays there.
    /// - Returns: the outcomes, and what they brought in `plaintext`.
    func receive(
        _ input: inout [UInt8], room: Int = 64 * 1024, plaintext: inout [UInt8]
    ) -> [TLSTransfer] {
        var outcomes: [TLSTransfer] = []
        var memory = [UInt8](repeating: 0, count: room)
        while true {
            let (outcome, rest) = unsafe memory.withUnsafeMutableBytes { memory in
                input.withBytes { bytes in
                    var view = bytes
                    let outcome = unsafe read(&view, into: memory)
                    return (outcome, view.count)
                }
            }
            input.removeFirst(input.count - rest)
            outcomes.append(outcome)
            guard case .bytes(let count) = outcome else { return outcomes }
            plaintext += memory[..<count]
        }
    }

    func receive(_ input: inout [UInt8]) -> [TLSTransfer] {
        var plaintext: [UInt8] = []
        return receive(&input, plaintext: &plaintext)
    }
}

extension TLSSession {
    /// Lets the session speak TLS 1.2 only.
    func limitToVersion12() {
        unsafe SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
    }
}
