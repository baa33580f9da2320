import Base
import LoadCore
import Model
import Testing

@testable import func LoadCore.connectionShares

@Suite struct TargetsTests {
    @Test(
        "Targets take turns by weight, spread out",
        arguments: [
            ([1], [0]),
            ([7], [0]),
            ([1, 1], [0, 1]),
            ([3, 3], [0, 1]),
            ([2, 1], [0, 1, 0]),
            // The example of nginx's documentation of the method.
            ([5, 1, 1], [0, 0, 1, 0, 2, 0, 0]),
        ] as [([Int], [Int])])
    func rotation(weights: [Int], turn: [Int]) {
        #expect(targetRotation(weights: weights) == turn)
    }

    @Test(
        "Each target has a connection; the others go by weight",
        arguments: [
            ([1], 3, [3]),
            ([1, 1], 16, [8, 8]),
            ([1, 1], 3, [2, 1]),
            ([9, 1], 2, [1, 1]),
            ([9, 1], 20, [18, 2]),
            ([3, 2, 1], 6, [3, 2, 1]),
        ] as [([Int], Int, [Int])])
    func shares(weights: [Int], connections: Int, shares: [Int]) {
        #expect(connectionShares(weights: weights, connections: connections) == shares)
    }
}

@Suite struct JobTests {
    @Test("A job within its bounds is accepted")
    func valid() throws {
        try testJob(testPlan()).validate()
        try testJob(testPlan(rate: .constant(0), arrivals: .closed)).validate()
    }

    @Test(
        "A job out of bounds is refused with the reason",
        arguments: [
            (testJob(testPlan(connections: 1), weights: [1, 1]), "1 connections"),
            (testJob(testPlan(connections: 70_000)), "70000 connections"),
            (testJob(testPlan(), weights: [0]), "weight"),
            (testJob(testPlan(), weights: []), "0 targets"),
            (testJob(testPlan(), phases: []), "0 phases"),
            (testJob(testPlan(rate: .constant(-1))), "rate"),
            (testJob(testPlan(rate: .steps([]))), "rate"),
            (testJob(testPlan(rate: .constant(.infinity))), "rate"),
            (testJob(testPlan(timeout: .zero)), "timeout"),
            (testJob(testPlan(threads: 0)), "threads"),
            (testJob(testPlan(request: RequestPlan(method: "GE T"))), "not a method"),
            (testJob(testPlan(request: RequestPlan(method: "CONNECT"))), "tunnel"),
            (testJob(testPlan(request: RequestPlan(path: "/a b"))), "blanks"),
            (testJob(testPlan(request: RequestPlan(path: "a"))), "begin with /"),
            (
                testJob(testPlan(request: RequestPlan(headers: [.init(name: "a:", value: "")]))),
                "name of a header"
            ),
            (
                testJob(testPlan(request: withHeader("a", "b\r\nc: d"))),
                "control characters"
            ),
            (
                testJob(testPlan(request: withHeader("Content-Length", "1"))),
                "frames the request"
            ),
            (testJob(testPlan(request: RequestPlan(bodySize: -1))), "body"),
        ])
    func invalid(job: LoadJob, reason: String) {
        let error = #expect(throws: LoadJobError.self) { try job.validate() }
        #expect(error?.description.contains(reason) == true)
    }

    @Test(
        "No more threads than connections for each target",
        arguments: [(1, 1, 1, 1), (8, 4, 1, 4), (2, 16, 1, 2), (4, 6, 2, 3), (4, 2, 2, 1)])
    func threadCount(threads: Int, connections: Int, targets: Int, expected: Int) {
        let plan = testPlan(connections: connections, threads: threads)
        let job = testJob(plan, weights: [Int](repeating: 1, count: targets))
        #expect(job.threadCount == expected)
    }

    @Test(
        "Requests are built once, as configured",
        arguments: [
            (
                RequestPlan(),
                "GET / HTTP/1.1\r\nhost: echo\r\nuser-agent: meshbench\r\nID\r\n\r\n"
            ),
            (
                RequestPlan(
                    method: "POST", path: "/a?b",
                    headers: [.init(name: "Host", value: "h"), .init(name: "x", value: "y")],
                    bodySize: 3),
                "POST /a?b HTTP/1.1\r\nuser-agent: meshbench\r\nHost: h\r\nx: y\r\n"
                    + "ID\r\ncontent-length: 3\r\n\r\nabc"
            ),
            (
                RequestPlan(method: "PUT", headers: [.init(name: "User-Agent", value: "z")]),
                "PUT / HTTP/1.1\r\nhost: echo\r\nUser-Agent: z\r\nID\r\n"
                    + "content-length: 0\r\n\r\n"
            ),
            (
                RequestPlan(headers: [.init(name: "X-Request-ID", value: "z")]),
                "GET / HTTP/1.1\r\nhost: echo\r\nuser-agent: meshbench\r\n"
                    + "X-Request-ID: z\r\n\r\n"
            ),
        ])
    func requestBytes(request: RequestPlan, expected: String) {
        let job = testJob(testPlan(request: request))
        let id = RequestIdentity.text(seed: job.seed, number: 0)
        let text = expected.split(
            separator: "ID\r\n", maxSplits: 1, omittingEmptySubsequences: false
        )
        .joined(separator: "x-request-id: \(id)\r\n")
        let found = String(decoding: job.requestBytes(for: job.targets[0]), as: UTF8.self)
        #expect(found == (expected.contains("X-Request-ID") ? expected : text))
    }
}

private func withHeader(_ name: String, _ value: String) -> RequestPlan {
    RequestPlan(headers: [.init(name: name, value: value)])
}
