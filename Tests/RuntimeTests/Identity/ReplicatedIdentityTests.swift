// Identity at two control planes over one etcd, of which one is late to hear of the other.

import Base
import ControlCore
import Model
import Posix
import Scenario
import Secure
import Testing

@testable import Runtime

private final class Replica {
    let link: SimulatedEtcdLink
    let center: ControlCenter
    let identity: ControlIdentity

    init(_ etcd: SimulatedEtcd, _ name: String, seed: UInt64, _ clock: FakeClock) throws {
        link = SimulatedEtcdLink(etcd, LateRequests(), random: SeededRandom(seed: seed))
        link.isFaulty = false
        let store = try EtcdStore(
            link, writer: EtcdWriter(id: name, nonce: seed), patience: .seconds(1000))
        center = ControlCenter(store, codec: .json, version: "1")
        identity = ControlIdentity(
            center, IdentityConfiguration(life: .seconds(10_000)), clock: { clock.nanoseconds })
    }

    /// Hears of everything that has happened.
    func settle() {
        link.settle()
        _ = center.turn(.zero)
    }
}

@Suite struct ReplicatedIdentityTests {
    private let etcd = SimulatedEtcd()
    private let clock = FakeClock()

    private func request() throws -> String {
        String(decoding: try CertificateRequest.make(commonName: "test").request, as: UTF8.self)
    }

    /// A proxy of a service gets its certificate.
    private func joined(_ replica: Replica) throws -> CertificateFacts {
        _ = try replica.center.perform(.put(.service(MeshService("echo")), .init()))
        let token = try replica.identity.makeToken(
            MeshName("echo"), life: 1000, isSingleUse: false)
        let issued = try replica.identity.join(
            token: token.text, csr: request(), proxy: "echo-1", service: nil)
        return try CertificateFacts(issued.chain)
    }

    /// A renewal is noted at one while the certificate is revoked at the other.
    @Test func revocationsAreNotUndone() throws {
        for seed in 1...8 as ClosedRange<UInt64> {
            let one = try Replica(etcd, "one\(seed)", seed: seed, clock)
            let two = try Replica(etcd, "two\(seed)", seed: seed + 100, clock)
            let facts = try joined(one)
            two.settle()
            let peer = try one.identity.peer(facts.names, at: .loopback(port: 1))
            let serial = try #require(CertificateSerial(peer.serial))
            // So late that the renewal is written down.
            clock.pass(5000)
            _ = try two.identity.revoke(serial)
            _ = try? one.identity.renew(peer, csr: request())
            one.settle()
            two.settle()
            for replica in [one, two] {
                #expect(try replica.identity.record(serial.lineage)?.revoked != nil)
                #expect(throws: ControlFailure.self) {
                    try replica.identity.peer(facts.names, at: .loopback(port: 1))
                }
            }
        }
    }

    /// One has not heard yet that the other has renewed what seems to have ended.
    @Test func nothingIsForgottenThatOthersHaveRenewed() throws {
        for seed in 1...8 as ClosedRange<UInt64> {
            let one = try Replica(etcd, "late\(seed)", seed: seed, clock)
            let two = try Replica(etcd, "soon\(seed)", seed: seed + 100, clock)
            let facts = try joined(one)
            two.settle()
            let peer = try two.identity.peer(facts.names, at: .loopback(port: 1))
            clock.pass(9000)
            _ = try two.identity.renew(peer, csr: request())
            clock.pass(2000)
            one.identity.forget(.zero)
            one.settle()
            two.settle()
            for replica in [one, two] {
                let record = try #require(try replica.identity.record(peer.lineage))
                #expect(record.notAfter >= clock.seconds)
            }
        }
    }
}
