// What is asked of etcd, as its JSON gateway takes it: the messages of etcd's gRPC API in the
// canonical form of protobuf's JSON (bytes in base64, 64-bit numbers as texts, defaults left away).
// https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/

public import Base

/// Where in an etcd a control plane's keys stand.
///
///     meshbench/keys/KEY      what the store holds, and what is watched
///     meshbench/writers/ID    the last transaction of a writer
public enum EtcdSpace {
    public static let keys = StoreKey("meshbench/keys/")
    static let writers = StoreKey("meshbench/writers/")

    /// The first key behind all that begin with `prefix`, which ends with none of 0xFF.
    static func end(of prefix: StoreKey) -> StoreKey {
        var bytes = prefix.bytes
        precondition(bytes.last.map { $0 < 0xFF } ?? false, "a prefix without an end")
        bytes[bytes.count - 1] += 1
        return StoreKey(bytes: bytes)
    }

    static func outside(_ key: StoreKey) -> StoreKey { StoreKey(bytes: keys.bytes + key.bytes) }

    static func inside(_ key: [UInt8]) -> StoreKey? {
        guard key.starts(with: keys.bytes), key.count > keys.bytes.count else { return nil }
        return StoreKey(bytes: Array(key[keys.bytes.count...]))
    }
}

/// Who writes, so that a transaction whose answer was lost is known again.
///
/// Every transaction sets the writer's key to its number, under the condition that the key is as
/// the writer left it: so it happens once at most, however often it is sent.
public struct EtcdWriter: Sendable {
    /// Unlike any other writer's, and the same after a restart.
    let id: String
    /// The number of the last transaction.
    private(set) var sequence: UInt64 = 0
    /// Tells the transactions of this process from those of the ones before it.
    private let nonce: UInt64
    /// The revision that last set the writer's key; 0: none has.
    public var modRevision: UInt64 = 0

    /// - Parameters:
    ///   - id: visible ASCII.
    ///   - nonce: at random.
    public init(id: String, nonce: UInt64) {
        self.id = id
        self.nonce = nonce
    }

    var key: StoreKey { StoreKey(bytes: EtcdSpace.writers.bytes + Array(id.utf8)) }
    /// What the transaction of that number leaves in the key.
    var mark: [UInt8] { Array("\(nonce)-\(sequence)".utf8) }

    /// Begins another transaction.
    public mutating func begin() { sequence += 1 }
}

/// One request of the gateway.
public struct EtcdRequest: Equatable, Sendable {
    /// Below `/v3/`.
    public var path: String
    public var body: [UInt8]
    /// The answer is a stream of lines.
    public var isStream = false

    init(_ path: String, _ body: String) {
        self.path = path
        self.body = Array(body.utf8)
    }

    private static func bytes(_ key: StoreKey) -> String { "\"\(Base64.encode(key.bytes))\"" }

    /// Keys from `start` on, as they were at `revision`; 0: as they are, which the members of the
    /// cluster agree on.
    static func page(after last: StoreKey?, revision: UInt64, limit: Int) -> EtcdRequest {
        // The next key is the last one with a 0 behind it.
        let start =
            last.map { StoreKey(bytes: EtcdSpace.outside($0).bytes + [0]) } ?? EtcdSpace.keys
        let end = EtcdSpace.end(of: EtcdSpace.keys)
        return EtcdRequest(
            "kv/range",
            "{\"key\":\(bytes(start)),\"range_end\":\(bytes(end)),\"limit\":\"\(limit)\""
                + (revision > 0 ? ",\"revision\":\"\(revision)\"}" : "}"))
    }

    /// One key as it is.
    static func key(_ key: StoreKey) -> EtcdRequest {
        EtcdRequest("kv/range", "{\"key\":\(bytes(key))}")
    }

    /// Everything that happens from `revision` on.
    static func watch(from revision: UInt64) -> EtcdRequest {
        let end = EtcdSpace.end(of: EtcdSpace.keys)
        var request = EtcdRequest(
            "watch",
            "{\"create_request\":{\"key\":\(bytes(EtcdSpace.keys)),\"range_end\":\(bytes(end)),"
                + "\"start_revision\":\"\(revision)\",\"fragment\":true}}")
        request.isStream = true
        return request
    }

    /// A transaction, which says where it fails what stands in the keys of its conditions.
    public static func transaction(_ transaction: StoreTransaction, by writer: EtcdWriter)
        -> EtcdRequest
    {
        var compare = [condition(writer.key, writer.modRevision)]
        var failure = ["{\"request_range\":{\"key\":\(bytes(writer.key))}}"]
        for item in transaction.conditions {
            let key = EtcdSpace.outside(item.key)
            compare.append(condition(key, item.modRevision))
            failure.append("{\"request_range\":{\"key\":\(bytes(key)),\"keys_only\":true}}")
        }
        var success = [put(writer.key, writer.mark, 0)]
        for change in transaction.changes {
            let key = EtcdSpace.outside(change.key)
            switch change {
            case .put(_, let value, let lease): success.append(put(key, value, lease))
            case .delete: success.append("{\"request_delete_range\":{\"key\":\(bytes(key))}}")
            }
        }
        func list(_ items: [String]) -> String { "[\(items.joined(separator: ","))]" }
        return EtcdRequest(
            "kv/txn",
            "{\"compare\":\(list(compare)),\"success\":\(list(success)),"
                + "\"failure\":\(list(failure))}")
    }

    private static func condition(_ key: StoreKey, _ revision: UInt64) -> String {
        "{\"target\":\"MOD\",\"result\":\"EQUAL\",\"key\":\(bytes(key)),"
            + "\"mod_revision\":\"\(revision)\"}"
    }

    private static func put(_ key: StoreKey, _ value: [UInt8], _ lease: UInt64) -> String {
        "{\"request_put\":{\"key\":\(bytes(key)),\"value\":\"\(Base64.encode(value))\""
            + (lease == 0 ? "}}" : ",\"lease\":\"\(lease)\"}}")
    }

    /// A lease of at least `life`; etcd knows whole seconds, and gives no less than some.
    public static func grant(life: Duration) -> EtcdRequest {
        let seconds = Int64(life.seconds.rounded(.up))
        return EtcdRequest("lease/grant", "{\"TTL\":\"\(max(1, seconds))\"}")
    }

    public static func revoke(lease: UInt64) -> EtcdRequest {
        EtcdRequest("lease/revoke", "{\"ID\":\"\(lease)\"}")
    }

    /// Gives all of the leases their lives again: a stream of questions, and one of answers.
    public static func keepAlive(_ leases: [UInt64]) -> EtcdRequest {
        EtcdRequest("lease/keepalive", leases.map { "{\"ID\":\"\($0)\"}" }.joined())
    }
}
