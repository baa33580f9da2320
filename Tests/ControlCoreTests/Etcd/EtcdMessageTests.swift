// The JSON of etcd's gateway both ways. Answers are those of etcd 3.4.23, word for word.

import Base
import Testing

@testable import ControlCore

private let header =
    "\"header\":{\"cluster_id\":\"324952591200643719\",\"member_id\":\"3319814642761637952\","
    + "\"revision\":\"7\",\"raft_term\":\"2\"}"

private func answer(_ text: String) throws -> EtcdAnswer {
    try EtcdAnswer(Array("{\(header)\(text)}".utf8))
}

private func base64(_ text: String) -> String { Base64.encode(Array(text.utf8)) }

@Suite struct EtcdMessageTests {
    private var writer = EtcdWriter(id: "one", nonce: 5)

    @Test func requests() throws {
        let keys = base64("meshbench/keys/")
        let end = base64("meshbench/keys0")
        func text(_ request: EtcdRequest) -> String {
            String(decoding: request.body, as: UTF8.self)
        }
        let first = EtcdRequest.page(after: nil, revision: 0, limit: 10)
        #expect(first.path == "kv/range" && !first.isStream)
        #expect(text(first) == #"{"key":"\#(keys)","range_end":"\#(end)","limit":"10"}"#)
        let after = base64("meshbench/keys/a\0")
        #expect(
            text(.page(after: StoreKey("a"), revision: 3, limit: 10))
                == #"{"key":"\#(after)","range_end":"\#(end)","limit":"10","revision":"3"}"#)
        let watch = EtcdRequest.watch(from: 8)
        #expect(watch.path == "watch" && watch.isStream)
        #expect(
            text(watch)
                == #"{"create_request":{"key":"\#(keys)","range_end":"\#(end)","#
                + #""start_revision":"8","fragment":true}}"#)
        #expect(text(.grant(life: .milliseconds(2500))) == #"{"TTL":"3"}"#)
        #expect(text(.grant(life: .milliseconds(1))) == #"{"TTL":"1"}"#)
        #expect(text(.revoke(lease: 9)) == #"{"ID":"9"}"#)
        #expect(text(.keepAlive([7, 8])) == #"{"ID":"7"}{"ID":"8"}"#)
    }

    @Test func aTransaction() {
        var writer = writer
        writer.begin()
        writer.modRevision = 4
        let transaction = StoreTransaction(
            conditions: [.init(StoreKey("a"), modRevision: 3)],
            changes: [.put(StoreKey("a"), value: [1, 2], lease: 6), .delete(StoreKey("b"))])
        let request = EtcdRequest.transaction(transaction, by: writer)
        let me = base64("meshbench/writers/one")
        let a = base64("meshbench/keys/a")
        #expect(request.path == "kv/txn")
        #expect(
            String(decoding: request.body, as: UTF8.self)
                == #"{"compare":[{"target":"MOD","result":"EQUAL","key":"\#(me)","#
                + #""mod_revision":"4"},{"target":"MOD","result":"EQUAL","key":"\#(a)","#
                + #""mod_revision":"3"}],"success":[{"request_put":{"key":"\#(me)","#
                + #""value":"\#(base64("5-1"))"}},{"request_put":{"key":"\#(a)","value":"AQI=","#
                + #""lease":"6"}},{"request_delete_range":{"key":"\#(base64("meshbench/keys/b"))"}"#
                + #"}],"failure":[{"request_range":{"key":"\#(me)"}},{"request_range":"#
                + #"{"key":"\#(a)","keys_only":true}}]}"#)
    }

    @Test func whatATransactionCameTo() throws {
        var writer = writer
        writer.begin()
        writer.modRevision = 4
        let put = StoreTransaction(
            conditions: [
                .init(StoreKey("a"), modRevision: 3), .init(StoreKey("b"), modRevision: 0),
            ],
            changes: [.put(StoreKey("a"), value: []), .delete(StoreKey("b"))])
        let delete = StoreTransaction(changes: [.delete(StoreKey("b"))])
        func outcome(_ text: String, _ transaction: StoreTransaction) throws -> EtcdOutcome {
            try .of(try answer(text), transaction, by: writer)
        }
        let wrote = #"{"response_put":{"header":{"revision":"7"}}}"#
        let none = #"{"response_delete_range":{"header":{"revision":"7"}}}"#
        let one = #"{"response_delete_range":{"header":{"revision":"7"},"deleted":"1"}}"#
        func range(_ value: String, _ revision: Int) -> String {
            #"{"response_range":{"header":{"revision":"7"},"kvs":[{"key":"YQ==","#
                + #""create_revision":"2","mod_revision":"\#(revision)","version":"2","#
                + #""value":"\#(base64(value))"}],"count":"1"}}"#
        }
        let absent = #"{"response_range":{"header":{"revision":"7"}}}"#
        func done(_ items: String...) -> String {
            #","succeeded":true,"responses":[\#(items.joined(separator: ","))]"#
        }
        func failed(_ items: String...) -> String {
            #","responses":[\#(items.joined(separator: ","))]"#
        }
        #expect(try outcome(done(wrote, wrote, none), put) == .committed(revision: 7, isSeen: true))
        #expect(try outcome(done(wrote, none), delete) == .committed(revision: 7, isSeen: false))
        #expect(try outcome(done(wrote, one), delete) == .committed(revision: 7, isSeen: true))
        // The mark says that it has happened before: the answer to that was lost.
        #expect(
            try outcome(failed(range("5-1", 6), range("", 6), absent), put)
                == .committed(revision: 6, isSeen: true))
        #expect(
            try outcome(failed(range("5-0", 4), range("", 5), absent), put)
                == .conflict(StoreKey("a"), modRevision: 5))
        #expect(
            try outcome(failed(range("5-0", 4), absent, absent), put)
                == .conflict(StoreKey("a"), modRevision: 0))
        #expect(
            try outcome(failed(range("5-0", 4), range("", 3), range("", 7)), put)
                == .conflict(StoreKey("b"), modRevision: 7))
        #expect(
            try outcome(failed(range("5-0", 6), range("", 3), absent), put)
                == .writerMoved(modRevision: 6))
        for text in [done(wrote), failed(absent), failed(range("5-0", 4), range("", 3), absent)] {
            #expect(throws: EtcdFault.self) { try outcome(text, put) }
        }
    }

    @Test func failures() {
        let lease =
            #"{"error":"etcdserver: requested lease not found","#
            + #""message":"etcdserver: requested lease not found","code":5}"#
        #expect(
            EtcdFault(status: 404, Array(lease.utf8))
                == .refused(code: 5, message: "etcdserver: requested lease not found"))
        #expect(EtcdFault(status: 404, Array("Not Found\n".utf8)) == .malformed("status 404"))
        #expect(
            EtcdFault(status: 500, Array("{}".utf8)) == .refused(code: 2, message: "status 500"))
    }

    @Test func leases() throws {
        func line(_ rest: String) -> [UInt8] { Array("{\"result\":{\(header),\(rest)}}".utf8) }
        #expect(try EtcdLease(line: line(#""ID":"71","TTL":"20""#)).life == .seconds(20))
        let gone = try EtcdLease(line: line(#""ID":"999""#))
        #expect(gone.id == 999 && gone.life == nil)
        #expect(try EtcdLease(try answer(#","ID":"2324035680355109898","TTL":"5""#)).life != nil)
        let error =
            #"{"error":{"grpc_code":14,"http_code":503,"message":"no leader","#
            + #""http_status":"Service Unavailable"}}"#
        #expect(throws: EtcdFault.refused(code: 14, message: "no leader")) {
            try EtcdLease(line: Array(error.utf8))
        }
    }

    @Test(
        arguments: [
            ("null", .null), (" true ", .bool(true)), ("-1.5e+3", .number("-1.5e+3")),
            (#""a\"\\\/\n\u00e9\ud83d\ude00é""#, .text("a\"\\/\né😀é")),
            (
                #"{"a" : [1, {}], "b":""}"#,
                .object([
                    .init(name: "a", value: .array([.number("1"), .object([])])),
                    .init(name: "b", value: .text("")),
                ])
            ),
        ] as [(String, JSONValue)])
    func json(text: String, value: JSONValue) {
        #expect(JSONValue(Array(text.utf8)) == value)
        // Every part of it is none, but of a number.
        for count in 0..<text.utf8.count where !text.hasPrefix("-") && !text.hasPrefix(" ") {
            #expect(JSONValue(Array(text.utf8.prefix(count))) == nil, "\(count) of \(text)")
        }
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "nul", "\"\u{1}\"", "\"\\x\"", "\"\\u12\"",
        "\"\\u+123\"", "1 2", String(repeating: "[", count: 100_000),
    ])
    func noJSON(text: String) { #expect(JSONValue(Array(text.utf8)) == nil) }
}

@Suite struct EtcdReplicaTests {
    private func kv(_ key: String, _ revision: Int, create: Int, version: Int = 1) -> String {
        #"{"key":"\#(base64("meshbench/keys/" + key))","create_revision":"\#(create)","#
            + #""mod_revision":"\#(revision)","version":"\#(version)","value":"eA=="}"#
    }

    private func body(_ revision: Int, _ items: String..., cluster: Int = 1, more: Bool = false)
        -> [UInt8]
    {
        Array(
            ("{\"header\":{\"cluster_id\":\"\(cluster)\",\"revision\":\"\(revision)\"},"
                + "\"kvs\":[\(items.joined(separator: ","))]\(more ? ",\"more\":true" : "")}").utf8)
    }

    private func line(_ revision: Int, _ events: String..., rest: String = "") -> [UInt8] {
        let list = events.isEmpty ? "" : ",\"events\":[\(events.joined(separator: ","))]"
        let header = "\"header\":{\"cluster_id\":\"1\",\"revision\":\"\(revision)\"}"
        return Array("{\"result\":{\(header)\(rest)\(list)}}".utf8)
    }

    private func loaded() throws -> EtcdReplica {
        var replica = EtcdReplica()
        try replica.read(probe: body(5))
        #expect(replica.step == .page)
        #expect(try replica.read(page: body(5, kv("a", 3, create: 3), more: true)) == nil)
        let update = try replica.read(page: body(6, kv("mesh", 5, create: 2, version: 3)))
        guard case .contents(let entries, revision: 5, goesOn: false)? = update else {
            Issue.record("\(String(describing: update))")
            return replica
        }
        #expect(entries.map(\.key) == [StoreKey("a"), StoreKey("mesh")])
        #expect(entries[0].value == [UInt8(ascii: "x")])
        #expect(replica.step == .watch && replica.request == .watch(from: 6))
        return replica
    }

    @Test func aCopyIsReadAndFollowed() throws {
        var replica = try loaded()
        #expect(try replica.read(line: line(9, rest: ",\"created\":true")) == nil)
        // One that has been seen, two of one revision, and one of the next.
        let put = "{\"kv\":\(kv("b", 6, create: 6))}"
        let key = base64("meshbench/keys/a")
        let delete = #"{"type":"DELETE","kv":{"key":"\#(key)","mod_revision":"6"}}"#
        let later = "{\"kv\":\(kv("c", 8, create: 8))}"
        let update = try replica.read(
            line: line(9, "{\"kv\":\(kv("a", 5, create: 3))}", put, delete, later))
        guard case .commits(let commits)? = update else {
            Issue.record("\(String(describing: update))")
            return
        }
        #expect(commits.map(\.revision) == [6, 8] && commits.map(\.changes.count) == [2, 1])
        #expect(replica.revision == 8)
        // Fragments count when the last one has come.
        let first = line(9, "{\"kv\":\(kv("d", 9, create: 9))}", rest: ",\"fragment\":true")
        #expect(try replica.read(line: first) == nil)
        guard
            case .commits(let rest)? = try replica.read(
                line: line(9, "{\"kv\":\(kv("e", 9, create: 9))}"))
        else {
            Issue.record("no commit")
            return
        }
        #expect(rest.count == 1 && rest[0].changes.count == 2)
        replica.disconnected()
        try replica.read(probe: body(9, kv("mesh", 5, create: 2, version: 3)))
        #expect(replica.step == .watch && replica.request == .watch(from: 10))
    }

    @Test func whatIsForgottenIsReadAnew() throws {
        var replica = try loaded()
        let cancelled = line(9, rest: ",\"canceled\":true,\"compact_revision\":\"8\"")
        #expect(try replica.read(line: cancelled) == nil)
        #expect(replica.step == .page)
        guard case .contents(_, revision: 9, goesOn: true)? = try replica.read(page: body(9)) else {
            Issue.record("not read anew")
            return
        }
        #expect(throws: EtcdFault.cancelled("mvcc: because")) {
            try replica.read(
                line: line(9, rest: ",\"canceled\":true,\"cancel_reason\":\"mvcc: because\""))
        }
    }

    @Test(arguments: [
        // Another cluster; a lower revision; another head; a head that has gone back; none.
        (6, 5, 2, 3, 2), (4, 4, 2, 3, 1), (9, 9, 3, 9, 1), (9, 6, 2, 2, 1), (9, 0, 0, 0, 1),
    ])
    func anotherStoreIsReadFromTheBeginning(
        now: Int, revision: Int, create: Int, version: Int, cluster: Int
    ) throws {
        var replica = try loaded()
        let head = kv("mesh", revision, create: create, version: version)
        try replica.read(
            probe: revision == 0 ? body(now) : body(now, head, cluster: cluster))
        #expect(replica.step == .page)
        guard case .contents(_, _, goesOn: false)? = try replica.read(page: body(now)) else {
            Issue.record("it goes on")
            return
        }
    }

    @Test func whatIsNoAnswer() throws {
        for text in [
            "", "[]", "{}", "{\"result\":{\"events\":3}}", "{\"result\":{\"events\":[{}]}}",
        ] {
            var replica = try loaded()
            #expect(throws: EtcdFault.self, "\(text)") {
                if try replica.read(line: Array(text.utf8)) == nil { throw EtcdFault.tooLarge }
                try replica.read(probe: Array(text.utf8))
            }
        }
        var replica = try loaded()
        #expect(throws: EtcdFault.self) {
            try replica.read(
                line: line(
                    9, "{\"kv\":\(kv("c", 8, create: 8))}", "{\"kv\":\(kv("b", 7, create: 7))}"))
        }
    }
}
