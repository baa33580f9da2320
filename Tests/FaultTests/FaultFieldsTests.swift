import Base
import Fault
import Model
import Testing

@Suite struct FaultFieldsTests {
    private func fields(_ pairs: [(String, String)]) -> FaultFields {
        var fields = FaultFields()
        for (name, value) in pairs {
            Array(name.utf8).withBytes { name in
                Array(value.utf8).withBytes { fields.take(name, $0) }
            }
        }
        return fields
    }

    private func effect(
        _ pairs: [(String, String)], chance: Double = 1, hash: UInt64 = 1
    ) -> FaultEffect {
        let rule = FaultRule(
            name: "asked", seed: 1, point: .clientEgress, chance: chance, trustsHeaders: true)
        let fault = LeaseTable(isProxy: true, standing: [rule], now: .zero).held[0]
        return fault.decide(FaultRequest(hash: hash), fields(pairs))
    }

    @Test(arguments: [
        ("x-envoy-fault-abort-request", "503", FaultEffect.Abort.http(503)),
        ("X-Envoy-Fault-Abort-Request", "200", .http(200)),
        ("x-envoy-fault-abort-grpc-request", "0", .grpc(0)),
        ("x-envoy-fault-abort-grpc-request", "16", .grpc(16)),
        // Out of range, or no number.
        ("x-envoy-fault-abort-request", "199", .none),
        ("x-envoy-fault-abort-request", "600", .none),
        ("x-envoy-fault-abort-request", "", .none), ("x-envoy-fault-abort-request", "-503", .none),
        ("x-envoy-fault-abort-request", "5e2", .none),
        ("x-envoy-fault-abort-request", "99999999999999999999", .none),
        ("x-envoy-fault-abort-grpc-request", "17", .none),
        ("x-envoy-fault-abort-requests", "503", .none), ("x-envoy-fault-", "503", .none),
    ])
    func aborts(name: String, value: String, expected: FaultEffect.Abort) {
        #expect(effect([(name, value)]).abort == expected)
    }

    @Test func delaysAndRates() {
        #expect(effect([("x-envoy-fault-delay-request", "50")]).delay == .milliseconds(50))
        #expect(effect([("x-envoy-fault-delay-request", "3600001")]).isNone)
        #expect(effect([("x-envoy-fault-throughput-response", "4")]).rate == 4096)
        #expect(effect([("x-envoy-fault-throughput-response", "0")]).isNone)
        #expect(effect([]).isNone)
    }

    @Test func theFirstFieldCounts() {
        let name = "x-envoy-fault-abort-request"
        #expect(effect([(name, "503"), (name, "500")]).abort == .http(503))
        #expect(effect([(name, "what"), (name, "500")]).isNone)
    }

    @Test func percentagesAreCappedByTheChance() {
        func share(_ percent: String?, chance: Double) -> Double {
            var pairs = [("x-envoy-fault-abort-request", "503")]
            if let percent { pairs.append(("x-envoy-fault-abort-request-percentage", percent)) }
            let hits = (0..<4000).count {
                !effect(pairs, chance: chance, hash: UInt64($0)).isNone
            }
            return Double(hits) / 4000
        }
        // Four standard deviations of the widest are 3.2 %.
        #expect(abs(share("30", chance: 1) - 0.3) < 0.032)
        #expect(abs(share("90", chance: 0.2) - 0.2) < 0.032)
        #expect(abs(share(nil, chance: 0.2) - 0.2) < 0.032)
        #expect(abs(share("101", chance: 0.2) - 0.2) < 0.032)
        #expect(share("0", chance: 1) == 0)
    }

    @Test func withoutARuleThatTrustsThemFieldsMeanNothing() {
        let rule = FaultRule(
            name: "own", seed: 1, point: .clientEgress, delay: .fixed(.milliseconds(1)))
        let fault = LeaseTable(isProxy: true, standing: [rule], now: .zero).held[0]
        let effect = fault.decide(
            FaultRequest(hash: 1), fields([("x-envoy-fault-abort-request", "503")]))
        #expect(effect.abort == .none)
        #expect(effect.delay == .milliseconds(1))
    }

    @Test func bytesOfAnyKindAreTaken() {
        var random = SeededRandom(seed: 5)
        for _ in 0..<2000 {
            let name =
                "x-envoy-fault-" + String((0..<random.below(40)).map { _ in "-" as Character })
            let value = (0..<random.below(40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            var fields = FaultFields()
            Array(name.utf8).withBytes { name in value.withBytes { fields.take(name, $0) } }
            #expect(fields == FaultFields())
        }
    }
}
