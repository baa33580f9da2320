// An etcd in memory, asked by the JSON of its gateway and read by a decoder that is not ours.

import Base
import ControlCore
import FoundationEssentials

/// One etcd, of which everybody sees the same.
final class SimulatedEtcd {
    private struct Range: Decodable {
        var key: String, rangeEnd: String?, limit: String?, revision: String?, keysOnly: Bool?
    }

    private struct Put: Decodable { var key: String, value: String?, lease: String? }

    private struct Operation: Decodable {
        var requestPut: Put?, requestDeleteRange: Range?, requestRange: Range?
    }

    private struct Compare: Decodable {
        var target: String, result: String, key: String, modRevision: String
    }

    private struct Transaction: Decodable {
        var compare: [Compare], success: [Operation], failure: [Operation]
    }

    private struct Lease: Decodable {
        enum CodingKeys: String, CodingKey {
            case life = "TTL"
            case id = "ID"
        }
        var life: String?, id: String?
    }

    private(set) var cluster = 1
    private(set) var revision: UInt64 = 1
    /// What happened up to here is forgotten.
    private(set) var compacted: UInt64 = 0
    private(set) var entries: [StoreKey: StoreEntry] = [:]
    private(set) var history: [StoreCommit] = []
    private(set) var leases: Set<UInt64> = []
    private var lastLease: UInt64 = 1000
    /// What was held at each revision, since the beginning of this cluster.
    private(set) var past: [UInt64: [StoreKey: StoreEntry]] = [1: [:]]

    // MARK: What happens by itself

    func compact() { compacted = revision }

    /// A lease ends, as if nobody had kept it alive.
    func end(_ lease: UInt64) {
        guard leases.remove(lease) != nil else { return }
        let keys = entries.values.filter { $0.lease == lease }.map(\.key).sorted()
        guard !keys.isEmpty else { return }
        commit(keys.map { .delete($0) })
    }

    /// Another one stands in its place, empty.
    func begin() {
        cluster += 1
        revision = 1
        compacted = 0
        entries = [:]
        history = []
        leases = []
        past = [1: [:]]
    }

    private func commit(_ changes: [StoreChange]) {
        revision += 1
        for change in changes {
            switch change {
            case .put(let entry): entries[entry.key] = entry
            case .delete(let key): entries[key] = nil
            }
        }
        history.append(StoreCommit(revision: revision, changes: changes))
        past[revision] = entries
    }

    // MARK: Requests

    var header: String {
        "\"header\":{\"cluster_id\":\"\(cluster)\",\"revision\":\"\(revision)\"}"
    }

    func answer(_ request: EtcdRequest) throws -> (status: Int, body: [UInt8]) {
        switch request.path {
        case "kv/range":
            return try answer(range: try decode(request.body))
        case "kv/txn":
            return try answer(transaction: try decode(request.body))
        case "lease/grant":
            lastLease += 1
            leases.insert(lastLease)
            let lease: Lease = try decode(request.body)
            return (200, text("\"ID\":\"\(lastLease)\",\"TTL\":\"\(lease.life ?? "")\""))
        case "lease/revoke":
            let lease: Lease = try decode(request.body)
            guard let id = lease.id.flatMap(UInt64.init), leases.contains(id) else {
                return failure(404, 5, "etcdserver: requested lease not found")
            }
            end(id)
            return (200, text(""))
        default: return failure(404, 5, "Not Found")
        }
    }

    private func decode<Value: Decodable>(_ body: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Value.self, from: Data(body))
    }

    private func text(_ rest: String) -> [UInt8] {
        Array("{\(header)\(rest.isEmpty ? "" : ",")\(rest)}".utf8)
    }

    func failure(_ status: Int, _ code: Int, _ message: String) -> (status: Int, body: [UInt8]) {
        (status, Array("{\"message\":\"\(message)\",\"code\":\(code)}".utf8))
    }

    private func key(_ text: String) -> StoreKey {
        StoreKey(bytes: Base64.decode(text.utf8) ?? [])
    }

    private func answer(range: Range) throws -> (status: Int, body: [UInt8]) {
        var held = entries
        if let wanted = range.revision.flatMap(UInt64.init) {
            guard wanted >= compacted, let then = past[wanted] else {
                return failure(400, 11, "etcdserver: mvcc: required revision has been compacted")
            }
            held = then
        }
        let first = key(range.key)
        let found: [StoreEntry]
        if let end = range.rangeEnd.map(key) {
            found = held.values.filter { $0.key >= first && $0.key < end }.sorted {
                $0.key < $1.key
            }
        } else {
            found = held[first].map { [$0] } ?? []
        }
        let limit = range.limit.flatMap { Int($0) } ?? .max
        let items = found.prefix(limit).map { json($0, hasValue: range.keysOnly != true) }
        let more = found.count > limit ? ",\"more\":true" : ""
        return (200, text("\"kvs\":[\(items.joined(separator: ","))]\(more)"))
    }

    private func answer(transaction: Transaction) throws -> (status: Int, body: [UInt8]) {
        let holds = transaction.compare.allSatisfy { compare in
            compare.target == "MOD" && compare.result == "EQUAL"
                && UInt64(compare.modRevision) == entries[key(compare.key)]?.modRevision ?? 0
        }
        guard holds else {
            let items = try transaction.failure.map { operation in
                guard let range = operation.requestRange else { throw EtcdFault.tooLarge }
                let body = String(decoding: try answer(range: range).body, as: UTF8.self)
                return "{\"response_range\":\(body)}"
            }
            return (200, text("\"responses\":[\(items.joined(separator: ","))]"))
        }
        var changes: [StoreChange] = []
        var items: [String] = []
        for operation in transaction.success {
            if let put = operation.requestPut {
                let lease = put.lease.flatMap(UInt64.init) ?? 0
                guard lease == 0 || leases.contains(lease) else {
                    return failure(404, 5, "etcdserver: requested lease not found")
                }
                let before = entries[key(put.key)]
                let entry = StoreEntry(
                    key: key(put.key), value: Base64.decode((put.value ?? "").utf8) ?? [],
                    createRevision: before?.createRevision ?? revision + 1,
                    modRevision: revision + 1, version: (before?.version ?? 0) + 1, lease: lease)
                changes.append(.put(entry))
                items.append("{\"response_put\":{}}")
            } else if let range = operation.requestDeleteRange {
                let isThere = entries[key(range.key)] != nil
                if isThere { changes.append(.delete(key(range.key))) }
                items.append(
                    "{\"response_delete_range\":{\(isThere ? "\"deleted\":\"1\"" : "")}}")
            }
        }
        if !changes.isEmpty { commit(changes) }
        return (200, text("\"succeeded\":true,\"responses\":[\(items.joined(separator: ","))]"))
    }

    // MARK: Texts

    private func json(_ entry: StoreEntry, hasValue: Bool = true) -> String {
        "{\"key\":\"\(Base64.encode(entry.key.bytes))\","
            + "\"create_revision\":\"\(entry.createRevision)\","
            + "\"mod_revision\":\"\(entry.modRevision)\",\"version\":\"\(entry.version)\""
            + (hasValue && !entry.value.isEmpty
                ? ",\"value\":\"\(Base64.encode(entry.value))\"" : "")
            + (entry.lease == 0 ? "}" : ",\"lease\":\"\(entry.lease)\"}")
    }

    /// The events of a commit that a watch of the store's keys is told.
    func events(_ commit: StoreCommit) -> [String] {
        commit.changes.filter { $0.key.hasPrefix(EtcdSpace.keys) }.map { change in
            switch change {
            case .put(let entry): "{\"kv\":\(json(entry))}"
            case .delete(let key):
                "{\"type\":\"DELETE\",\"kv\":{\"key\":\"\(Base64.encode(key.bytes))\","
                    + "\"mod_revision\":\"\(commit.revision)\"}}"
            }
        }
    }

    /// What the store's keys were at a revision, without their prefix.
    func contents(at revision: UInt64) -> [StoreKey: StoreEntry]? {
        past[revision]?.reduce(into: [:]) { result, item in
            guard item.key.hasPrefix(EtcdSpace.keys) else { return }
            let key = StoreKey(bytes: Array(item.key.bytes[EtcdSpace.keys.bytes.count...]))
            let entry = item.value
            result[key] = StoreEntry(
                key: key, value: entry.value, createRevision: entry.createRevision,
                modRevision: entry.modRevision, version: entry.version, lease: entry.lease)
        }
    }
}
