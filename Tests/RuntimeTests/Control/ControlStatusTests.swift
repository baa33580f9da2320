// Whatever a store answers, a request has an answer that the API's description has.

import Base
import ControlCore
import Model
import Posix
import Testing

@testable import Runtime

/// The ways to what a commit may be refused with, behind those to its success.
/// - Parameter success: whose last transaction is the one.
func refusals(_ success: @escaping ControlAPI.Way) throws -> [Int: ControlAPI.Way] {
    let dry = try ControlAPI.withEcho()
    let before = dry.bent.transactions
    _ = try success(dry)
    let spared = dry.bent.transactions - before - 1
    try #require(spared >= 0, "no commit")
    return [
        413: .refusal(.elsewhere("too many operations")),
        503: .failure(.unreachable("nobody answers")), 507: .refusal(.full("no room")),
    ].mapValues { (answer: Result<StoreAnswer, StoreFault>) in
        { api in
            api.bent.bend(answer, sparing: spared)
            return try success(api)
        }
    }
}

@Suite struct ControlStatusTests {
    private static let answers: [Result<StoreAnswer, StoreFault>] = [
        .refusal(.elsewhere("etcd: too many operations")), .refusal(.full("bytes")),
        .refusal(.noSuchLease(7)), .conflict, .failure(.unreachable("nobody")),
        .failure(.unanswered("nothing")), .failure(.notWritten(SystemError("write", code: 5))),
    ]

    /// Each operation, with each of its commits failing in each way, and with all of them.
    @Test(arguments: ControlOperation.allCases)
    func everyFailureOfTheStoreIsDescribed(operation: ControlOperation) throws {
        let name = operation.rawValue
        let ways = try #require(
            ControlHandlerTests.ways[name] ?? identityWays[name] ?? pushWays[name])
        let success = try #require(ways[201] ?? ways[200] ?? ways[204])
        let dry = try ControlAPI.withEcho()
        let before = dry.bent.transactions
        _ = try success(dry)
        let count = dry.bent.transactions - before
        #expect(count > 0 || !operation.commits)
        for failing in 0..<count {
            for answer in Self.answers {
                for count in [1, 1000] {
                    let api = try ControlAPI.withEcho()
                    api.bent.bend(answer, count: count, sparing: failing)
                    // Nil: the failure came on the way there.
                    let said = try? success(api)
                    #expect(
                        api.center.statistics.undescribed == 0,
                        "\(name), transaction \(failing): \(answer): \(said?.status ?? 0)")
                    if let said { #expect(operation.statuses.contains(said.status)) }
                }
            }
        }
    }

    /// What a commit may be refused with is what those operations describe that make one.
    @Test(
        arguments: [
            .keyLength(0), .valueLength(StoreKey("a"), 1), .operations(1), .transactionBytes(1),
            .repeatedKey(StoreKey("a")), .absentKey(StoreKey("a")), .noSuchLease(1), .leaseKeys(1),
            .leaseLife(.zero), .full(""), .elsewhere(""),
        ] as [StoreRefusal])
    func refusalsHaveTheStatusesOfCommits(refusal: StoreRefusal) throws {
        let api = try ControlAPI()
        api.bent.bend(.refusal(refusal))
        do throws(ControlRefusal) {
            try api.center.commit(StoreTransaction(changes: [.put(StoreKey("a"), value: [])]))
            Issue.record("it was committed")
        } catch {
            #expect(ControlFailure.ofCommits.contains(ControlFailure(error).status))
        }
        for operation in ControlOperation.allCases where operation.commits {
            #expect(Set(ControlFailure.ofCommits).isSubset(of: operation.statuses))
        }
    }

    /// A lease that has ended between its grant and its first use is of the moment: the proxy
    /// watches again.
    @Test func aLeaseThatHasJustEndedIsAskedForAgain() throws {
        let api = try ControlAPI.withEcho()
        api.hasPushes = true
        try api.joined()
        let body = "{\"proxy\":\"echo-1\",\"service\":\"default/echo\",\"address\":\"127.0.0.1:9\"}"
        api.bent.bend(.refusal(.noSuchLease(3)), count: 1)
        let answer = try api.askProxies("POST", "/v1/proxy/watch", body)
        #expect(answer.status == 503 && answer["retry-after"] == "1", "\(answer.text)")
        #expect(try api.askProxies("POST", "/v1/proxy/watch", body).status == 200)
    }

    /// A mistake of ours is counted, and ends nothing.
    @Test func whatIsNotDescribedIsAnsweredAsAMistake() throws {
        let api = try ControlAPI()
        let answer = api.center.described(.json(418, []), of: .heartbeat)
        #expect(answer.status == 500)
        _ = api.center.described(.json(418, []), of: .heartbeat)
        #expect(api.center.statistics.undescribed == 2 && api.center.noted.count == 1)
        #expect(api.center.described(.text(204, ""), of: .heartbeat).status == 204)
        let metrics = try api.ask("GET", "/metrics").text
        #expect(metrics.contains("meshbench_control_undescribed_answers_total 2\n"))
    }
}
