import Base
import Model
import Testing

@testable import ProxyCore

/// Requests by which endpoints are tried again, of which one ends late.
@Suite struct ProbeTests {
    private static func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: Int64(seconds * 1e9))
    }

    private static func upstreams(_ commons: ProxyCommons = ProxyCommons()) -> Upstreams {
        var cluster = ProxyConfiguration.Cluster(
            name: "c", endpoints: [.init("127.0.0.1:1")])
        cluster.accrual = AccrualPolicy(failures: 1, jitter: 0)
        return Upstreams(
            ProxyConfiguration(listeners: [], routes: [], clusters: [cluster]), commons)
    }

    /// A request to the endpoint fails.
    private static func fail(
        _ upstreams: inout Upstreams, now: Instant, _ random: inout SeededRandom
    ) {
        let probe = upstreams.began(0, now: now)
        upstreams.answered(0, status: 500, latency: .zero, now: now, &random)
        upstreams.ended(0, .answered, probe: probe, latency: .zero, now: now, &random)
    }

    private static func isOpen(
        _ upstreams: inout Upstreams, now: Instant, _ random: inout SeededRandom
    ) -> Bool {
        upstreams.select(0, HostWish(), now: now, &random) != nil
    }

    /// The first probe's answer is good, and its body still comes when the endpoint has failed
    /// again and is tried by another worker, or the same: however the first then ends, the second
    /// is the only one, and the next is one when it is given up.
    @Test(arguments: [AttemptResult.answered, .cancelled], [0, 1])
    func theEndOfAProbeIsNotAnothers(_ end: AttemptResult, other: Int) {
        var random = SeededRandom(seed: 1)
        let commons = ProxyCommons()
        var workers = [Self.upstreams(commons), Self.upstreams(commons)]
        Self.fail(&workers[0], now: .zero, &random)
        workers[0].expire(now: Self.at(1), &random)
        let first = workers[0].began(0, now: Self.at(1))
        workers[0].answered(0, status: 200, latency: .zero, now: Self.at(1), &random)
        Self.fail(&workers[0], now: Self.at(1), &random)
        workers[0].expire(now: Self.at(2), &random)
        let second = workers[other].began(0, now: Self.at(2))
        #expect(first > 0 && second > 0)
        workers[0].ended(0, end, probe: first, latency: .zero, now: Self.at(3), &random)
        for worker in 0..<2 {
            let isOpen = Self.isOpen(&workers[worker], now: Self.at(3), &random)
            #expect(!isOpen, "one at a time")
        }
        workers[other].ended(
            0, .cancelled, probe: second, latency: .zero, now: Self.at(3), &random)
        for worker in 0..<2 {
            let isOpen = Self.isOpen(&workers[worker], now: Self.at(3), &random)
            #expect(isOpen, "the next is a probe")
        }
    }
}
