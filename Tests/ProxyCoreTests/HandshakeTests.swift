import Base
import Model
import Secure
import Testing

@testable import ProxyCore

/// Connections in their handshake, with the sockets and TLS left out.
@Suite struct HandshakeTests {
    private let now = Instant(nanoseconds: 1_000_000_000)
    private static let agreement = TLSAgreement(
        version: "1.3", agreed: .http1, isResumed: true, peer: "spiffe://client",
        serverName: "a.test")

    private func configuration(
        listener: ServerTLS? = nil, cluster: ClientTLS? = nil
    ) -> ProxyConfiguration {
        var configuration = Scene.configuration(accessLog: true)
        configuration.listeners = [.init(name: "main", address: "127.0.0.1:0", tls: listener)]
        configuration.clusters[0].tls = cluster
        return configuration
    }

    private let serverTLS = ServerTLS(certificate: "c", key: "k")

    private func effects(_ proxy: Proxy) -> [Effect] {
        var all: [Effect] = []
        while let effect = proxy.nextEffect() { all.append(effect) }
        return all
    }

    private func write(_ text: String, to proxy: Proxy, _ slot: Int) throws {
        guard let space = unsafe proxy.space(slot) else { throw WrongEffect() }
        unsafe space.copyBytes(from: Array(text.utf8))
        proxy.received(slot, text.utf8.count, now: now)
        proxy.checkInvariants()
    }

    private func output(_ proxy: Proxy, _ slot: Int) -> String {
        (0..<proxy.outputCount(slot)).map { proxy.output(slot, $0).text }.joined()
    }

    @Test func aClientIsReadOnceItIsSecured() throws {
        let proxy = Proxy(configuration(listener: serverTLS), random: SeededRandom(seed: 1))
        let slot = try #require(proxy.accept(client: Bytes("1.2.3.4"), now: now))
        #expect(proxy.isHandshaking(slot))
        #expect(unsafe proxy.space(slot) == nil)
        proxy.checkInvariants()
        proxy.secured(slot, Self.agreement, now: now)
        #expect(effects(proxy) == [.flush(slot: slot), .read(slot: slot)])
        #expect(!proxy.isHandshaking(slot) && proxy.isPaused(slot))
        #expect(proxy.connections[slot].agreed == .http1)
        try write("GET / HTTP/1.1\r\nhost: a\r\n\r\n", to: proxy, slot)
        guard case .connect = effects(proxy).first else { return #expect(Bool(false)) }
        #expect(proxy.counters[.downstreamHandshakes] == 1)
        #expect(proxy.counters[.downstreamHandshakesResumed] == 1)
        #expect(proxy.agreement(of: slot)?.peer == "spiffe://client")
        proxy.failed(slot, now: now)
        proxy.checkInvariants()
        #expect(proxy.agreements.isEmpty)
        proxy.log.drain { lines in
            #expect(
                lines.text.contains(
                    """
                    ,"tls":"1.3","server_name":"a.test","peer":"spiffe://client"}
                    """))
            return lines.count
        }
    }

    @Test func aClientHasItsTime() throws {
        let proxy = Proxy(configuration(listener: serverTLS), random: SeededRandom(seed: 1))
        let slot = try #require(proxy.accept(client: Bytes(""), now: now))
        #expect(proxy.nextDeadline == now + .seconds(10))
        proxy.expire(now: now + .seconds(10))
        #expect(effects(proxy) == [.close(slot: slot, reset: false)])
        #expect(proxy.counters[.downstreamHandshakesFailed] == 1)
        #expect(proxy.counters[.handshakeTimeout, .downstream] == 1)
        #expect(proxy.counters[.handshakeTimeout, .upstream] == 0)
        proxy.checkInvariants()
    }

    /// A proxy whose client waits for an upstream connection that is in its handshake.
    private func waiting(_ proxy: Proxy) throws -> (client: Int, upstream: Int) {
        let client = try #require(proxy.accept(client: Bytes(""), now: now))
        try write("GET / HTTP/1.1\r\nhost: a\r\n\r\n", to: proxy, client)
        guard case .connect(let upstream, _) = effects(proxy).first else {
            throw WrongEffect()
        }
        return (client, upstream)
    }

    private struct WrongEffect: Error {}

    @Test func anUpstreamIsUsedOnceItIsSecured() throws {
        let proxy = Proxy(configuration(cluster: ClientTLS()), random: SeededRandom(seed: 1))
        let (_, upstream) = try waiting(proxy)
        #expect(proxy.securedCluster(of: upstream) == 0)
        proxy.handshakeBegan(upstream)
        proxy.checkInvariants()
        #expect(proxy.isConnecting(upstream) && proxy.isHandshaking(upstream))
        proxy.secured(upstream, Self.agreement, now: now)
        proxy.checkInvariants()
        #expect(!proxy.isConnecting(upstream) && proxy.isPaused(upstream))
        #expect(output(proxy, upstream).hasPrefix("GET / HTTP/1.1\r\n"))
        #expect(proxy.counters[.upstreamHandshakes] == 1)
        // Nothing of its bodies passes by without being encrypted.
        #expect(proxy.directBytes(upstream) == 0)
    }

    @Test func aFailedHandshakeIsTold() throws {
        let proxy = Proxy(configuration(cluster: ClientTLS()), random: SeededRandom(seed: 1))
        let (client, upstream) = try waiting(proxy)
        proxy.handshakeBegan(upstream)
        proxy.handshakeFailed(upstream, .certificateExpired, now: now)
        proxy.checkInvariants()
        let answer = output(proxy, client)
        #expect(answer.hasPrefix("HTTP/1.1 503 "))
        #expect(answer.hasSuffix("\r\n\r\ntls_certificate_expired\n"))
        #expect(proxy.counters[.certificateExpired, .upstream] == 1)
        #expect(proxy.counters[.upstreamHandshakesFailed] == 1)
    }

    /// An alert in place of a first answer; not one after an answer, nor a missing end.
    @Test func aLateRefusalIsAFailedHandshake() throws {
        for (failure, detail) in [
            (TLSFailure.alertCertificateRequired, "tls_alert_certificate_required\n"),
            (.truncated, "upstream_closed\n"),
        ] {
            let proxy = Proxy(configuration(cluster: ClientTLS()), random: SeededRandom(seed: 1))
            let (client, upstream) = try waiting(proxy)
            proxy.handshakeBegan(upstream)
            proxy.secured(upstream, Self.agreement, now: now)
            proxy.securityFailed(upstream, failure, now: now)
            proxy.checkInvariants()
            #expect(output(proxy, client).hasSuffix(detail))
            #expect(proxy.counters[failure, .upstream] == 1)
        }
    }

    /// Requests that are to be secured do not go out on connections that are not.
    @Test func aReloadThatSecuresAClusterLeavesItsOldConnections() throws {
        let proxy = Proxy(configuration(), random: SeededRandom(seed: 1))
        let (client, upstream) = try waiting(proxy)
        #expect(proxy.securedCluster(of: upstream) == nil)
        proxy.connected(upstream, now: now)
        proxy.sent(upstream, output(proxy, upstream).utf8.count, now: now)
        try write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", to: proxy, upstream)
        proxy.sent(client, output(proxy, client).utf8.count, now: now)
        _ = effects(proxy)
        proxy.adopt(configuration(cluster: ClientTLS(serverName: "a")), now: now)
        proxy.checkInvariants()
        #expect(!effects(proxy).isEmpty && !proxy.isOpen(upstream))
        let (_, fresh) = try waiting(proxy)
        #expect(proxy.securedCluster(of: fresh) == 0)
    }
}
