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
        if policy.hashes {
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
