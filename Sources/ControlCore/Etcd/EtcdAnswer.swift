// What etcd answers, taken apart.

public import Base

/// An answer that cannot be used.
public enum EtcdFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// It is no answer of an etcd; what is wrong with it.
    case malformed(String)
    /// What etcd says, and the code of gRPC.
    case refused(code: Int, message: String)
    /// The watch has ended, for this reason.
    case cancelled(String)
    /// The prefix holds more than a control plane takes.
    case tooLarge

    public var description: String {
        switch self {
        case .malformed(let what): "no answer of an etcd: \(what)"
        case .refused(_, let message): message
        case .cancelled(let reason): "the watch was cancelled: \(reason)"
        case .tooLarge:
            "more than \(StoreLimits().keys) keys or \(StoreLimits().bytes) bytes under "
                + "\(EtcdSpace.keys)"
        }
    }
}

extension EtcdFault {
    /// What an answer with another status than 200 says.
    public init(status: Int, _ body: [UInt8]) {
        guard let value = JSONValue(body) else {
            self = .malformed("status \(status)")
            return
        }
        let answer = EtcdAnswer(value)
        self = .refused(
            code: answer.small("code") ?? 2,
            message: answer.text("message") ?? answer.text("error") ?? "status \(status)")
    }
}

/// An answer, or one line of a stream.
public struct EtcdAnswer: Sendable {
    let value: JSONValue

    public init(_ body: [UInt8]) throws(EtcdFault) {
        guard let value = JSONValue(body), case .object = value else {
            throw .malformed("not an object of JSON")
        }
        self.value = value
    }

    init(_ value: JSONValue) { self.value = value }

    /// A line of a stream: what is in `result`, or the error in `error`.
    static func line(_ bytes: [UInt8]) throws(EtcdFault) -> EtcdAnswer {
        let line = try EtcdAnswer(bytes)
        if let error = line.value["error"] {
            let answer = EtcdAnswer(error)
            throw .refused(
                code: answer.small("grpc_code") ?? 2, message: answer.text("message") ?? "an error")
        }
        guard let result = line.value["result"] else { throw .malformed("no result in a line") }
        return EtcdAnswer(result)
    }

    // MARK: Parts

    func text(_ name: String) -> String? {
        guard case .text(let text)? = value[name] else { return nil }
        return text
    }

    fileprivate func small(_ name: String) -> Int? {
        guard case .number(let digits)? = value[name] else { return nil }
        return Int(digits)
    }

    /// A number of 64 bits, which is written as a text; absent: 0.
    func number(_ name: String) throws(EtcdFault) -> UInt64 {
        let digits: String
        switch value[name] {
        case nil: return 0
        case .text(let text)?: digits = text
        case .number(let text)?: digits = text
        default: throw .malformed("'\(name)' is no number")
        }
        guard let number = UInt64(digits), number <= StoreLimits.revision else {
            throw .malformed("'\(name)' is \(digits)")
        }
        return number
    }

    func flag(_ name: String) -> Bool { value[name] == .bool(true) }

    func bytes(_ name: String) throws(EtcdFault) -> [UInt8] {
        guard let value = value[name] else { return [] }
        guard case .text(let text) = value, let bytes = Base64.decode(text.utf8) else {
            throw .malformed("'\(name)' is not in base64")
        }
        return bytes
    }

    func list(_ name: String) throws(EtcdFault) -> [EtcdAnswer] {
        switch value[name] {
        case nil: return []
        case .array(let values)?: return values.map { EtcdAnswer($0) }
        default: throw .malformed("'\(name)' is no list")
        }
    }

    func part(_ name: String) throws(EtcdFault) -> EtcdAnswer {
        guard let value = value[name] else { throw .malformed("no '\(name)'") }
        return EtcdAnswer(value)
    }

    /// The revision of the store when it answered.
    public func revision() throws(EtcdFault) -> UInt64 { try part("header").number("revision") }

    func cluster() throws(EtcdFault) -> String {
        guard let text = try part("header").text("cluster_id") else {
            throw .malformed("no 'cluster_id'")
        }
        return text
    }

    /// A key with its value, of the store's.
    func entry() throws(EtcdFault) -> StoreEntry {
        guard let key = EtcdSpace.inside(try bytes("key")) else {
            throw .malformed("a key that was not asked for")
        }
        let entry = StoreEntry(
            key: key, value: try bytes("value"), createRevision: try number("create_revision"),
            modRevision: try number("mod_revision"), version: try number("version"),
            lease: try number("lease"))
        guard entry.modRevision > 0, entry.createRevision <= entry.modRevision else {
            throw .malformed("a key of no revision")
        }
        return entry
    }
}

/// What a transaction came to.
public enum EtcdOutcome: Equatable, Sendable {
    /// It happened at the revision. `isSeen`: a watch tells of it.
    case committed(revision: UInt64, isSeen: Bool)
    /// It did not happen: a key of its conditions is at another revision (0: absent).
    case conflict(StoreKey, modRevision: UInt64)
    /// It did not happen: the writer's key is not as this process left it.
    case writerMoved(modRevision: UInt64)

    /// Reads the answer to a transaction.
    public static func of(
        _ answer: EtcdAnswer, _ transaction: StoreTransaction, by writer: EtcdWriter
    ) throws(EtcdFault) -> EtcdOutcome {
        let responses = try answer.list("responses")
        if answer.flag("succeeded") {
            guard responses.count == transaction.changes.count + 1 else {
                throw .malformed("\(responses.count) responses")
            }
            return .committed(
                revision: try answer.revision(),
                isSeen: try isSeen(transaction, responses.dropFirst()))
        }
        guard responses.count == transaction.conditions.count + 1 else {
            throw .malformed("\(responses.count) responses")
        }
        var found: [(value: [UInt8], modRevision: UInt64)] = []
        for response in responses {
            guard let item = try response.part("response_range").list("kvs").first else {
                found.append(([], 0))
                continue
            }
            found.append((try item.bytes("value"), try item.number("mod_revision")))
        }
        // The answer to the first time it was sent was lost.
        if found[0].value == writer.mark {
            let hasPut = transaction.changes.contains { change in
                if case .put = change { true } else { false }
            }
            return .committed(revision: found[0].modRevision, isSeen: hasPut)
        }
        for (condition, item) in zip(transaction.conditions, found.dropFirst())
        where item.modRevision != condition.modRevision {
            return .conflict(condition.key, modRevision: item.modRevision)
        }
        guard found[0].modRevision != writer.modRevision else {
            throw .malformed("a failure without a reason")
        }
        return .writerMoved(modRevision: found[0].modRevision)
    }

    private static func isSeen(
        _ transaction: StoreTransaction, _ responses: ArraySlice<EtcdAnswer>
    ) throws(EtcdFault) -> Bool {
        for (change, response) in zip(transaction.changes, responses) {
            switch change {
            case .put: return true
            case .delete:
                if try response.part("response_delete_range").number("deleted") > 0 { return true }
            }
        }
        return false
    }
}

/// A lease that was kept alive, or could not be.
public struct EtcdLease: Equatable, Sendable {
    public var id: UInt64
    /// nil: there is none of that number.
    public var life: Duration?

    /// Reads a line of the answer to `EtcdRequest.keepAlive`.
    public init(line: [UInt8]) throws(EtcdFault) { try self.init(EtcdAnswer.line(line)) }

    /// Reads the answer to `EtcdRequest.grant`.
    public init(_ answer: EtcdAnswer) throws(EtcdFault) {
        id = try answer.number("ID")
        let seconds = min(try answer.number("TTL"), 1 << 32)
        life = seconds == 0 ? nil : .seconds(Int64(seconds))
    }
}
