// What of a request says which endpoint it goes to, read while its head is at hand.

import Base
import Model
import Wire

/// What a cluster's balancing reads of requests. Made with a configuration.
struct WishPlan {
    private enum Source {
        case header([UInt8])
        case cookie([UInt8])
        case client
    }

    private var hash: [Source] = []
    /// The fields whose values are those of labels.
    private var subsets: [[UInt8]] = []

    init(_ policy: BalancePolicy) {
        // Requests are hashed only where hashes are used.
        if policy.algorithm == .ringHash || policy.algorithm == .maglev {
            hash = policy.hash.map { key in
                switch key {
                case .header(let name): .header(Array(name.utf8))
                case .cookie(let name): .cookie(Array(name.utf8))
                case .source: .client
                }
            }
        }
        subsets = policy.subsets.prefix(SubsetKeys.most).map { Array($0.header.utf8) }
    }

    /// Whether there is nothing to read.
    var isEmpty: Bool { hash.isEmpty && subsets.isEmpty }

    /// What a request asks for.
    /// - Parameter client: its address.
    func wish(_ head: borrowing Head, _ bytes: Bytes, client: Bytes) -> HostWish {
        var wish = HostWish()
        for (i, name) in subsets.enumerated() {
            guard let value = Self.field(name, head, bytes) else { continue }
            wish.subset = SubsetKeys.narrowed(wish.subset, i, XXHash64.hash(value))
        }
        for source in hash {
            let value =
                switch source {
                case .header(let name): Self.field(name, head, bytes)
                case .cookie(let name): head.cookie(bytes) { Self.isExactly($0, name) }
                case .client: client.count > 0 ? client : nil
                }
            // As Envoy with `terminal`: the first that the request has is all that counts.
            guard let value else { continue }
            wish.hash = XXHash64.hash(value)
            wish.hasHash = true
            break
        }
        return wish
    }

    /// What can be asked for without a head.
    func wish(client: Bytes) -> HostWish {
        var wish = HostWish()
        for source in hash {
            guard case .client = source, client.count > 0 else { continue }
            wish.hash = XXHash64.hash(client)
            wish.hasHash = true
        }
        return wish
    }

    /// The value of the first such field.
    static func field(_ name: [UInt8], _ head: borrowing Head, _ bytes: Bytes) -> Bytes? {
        for i in 0..<head.fieldCount where isName(bytes[head.fields[i].nameRange], name) {
            return bytes[head.fields[i].valueRange]
        }
        return nil
    }

    private static func isName(_ bytes: Bytes, _ name: [UInt8]) -> Bool {
        guard bytes.count == name.count else { return false }
        for i in 0..<name.count where asciiLowercase(bytes[i]) != name[i] { return false }
        return true
    }

    /// Cookies' names have a case.
    private static func isExactly(_ bytes: Bytes, _ name: [UInt8]) -> Bool {
        guard bytes.count == name.count else { return false }
        for i in 0..<name.count where bytes[i] != name[i] { return false }
        return true
    }
}

/// What an answer says of a call of gRPC, for those who judge by status codes of HTTP.
enum GRPCVerdict {
    /// The status of an answer's head: that of its `grpc-status`, where it has one and is gRPC's.
    static func status(_ head: borrowing Head, _ bytes: Bytes) -> Int {
        let call = call(head, bytes)
        return call < 0 ? head.status : status(Int(call))
    }

    /// The status of gRPC in an answer's head; -1: there is none.
    static func call(_ head: borrowing Head, _ bytes: Bytes) -> Int8 {
        WishPlan.field(Self.name, head, bytes).map(number) ?? -1
    }

    /// The status of gRPC in the lines behind an answer's body; -1: there is none.
    static func call(trailers lines: Bytes) -> Int8 {
        let name = Bytes("grpc-status:")
        var start = 0
        while start < lines.count {
            let end = lines.firstIndex(of: UInt8(ascii: "\r"), from: start) ?? lines.count
            var value = start + name.count
            if value <= end, lines[start..<value].equalsIgnoringCase(name) {
                while value < end, lines[value] == UInt8(ascii: " ") { value += 1 }
                return number(lines[value..<end])
            }
            start = end + 2
        }
        return -1
    }

    private static func number(_ text: Bytes) -> Int8 {
        guard (1...2).contains(text.count) else { return -1 }
        var number: Int8 = 0
        for i in 0..<text.count {
            let digit = text[i] &- UInt8(ascii: "0")
            guard digit < 10 else { return -1 }
            number = number * 10 + Int8(digit)
        }
        return number
    }

    private static let name = Array("grpc-status".utf8)

    /// Whether admission control takes a call for a failure: DEADLINE_EXCEEDED,
    /// RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
    ///
    /// Source: Envoy, admission control, the default `grpc_criteria`.
    static func isFailure(_ call: Int8) -> Bool {
        call == 4 || call == 8 || call >= 13 && call <= 15
    }

    /// Source: Envoy, `Grpc::Utility::grpcToHttpStatus`.
    static func status(_ grpc: Int) -> Int {
        switch grpc {
        case 0: 200
        case 1: 499
        case 3, 9, 11: 400
        case 4: 504
        case 5: 404
        case 6, 10: 409
        case 7: 403
        case 8: 429
        case 12: 501
        case 14: 503
        case 16: 401
        default: 500
        }
    }
}
