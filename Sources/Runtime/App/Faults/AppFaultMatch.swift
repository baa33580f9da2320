import Base
import Fault
import Model
import Wire

/// A fault of the workload's, and what a request must have for it to be about that.
struct AppFaultMatch {
    let fault: HeldFault
    private let path: ProxyConfiguration.PathMatch
    private let methods: [[UInt8]]
    private let fields: [(name: [UInt8], value: [UInt8]?)]
    private let expression: Expression?

    /// Of a path.
    private final class Expression {
        private let table: RegexTable

        init?(_ pattern: String) {
            guard let regex = try? LinearRegex(pattern) else { return nil }
            var builder = RegexTable.Builder()
            _ = builder.add(regex)
            table = RegexTable(builder)
        }

        func fits(_ path: Bytes) -> Bool { table.matches(0, path) }
    }

    init(_ fault: HeldFault) {
        self.fault = fault
        let match = fault.rule.match
        path = match.path
        methods = match.methods.map { Array($0.utf8) }
        expression = if case .regex(let pattern) = match.path { Expression(pattern) } else { nil }
        fields = match.headers.map { (Array($0.name.utf8), $0.value.map { Array($0.utf8) }) }
    }

    /// Whether the fault is about the request.
    func means(_ head: borrowing Head, _ bytes: Bytes) -> Bool {
        guard fault.rule.match.isAny || meansPath(bytes[head.path]) else { return false }
        let method = bytes[head.method]
        guard methods.isEmpty || methods.contains(where: { $0.withBytes { $0 == method } }) else {
            return false
        }
        for (name, value) in fields where !has(name, value, head, bytes) { return false }
        return true
    }

    private func has(
        _ name: [UInt8], _ value: [UInt8]?, _ head: borrowing Head, _ bytes: Bytes
    ) -> Bool {
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            // Byte by byte: a name may have `_`, of which `equalsIgnoringCase` knows nothing.
            let found = bytes[field.nameRange]
            guard found.count == name.count,
                name.indices.allSatisfy({ asciiLowercase(found[$0]) == name[$0] })
            else { continue }
            guard let value else { return true }
            if value.withBytes({ $0 == bytes[field.valueRange] }) { return true }
        }
        return false
    }

    private func meansPath(_ target: Bytes) -> Bool {
        let end = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
        let found = target[0..<end]
        switch path {
        case .regex: return expression?.fits(found) == true
        case .exact(let text): return unsafe text.utf8.elementsEqual(found.raw)
        case .prefix(let text):
            let count = text.utf8.count
            guard found.count >= count, unsafe text.utf8.elementsEqual(found[0..<count].raw)
            else { return false }
            // Whole segments only: `/a` is no prefix of `/ab`.
            return found.count == count || text.hasSuffix("/")
                || found[count] == UInt8(ascii: "/")
        }
    }
}
