import Base
import COpenSSL
import Testing

@testable import Secure

/// One listener, several certificates: which one is shown to whom.
@Suite struct ServerNameTests {
    private static let versions = [TLSMinimum.v12, .v13]

    /// A server with a certificate for each of these lists of names, the first the default.
    private struct Scene {
        let authority: Authority
        let server: TLSContext

        init(
            _ names: [[String]] = [
                ["default.test"], ["a.test", "Mixed.Test"], ["*.b.test", "b.test"], ["c.b.test"],
            ], change: (inout TLSServerOptions, Authority) throws -> Void = { _, _ in }
        ) throws {
            authority = try Authority()
            var identities: [TLSIdentity] = []
            for names in names { identities.append(try authority.identity(names)) }
            var options = TLSServerOptions(identity: identities[0])
            options.others = Array(identities.dropFirst())
            try change(&options, authority)
            server = try TLSContext(server: options)
        }

        /// A client that asks for `name`, and takes whatever certificate it is shown.
        func client(_ name: String?, change: (inout TLSClientOptions) -> Void = { _ in }) throws
            -> TLSContext
        {
            var options = TLSClientOptions(authorities: authority.pem)
            options.serverName = name
            options.names = ["default.test", "a.test", "b.test", "x.b.test", "c.b.test"]
            change(&options)
            return try TLSContext(client: options)
        }

        /// The first name of the certificate that was shown; nil: there is no connection.
        func shown(_ name: String?, version: TLSMinimum = .v13) throws -> String? {
            let pair = Pair(client: try client(name), server: server)
            if version == .v12 { pair.client.limitToVersion12() }
            return pair.handshake() ? pair.client.peer : nil
        }
    }

    @Test(
        arguments: [
            (nil, "default.test"), ("default.test", "default.test"), ("a.test", "a.test"),
            ("A.TEST", "a.test"), ("mixed.test", "a.test"), ("b.test", "*.b.test"),
            ("x.b.test", "*.b.test"), ("X.B.Test", "*.b.test"),
            ("xn--bcher-kva.b.test", "*.b.test"),
            // The whole name goes before the wildcard, which is for one label.
            ("c.b.test", "c.b.test"), ("x.c.b.test", "default.test"),
            ("y.x.b.test", "default.test"),
            ("nobody.test", "default.test"), ("test", "default.test"), (".b.test", "default.test"),
            ("a.test.", "default.test"), ("*.b.test", "default.test"), ("a", "default.test"),
            ("b\u{FC}cher.b.test", "default.test"), ("a b.b.test", "default.test"),
            (String(repeating: "x", count: 248) + ".b.test", "default.test"),
        ] as [(String?, String)], versions)
    func theNameChooses(_ wanted: (name: String?, shown: String), _ version: TLSMinimum) throws {
        #expect(try Scene().shown(wanted.name, version: version) == wanted.shown)
    }

    /// What the client asked for was of use: RFC 6066, 3, wants that said.
    @Test(arguments: versions)
    func aUsefulNameIsAcknowledged(_ version: TLSMinimum) throws {
        let scene = try Scene()
        for (name, isUseful) in [("a.test", true), ("default.test", true), ("other.test", false)] {
            let pair = Pair(client: try scene.client(name), server: scene.server)
            if version == .v12 { pair.client.limitToVersion12() }
            #expect(pair.handshake())
            #expect(pair.client.isNameAcknowledged == isUseful, "\(name)")
        }
    }

    /// Of the default's own names, a whole one goes before another's wildcard.
    @Test func theDefaultHasNamesToo() throws {
        let scene = try Scene([["*.test", "x.b.test"], ["*.b.test"], ["a.test"]])
        #expect(try scene.shown("x.b.test") == "*.test")
        #expect(try scene.shown("c.b.test") == "*.b.test")
        #expect(try scene.shown("a.test") == "a.test")
    }

    // MARK: Resumption

    @Test(arguments: versions)
    func aTicketIsForOneName(_ version: TLSMinimum) throws {
        let scene = try Scene()
        func connect(_ client: TLSContext) throws -> Pair {
            let pair = Pair(client: client, server: scene.server)
            if version == .v12 { pair.client.limitToVersion12() }
            try #require(pair.handshake())
            _ = pair.clientRead()
            return pair
        }
        // Another certificate, the same one by another name, the default, and none.
        let names = ["a.test", "x.b.test", "b.test", "nobody.test", nil]
        for first in names {
            for second in names {
                let one = try scene.client(first)
                let begun = try connect(one)
                #expect(!begun.client.isResumed)
                let other = try scene.client(second)
                other.cache.store(try #require(one.cache.take(for: "a:1")), for: "a:1")
                let next = try connect(other)
                #expect(
                    next.client.isResumed == (first == second), "\(first ?? "") \(second ?? "")")
                #expect(next.server.isResumed == next.client.isResumed)
                #expect(next.client.peer == (try scene.shown(second)))
            }
        }
        // Names are compared as hosts' are.
        let one = try scene.client("a.test")
        _ = try connect(one)
        let other = try scene.client("A.Test")
        other.cache.store(try #require(one.cache.take(for: "a:1")), for: "a:1")
        #expect(try connect(other).client.isResumed)
    }

    // MARK: The rest of the handshake

    @Test(arguments: versions)
    func clientsAreVerifiedWhicheverIsShown(_ version: TLSMinimum) throws {
        let scene = try Scene { options, authority in
            options.authorities = authority.pem
            options.requiresClient = true
            options.clientNames = ["spiffe://wanted"]
            options.protocols = ["h2", "http/1.1"]
        }
        let wanted = try scene.authority.identity(uris: ["spiffe://wanted"])
        let stranger = try scene.authority.identity(uris: ["spiffe://stranger"])
        let unknown = try Authority("another").identity(uris: ["spiffe://wanted"])
        for name in [nil, "a.test", "x.b.test", "nobody.test"] {
            for (identity, failure) in [
                (wanted, nil), (stranger, .certificateName), (unknown, .certificateAuthority),
                (nil, .noPeerCertificate),
            ] as [(TLSIdentity?, TLSFailure?)] {
                let client = try scene.client(name) {
                    $0.identity = identity
                    $0.protocols = ["http/1.1", "h2"]
                }
                let pair = Pair(client: client, server: scene.server)
                if version == .v12 { pair.client.limitToVersion12() }
                pair.handshake()
                #expect(pair.serverFailure == failure, "\(name ?? "")")
                guard failure == nil else { continue }
                #expect(pair.server.peer == "spiffe://wanted")
                #expect(pair.client.agreedProtocol == "h2")
                #expect(pair.server.agreedProtocol == "h2")
            }
        }
    }

    /// The chosen certificate comes with its own intermediates, and none of the default's.
    @Test func theChainIsItsOwn() throws {
        let spare = try Authority("spare")
        for place in 0...1 {
            let scene = try Scene([["default.test"], ["a.test"]]) { options, _ in
                if place == 0 {
                    options.identity.certificate += spare.pem
                } else {
                    options.others[0].certificate += spare.pem
                }
            }
            for (name, index) in [("nobody.test", 0), ("a.test", 1)] {
                let pair = Pair(client: try scene.client(name), server: scene.server)
                #expect(pair.handshake())
                #expect(pair.client.peerChainCount == (index == place ? 2 : 1))
            }
        }
    }

    /// A client that retries with another key share (RFC 8446, 4.1.4) is read twice.
    @Test func aRetryKeepsTheName() throws {
        let scene = try Scene()
        let client = try scene.client("a.test")
        let pair = Pair(client: client, server: scene.server)
        pair.client.offerShare(of: "X448:P-256")
        pair.server.limitGroups(to: "P-256")
        #expect(pair.handshake())
        #expect(pair.client.peer == "a.test")
    }

    // MARK: Hostile names

    /// OpenSSL refuses what no client may say; everything else gets the default.
    @Test func malformedNames() throws {
        let scene = try Scene()
        for (bytes, shown) in [
            (Array("a\0test".utf8), nil), (Array("a.tes\0".utf8), nil),
            ([0xFF, 0xFE, 0x80, 0xC3, 0x28, 0x01], "default.test"),
            (Array("......".utf8), "default.test"), (Array("*.test".utf8), "default.test"),
            (Array("a.tesT".utf8), "a.test"),
        ] as [([UInt8], String?)] {
            let pair = Pair(client: try scene.client("a.test"), server: scene.server)
            pair.client.limitToVersion12()
            _ = pair.client.handshakeOnce()
            pair.toServer = pair.client.drain().replacing(Array("a.test".utf8), with: bytes)
            pair.handshake()
            // In TLS 1.2 that the transcripts differ shows only after the certificate.
            #expect(pair.client.peer == shown, "\(bytes)")
            #expect((pair.clientFailure == .alertUnrecognizedName) == (shown == nil), "\(bytes)")
            if shown == nil { #expect(pair.serverFailure == .protocolError) }
        }
    }

    /// Longer than any name may be: 253 bytes are the most in DNS, 255 in OpenSSL.
    @Test(arguments: [6, 253, 254, 255, 256, 5000])
    func namesOfAnyLength(_ count: Int) throws {
        let scene = try Scene([["default.test"], ["*.test"]])
        let pair = Pair(client: try scene.client("a.test"), server: scene.server)
        pair.client.limitToVersion12()
        _ = pair.client.handshakeOnce()
        let label = [UInt8](repeating: 0x78, count: count - 5)
        pair.toServer = try stretched(
            pair.client.drain(), Array("a.test".utf8), label + Array(".test".utf8))
        pair.handshake()
        #expect(
            pair.server.shownName == (count <= 253 ? "*.test" : "default.test"))
        #expect((pair.clientFailure == .alertUnrecognizedName) == (count > 255))
    }

    /// A client's hello with another name in it, and with all lengths around it set right.
    private func stretched(_ hello: [UInt8], _ old: [UInt8], _ new: [UInt8]) throws -> [UInt8] {
        let place = try #require(hello.firstRange(of: old)).lowerBound
        var hello = hello
        // The record's head, the message's, version and random; then session, ciphers,
        // compression (RFC 5246, 7.4.1.2), each with its length before it.
        var extensions = 5 + 4 + 2 + 32
        extensions += 1 + Int(hello[extensions])
        extensions += 2 + Int(hello[extensions]) << 8 + Int(hello[extensions + 1])
        extensions += 1 + Int(hello[extensions])
        for length in [3, 7, extensions, place - 7, place - 5, place - 2] {
            let value =
                Int(hello[length]) << 8 + Int(hello[length + 1]) + new.count - old.count
            hello[length] = UInt8(value >> 8)
            hello[length + 1] = UInt8(value & 255)
        }
        hello.replaceSubrange(place..<place + old.count, with: new)
        return hello
    }

    /// Every form that the extension's data may take, cut and stretched.
    @Test func onlyAWholeNameIsRead() {
        func asked(_ data: [UInt8]) -> String? { data.withBytes { ServerNames.asked(in: $0) } }
        let name = Array("A.Test".utf8)
        let good: [UInt8] = [0, 9, 0, 0, 6] + name
        #expect(asked(good) == "a.test")
        for count in 0..<good.count { #expect(asked(Array(good[..<count])) == nil) }
        #expect(asked(good + [0]) == nil)
        for place in 0..<5 {
            var bent = good
            bent[place] ^= 1
            #expect(asked(bent) == nil, "\(place)")
        }
        #expect(asked([0, 3, 0, 0, 0]) == nil)
        // Two names in one list, which RFC 6066 rules out for the same kind.
        #expect(asked([0, 18, 0, 0, 6] + name + [0, 0, 6] + name) == nil)
        let long = [UInt8](repeating: 0x61, count: 254)
        #expect(asked([1, 1, 0, 0, 254] + long) == nil)
        #expect(asked([1, 0, 0, 0, 253] + long[1...]) == String(repeating: "a", count: 253))
    }

    // MARK: What cannot be chosen among

    private func failure(_ names: [[String]]) -> TLSError? {
        do {
            _ = try Scene(names)
            return nil
        } catch { return error as? TLSError }
    }

    @Test func twoForOneNameAreRefused() {
        for (names, detail, places) in [
            ([["a.test"], ["b.test"], ["x.test", "A.test"]], "A.test", [0, 2]),
            ([["d.test"], ["*.b.test"], ["*.B.test"]], "*.B.test", [1, 2]),
        ] {
            #expect(
                failure(names)
                    == TLSError(.duplicateServerName, detail: detail, certificates: places))
        }
        // The same name twice in one certificate does no harm, nor does what a wildcard covers.
        #expect(failure([["d.test"], ["a.b.test", "A.b.test"], ["*.b.test", "b.test"]]) == nil)
    }

    @Test func oneWithoutANameIsRefused() {
        let none = TLSError(.noServerName, certificates: [1])
        #expect(failure([["d.test"], []]) == none)
        // A partial wildcard, which no client would believe (RFC 9525, 6.3).
        #expect(failure([["d.test"], ["f*.test"]]) == none)
        // The default is for everybody, whatever it is called.
        #expect(failure([[], ["a.test"]]) == nil)
    }

    @Test func whichOneIsBrokenIsSaid() throws {
        let stray = try Authority().identity()
        let parts: [WritableKeyPath<TLSIdentity, [UInt8]>] = [\.certificate, \.key]
        for (place, part) in parts.enumerated() {
            do throws(TLSError) {
                var options = TLSServerOptions(identity: stray)
                options.others = [stray, stray]
                options.others[0] = try mustIssue("a.test")
                options.others[1] = try mustIssue("b.test")
                options.others[place][keyPath: part] = Array("nonsense".utf8)
                _ = try TLSContext(server: options)
                Issue.record("a broken file was taken")
            } catch {
                #expect(error.certificates == [place + 1])
                #expect(error.reason == (place == 0 ? .malformedCertificate : .malformedKey))
            }
        }
    }

    private func mustIssue(_ name: String) throws(TLSError) -> TLSIdentity {
        let authority = try CertificateAuthority(commonName: "test", validity: Authority.aDay)
        return try authority.issue(
            CertificateSubject(commonName: name, hosts: [name]), validity: Authority.aDay)
    }
}

extension TLSSession {
    /// Whether the server has said that the name was of use.
    fileprivate var isNameAcknowledged: Bool {
        unsafe SSL_SESSION_get0_hostname(SSL_get_session(ssl)) != nil
    }

    /// The first name of the certificate that a server shows.
    fileprivate var shownName: String? {
        unsafe SSL_get_certificate(ssl).map { unsafe AlternativeNames.title(of: $0) }
    }

    /// Certificates that the server has shown.
    fileprivate var peerChainCount: Int {
        unsafe Int(OPENSSL_sk_num(SSL_get_peer_cert_chain(ssl)))
    }

    /// Offers a key share of the first of these groups alone.
    fileprivate func offerShare(of groups: String) { limitGroups(to: groups) }

    fileprivate func limitGroups(to groups: String) {
        unsafe _ = groups.withCString {
            unsafe SSL_ctrl(ssl, SSL_CTRL_SET_GROUPS_LIST, 0, UnsafeMutableRawPointer(mutating: $0))
        }
    }

    /// The first flight.
    fileprivate func handshakeOnce() -> TLSProgress {
        var nothing = Bytes("")
        return handshake(&nothing)
    }
}
