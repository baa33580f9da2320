import Base
import ControlCore
import Model
import Posix
import Scenario
import Secure
import Testing

@testable import Runtime

/// Joining, renewing, revoking and rotating, without sockets and with a clock that is told.
@Suite struct ControlIdentityTests {
    private let api: ControlAPI

    init() throws {
        api = try ControlAPI(life: .seconds(100))
        try #require(
            try api.ask(
                "POST", "/v1/apply",
                """
                {"declarations":[{"kind":"service","name":"echo"},
                {"kind":"service","name":"cart","namespace":"shop",
                "identity":"spiffe://meshbench.test/cart"}]}
                """
            ).status == 200)
    }

    /// A turn of the listener, after so many seconds.
    private func turn(after seconds: Int64 = 0) throws {
        api.clock.pass(seconds)
        let next = try #require(try api.proxyListener().turnEnds(api.clock.now))
        #expect(next >= api.clock.now && next <= api.clock.now + .seconds(1))
    }

    private func list() throws -> CertificatesAnswer {
        try api.ask("GET", "/v1/certificates").read(CertificatesAnswer.self)
    }

    // MARK: Joining

    @Test func aTokenIsExchangedForACertificate() throws {
        let issued = try api.joined()
        #expect(issued.service == "default/echo")
        #expect(issued.namespace == "default")
        #expect(issued.identity == "spiffe://meshbench.test/ns/default/sa/echo")
        #expect(issued.trustDomain == "meshbench.test")
        #expect(issued.notAfter == api.clock.seconds + 100)
        let facts = try issued.facts
        #expect(facts.names.uris == [issued.identity])
        #expect(facts.names.hosts == ["echo.default.mesh"])
        #expect(facts.validity.notBefore == issued.notBefore)
        let bundle = try api.askProxies("GET", "/v1/authorities").text
        #expect(bundle == issued.authorities)
        // What the token names is what whoever has it finds.
        let claims = try #require(JoinToken.claims(of: try api.makeToken()))
        #expect(claims.roots == [try CertificateFacts(Array(bundle.utf8)).digest])
        let record = try #require(try list().certificates.first)
        #expect(record.serial == facts.serial && record.proxy == "echo-1")
    }

    @Test func servicesMayHaveIdentitiesOfTheirOwn() throws {
        let issued = try api.join(try api.makeToken(service: "shop/cart"))
            .read(IssuedAnswer.self)
        #expect(issued.identity == "spiffe://meshbench.test/cart")
    }

    @Test func everyRefusalSaysWhy() throws {
        func refusal(_ answer: ControlAPI.Answer) -> String { "\(answer.status) \(answer.text)" }
        let token = try api.makeToken()
        #expect(
            refusal(try api.join("abc"))
                == "401 {\"error\":\"the token is malformed\",\"problems\":[]}")
        let other = try ControlAPI()
        _ = try other.ask(
            "PUT", "/v1/services/default/echo", "{\"kind\":\"service\",\"name\":\"echo\"}")
        #expect(refusal(try api.join(try other.makeToken())).contains("not made by this mesh"))
        #expect(
            refusal(try api.join(token, "," + "\"service\":\"shop/cart\""))
                .hasPrefix("403 {\"error\":\"the token is for the service default/echo\""))
        #expect(refusal(try api.join(token, csr: "\"x\"")).contains("malformed_request"))
        #expect(refusal(try api.join(token, proxy: "A")).contains("400"))
        // None of these has used it up.
        #expect(try api.join(token).status == 200)
        #expect(
            refusal(try api.join(token)).hasPrefix("403 {\"error\":\"the token was for one use"))
        let late = try api.makeToken(",\"life_seconds\":5")
        api.clock.pass(5)
        #expect(refusal(try api.join(late)).hasPrefix("401 {\"error\":\"the token has expired"))
        let orphan = try api.makeToken(",\"single_use\":false")
        _ = try api.ask("DELETE", "/v1/services/default/echo")
        #expect(refusal(try api.join(orphan)).hasPrefix("403 {\"error\":\"there is no service"))
        #expect(api.center.statistics.joinRefusals == 7)
    }

    @Test func aLostAnswerMayBeAskedForAgain() throws {
        let token = try api.makeToken()
        let request = try makeRequest()
        let first = try api.join(token, csr: request).read(IssuedAnswer.self)
        let second = try api.join(token, csr: request).read(IssuedAnswer.self)
        #expect(try first.facts.serial != second.facts.serial)
        #expect(try list().certificates.map(\.serial) == [second.facts.serial])
        #expect(try api.join(token).status == 403)
    }

    @Test func tokensForManyLetManyIn() throws {
        let token = try api.makeToken(",\"single_use\":false")
        for place in 0..<5 { #expect(try api.join(token, proxy: "p\(place)").status == 200) }
        #expect(try list().certificates.count == 5)
    }

    // MARK: Renewing

    @Test func renewalsAreOfOneLineage() throws {
        let first = try api.joined()
        for _ in 0..<20 {
            api.clock.pass(50)
            let next = try api.show(try api.renew().read(IssuedAnswer.self))
            #expect(next.notAfter == api.clock.seconds + 100)
            let (old, new) = (try first.facts.serial, try next.facts.serial)
            #expect(old.prefix(16) == new.prefix(16) && old != new)
            #expect(try list().certificates.map(\.serial) == [new])
            try turn(after: 0)
        }
        // After the certificate has ended, what is known of it goes too.
        try turn(after: 100 + CertificateRecord.slack + 100)
        #expect(try list().certificates.isEmpty)
    }

    @Test func whoIsNoProxyGetsNothing() throws {
        let good = try api.joined()
        let names = try good.facts.names
        func status(_ change: (inout PeerIdentity) -> Void) throws -> Int {
            var other = names
            change(&other)
            api.certificate = other
            return try api.renew().status
        }
        #expect(try status { _ in } == 200)
        #expect(try status { $0.uris = [] } == 403)
        #expect(try status { $0.uris.append("spiffe://meshbench.test/other") } == 403)
        #expect(try status { $0.uris = ["spiffe://other.test/ns/default/sa/echo"] } == 403)
        #expect(try status { $0.serial = "01" } == 403)
        api.certificate = nil
        #expect(try api.renew().status == 401)
    }

    /// A connection that began with an old certificate counts by what became of it.
    @Test func connectionsOutliveTheirCertificates() throws {
        try api.joined()
        api.clock.pass(90)
        #expect(try api.renew().status == 200)
        api.clock.pass(100)
        #expect(try api.askProxies("POST", "/v1/proxy/watch").status == 200)
        #expect(api.proxies.peers.last?.notAfter == api.clock.seconds)
        api.clock.pass(1)
        let answer = try api.askProxies("POST", "/v1/proxy/watch")
        #expect(answer.status == 403 && answer.text.contains("has expired"))
    }

    @Test func aClockThatJumpsRenewsTheListener() throws {
        let listener = try api.proxyListener()
        for jump in [50, 10 * 86_400, -20 * 86_400] as [Int64] {
            let before = listener.security.context
            api.clock.nanoseconds += jump * 1_000_000_000
            try turn(after: 1)
            #expect((listener.security.context !== before) == (jump != 50), "\(jump)")
        }
    }

    @Test func theStoreMayBeGone() throws {
        try api.joined()
        api.folder.failing = ["write"]
        for _ in 0..<20 {
            api.clock.pass(50)
            let answer = try api.renew()
            try #require(answer.status == 200, "\(answer.text)")
            try api.show(try answer.read(IssuedAnswer.self))
        }
    }

    /// What could not be written down when it had to be is so later, and is not forgotten before;
    /// meanwhile no change of the root believes that it knows of everybody.
    @Test func whatCouldNotBeWrittenIsWrittenLater() throws {
        let first = try api.joined()
        try turn()
        let lineage = String(try first.facts.serial.prefix(16))
        api.folder.failing = ["write"]
        for _ in 0..<20 {
            api.clock.pass(50)
            try api.show(try api.renew().read(IssuedAnswer.self))
        }
        api.folder.failing = []
        _ = try api.ask("POST", "/v1/authority/rotate")
        api.proxies.acknowledged = [lineage]
        try api.identity.advance { _ in true }
        #expect(try list().authority.phase == "distributing")
        for _ in 0..<3 { try turn(after: 1) }
        #expect(try list().certificates.map { String($0.serial.prefix(16)) } == [lineage])
        #expect(api.identity.unwritten.isEmpty && api.identity.renewals.isEmpty)
        api.proxies.acknowledged = [lineage]
        try turn(after: 1)
        #expect(try list().authority.phase == "draining")
    }

    /// Its certificate says what a proxy is called, or it could not watch as who it is.
    @Test func aProxyKeepsItsNameWithoutARecord() throws {
        let issued = try api.joined()
        let key = CertificateRecord.key(String(try issued.facts.serial.prefix(16)))
        try api.center.commit(StoreTransaction(changes: [.delete(key)]))
        try api.show(try api.renew().read(IssuedAnswer.self))
        #expect(try list().certificates.map(\.proxy) == ["echo-1"])
        #expect(try api.askProxies("POST", "/v1/proxy/watch").status == 200)
        #expect(api.proxies.peers.last?.proxy == "echo-1")
    }

    /// What is known of a certificate of a longer life stays as long, though the answer that
    /// brought it may have been lost.
    @Test func askingAgainShortensNothing() throws {
        let token = try api.makeToken()
        let request = try makeRequest()
        let first = try api.join(token, csr: request).read(IssuedAnswer.self)
        let short = ControlIdentity(
            api.center, IdentityConfiguration(life: .seconds(5)),
            clock: { [clock = api.clock] in clock.nanoseconds })
        try short.configure()
        let second = try api.join(token, csr: request).read(IssuedAnswer.self)
        #expect(second.notAfter < first.notAfter)
        let record = try #require(try api.identity.records(ControlPage()).page.first)
        #expect(record.keptUntil >= first.notAfter + CertificateRecord.slack)
    }

    /// Somebody takes a certificate back with another control plane, while this one is about to
    /// note its renewal.
    @Test func aRenewalUndoesNoRevocation() throws {
        let issued = try api.joined()
        let serial = try #require(CertificateSerial(try issued.facts.serial))
        var record = try #require(try api.identity.record(serial.lineage))
        record.revoked = api.clock.seconds
        try api.center.commit(
            StoreTransaction(changes: [.put(record.key, value: record.storeValue)]))
        api.identity.renewals[serial.lineage] = {
            var renewal = record
            renewal.revoked = nil
            renewal.issued += 1
            return renewal
        }()
        api.identity.unwritten = [serial.lineage]
        try turn(after: 1)
        #expect(try list().certificates.first?.revoked != nil)
    }

    /// Nobody was here when the root ended: a start makes another, or nothing could ever begin.
    @Test func aStartReplacesARootThatHasEnded() throws {
        try api.joined()
        let old = try api.identity.authority()
        api.clock.nanoseconds = (old.issuer.notAfter + 1) * 1_000_000_000
        let again = try ControlAPI.listener(api)
        #expect(again.security.context != nil)
        let new = try api.identity.authority()
        #expect(new.phase == .steady && new.roots != old.roots)
        api.certificate = nil
        #expect(try api.join(try api.makeToken()).status == 200)
    }

    /// Whoever is told of changes is looked at again and again, whether he asks for something or
    /// not.
    @Test func membersAreLookedAt() throws {
        let names = try api.joined().facts.names
        api.proxies.members = [try api.identity.peer(names, at: .loopback(port: 1))]
        try turn()
        #expect(api.proxies.isMember == [true])
        try turn(after: 101)
        #expect(api.proxies.isMember == [false])
        api.clock.nanoseconds -= 101_000_000_000
        try turn(after: 0)
        api.clock.now = api.clock.now + .seconds(1)
        try turn()
        #expect(api.proxies.isMember == [true])
        _ = try api.ask("POST", "/v1/certificates/\(names.serial)/revoke")
        api.clock.now = api.clock.now + .seconds(1)
        try turn()
        #expect(api.proxies.isMember == [false])
    }

    @Test func removalOfAServiceTakesItsCertificatesAway() throws {
        try api.joined()
        #expect(try api.ask("DELETE", "/v1/services/default/echo").status == 200)
        let answer = try api.renew()
        #expect(answer.status == 403 && answer.text.contains("there is no service default/echo"))
    }

    @Test func revocationIsOfTheWholeLineage() throws {
        let first = try api.joined()
        api.clock.pass(50)
        try api.show(try api.renew().read(IssuedAnswer.self))
        #expect(try api.askProxies("POST", "/v1/proxy/watch").text == "watch\n")
        let serial = try first.facts.serial
        let answer = try api.ask("POST", "/v1/certificates/\(serial)/revoke")
        #expect(try answer.read(RecordAnswer.self).revoked == api.clock.seconds)
        #expect(api.proxies.dismissed == [String(serial.prefix(16))])
        #expect(try api.renew().status == 403)
        #expect(try api.askProxies("POST", "/v1/proxy/watch").status == 403)
        #expect(api.proxies.peers.map(\.proxy) == ["echo-1"])
        #expect(api.proxies.peers.first?.service == MeshName("echo"))
    }

    /// There is room for exactly as many as there may be, whoever of them has been forgotten.
    @Test func theBoundOfProxiesIsExact() throws {
        let identity = ControlIdentity(
            api.center, IdentityConfiguration(life: .seconds(100)), recordsMost: 4,
            clock: { [clock = api.clock] in clock.nanoseconds })
        try identity.configure()
        func join(_ count: Int) throws {
            for _ in 0..<count {
                let token = try identity.makeToken(MeshName("echo"), life: 100, isSingleUse: true)
                let request = try CertificateRequest.make(commonName: "test").request
                _ = try identity.join(
                    token: token.text, csr: String(decoding: request, as: UTF8.self),
                    proxy: "p", service: nil)
            }
        }
        try join(2)
        api.clock.pass(100 + CertificateRecord.slack + 1)
        try join(2)
        #expect(throws: ControlFailure.self) { try join(1) }
        identity.forget(api.clock.now)
        try join(2)
        #expect(throws: ControlFailure.self) { try join(1) }
        #expect(try identity.records(ControlPage()).page.count == 4)
    }

    /// However many have ended at once, a step forgets no more than an etcd takes at once.
    @Test func whatHasEndedGoesInSteps() throws {
        var random = SeededRandom(seed: 1)
        let identity = try #require(
            SPIFFEID(MeshName("echo"), trustDomain: SPIFFEID.standardTrustDomain))
        let records = (0..<150).map { _ in
            CertificateRecord(
                service: MeshName("echo"), proxy: "p", identity: identity,
                serial: CertificateSerial(&random), wall: 0, notAfter: 1)
        }
        try api.center.commit(
            StoreTransaction(changes: records.map { .put($0.key, value: $0.storeValue) }))
        var left: [Int] = []
        for _ in 0..<4 {
            api.clock.pass(1)
            api.identity.forget(api.clock.now)
            left.append(api.store.state.count(prefix: CertificateRecord.keys))
        }
        #expect(left == [102, 54, 6, 0])
    }

    /// Others change the same record in between: it is tried again, and not without end.
    @Test func aRevocationIsTriedAgain() throws {
        let serial = try api.joined().facts.serial
        api.bent.bend(.conflict)
        let late = try api.ask("POST", "/v1/certificates/\(serial)/revoke")
        #expect(late.status == 503 && late["retry-after"] == "1")
        api.bent.bend(.conflict, count: 3)
        #expect(try api.ask("POST", "/v1/certificates/\(serial)/revoke").status == 200)
        #expect(try list().certificates.first?.revoked != nil)
    }

    @Test func aNoteOfARenewalIsTriedAgain() throws {
        try api.joined()
        for _ in 0..<20 {
            api.clock.pass(50)
            api.bent.bend(.conflict, count: 1)
            try api.show(try api.renew().read(IssuedAnswer.self))
            #expect(api.identity.unwritten.isEmpty)
        }
    }

    /// An identity that nobody believes any more says nothing of endpoints.
    @Test func checksGoOnWithoutAnIdentity() throws {
        let health = HealthLoop(random: SeededRandom(seed: 1)) { [api] in api.center.mesh }
        api.center.health = health
        try api.joined()
        #expect(health.context != nil)
        try api.center.commit(StoreTransaction(changes: [.put(Authority.key, value: [0xFF])]))
        try turn(after: 1)
        #expect(health.context != nil)
        try turn(after: 1_000_000)
        #expect(health.context == nil)
    }

    /// A store that takes nothing is counted, not passed over.
    @Test func whatCannotBeForgottenIsCounted() throws {
        try api.joined()
        api.clock.pass(100 + CertificateRecord.slack + 1)
        api.folder.failing = ["write"]
        let before = api.center.statistics.identityFailures
        api.identity.forget(api.clock.now)
        #expect(api.center.statistics.identityFailures == before + 1)
        api.folder.failing = []
        // The other kind of keys has gone on, so another round is needed.
        for _ in 0..<2 { try turn(after: 1) }
        #expect(try list().certificates.isEmpty)
    }

    // MARK: Rotating

    @Test func aRotationGoesInTheSafeOrder() throws {
        try api.joined()
        try turn()
        let old = try api.identity.authority().roots
        #expect(try api.ask("POST", "/v1/authority/rotate").status == 200)
        try turn(after: 1)
        var authority = try list().authority
        #expect(authority.phase == "distributing" && authority.roots.count == 2)
        #expect(authority.issuingRoot == old[0])
        #expect(api.proxies.bundles.count == 2)
        // The one proxy renews, which brings it both roots; then the life of the first is over.
        api.clock.pass(49)
        let between = try api.show(try api.renew().read(IssuedAnswer.self))
        #expect(try CertificateFacts.all(Array(between.authorities.utf8)).count == 2)
        try turn(after: 52)
        authority = try list().authority
        #expect(authority.phase == "draining" && authority.issuingRoot != old[0])
        // Tokens from before still name the root of the control plane's own certificate.
        #expect(try api.identity.authority().controlIssuer.rootDigest == old[0])
        try turn(after: 102)
        authority = try list().authority
        #expect(authority.phase == "steady" && authority.roots == [authority.issuingRoot])
        #expect(authority.roots != old)
        try turn()
        #expect(api.proxies.bundles.count == 3)
        #expect(api.center.statistics.identityFailures == 0)
    }

    @Test func acknowledgementsOfAllMakeARotationGoOn() throws {
        try api.joined()
        try turn()
        let lineage = String(try #require(api.certificate).serial.prefix(16))
        // What it has acknowledged before does not count.
        api.proxies.acknowledged = [lineage]
        _ = try api.ask("POST", "/v1/authority/rotate")
        try turn(after: 1)
        try turn(after: 1)
        #expect(try list().authority.phase == "distributing")
        api.proxies.acknowledged = [lineage]
        try turn(after: 1)
        #expect(try list().authority.phase == "draining")
    }

    @Test func anotherStartFindsTheSameAuthority() throws {
        let issued = try api.joined()
        let again = ControlIdentity(
            ControlCenter(api.store, codec: .json, version: "1"),
            IdentityConfiguration(life: .seconds(50)),
            clock: { [clock = api.clock] in
                clock.nanoseconds
            })
        try again.configure()
        #expect(String(decoding: try again.authority().bundle, as: UTF8.self) == issued.authorities)
        #expect(try again.authority().life == 50)
        // The first one follows what the second has written.
        #expect(try list().authority.lifeSeconds == 50)
        #expect(try again.records(ControlPage()).page.count == 1)
    }

    @Test func secretsAreInNoListAndNoWatch() throws {
        let watch = try #require(try api.ask("GET", "/v1/watch?after=0").watch)
        try api.joined()
        let listed = try api.ask("GET", "/v1/declarations").text
        #expect(!listed.contains("authority") && !listed.contains("PRIVATE"))
        for key in api.store.state.entries(prefix: StoreKey("")).map(\.key.description) {
            guard ["authority", "tokens", "certificates"].contains(where: key.hasPrefix) else {
                continue
            }
            #expect(try api.ask("GET", "/v1/\(key)").status == 404)
        }
        // Of the revisions that followed, only the one with declarations is a line.
        #expect(watch.waiting > 0 && watch.waiting < 600)
    }
}
