// Routes, compiled so that matching touches bytes and small integers only: every pattern stands in
// one array of bytes, every condition is a plain value that says where.

import Base
import Model
import Wire

/// Finds the route of a request. Built once for each configuration, then only read.
struct Router: ~Copyable {
    private struct Text: BitwiseCopyable {
        var start: Int32
        var count: Int32
    }

    private struct Host: BitwiseCopyable {
        var text: Text
        /// `*.` stood before it: any depth below.
        var isSuffix: Bool
    }

    private struct FieldCondition: BitwiseCopyable {
        var name: Text
        var value: Text
        var hasValue: Bool
    }

    private struct Rule: BitwiseCopyable {
        var hosts: Range32
        var path: Text
        var isExact: Bool
        var methods: Range32
        var fields: Range32
        var cluster: Int32
        var timeout: Duration
    }

    private struct Range32: BitwiseCopyable {
        var start: Int32
        var end: Int32
        var indices: Range<Int> { Int(start)..<Int(end) }
        var isEmpty: Bool { start == end }
    }

    /// What a request is to be done with.
    struct Match: BitwiseCopyable {
        /// The place in the configuration's clusters; -1: the route names none that exists.
        var cluster: Int32
        var timeout: Duration
    }

    private let text: Slab<UInt8>
    private let hosts: Slab<Host>
    private let methods: Slab<Text>
    private let conditions: Slab<FieldCondition>
    private let rules: Slab<Rule>

    init(_ configuration: ProxyConfiguration) {
        var compiler = Compiler()
        for route in configuration.routes { compiler.add(route, in: configuration) }
        text = Self.slab(compiler.text, empty: 0)
        hosts = Self.slab(
            compiler.hosts, empty: Host(text: .init(start: 0, count: 0), isSuffix: false))
        methods = Self.slab(compiler.methods, empty: Text(start: 0, count: 0))
        let none = Text(start: 0, count: 0)
        conditions = Self.slab(
            compiler.conditions, empty: FieldCondition(name: none, value: none, hasValue: false))
        let nowhere = Range32(start: 0, end: 0)
        rules = Self.slab(
            compiler.rules,
            empty: Rule(
                hosts: nowhere, path: none, isExact: true, methods: nowhere, fields: nowhere,
                cluster: -1, timeout: .zero))
        count = compiler.rules.count
    }

    private let count: Int

    deinit {
        text.deallocate()
        hosts.deallocate()
        methods.deallocate()
        conditions.deallocate()
        rules.deallocate()
    }

    private static func slab<T: BitwiseCopyable>(_ array: [T], empty: T) -> Slab<T> {
        let slab = Slab(count: array.count, repeating: empty)
        for (i, element) in array.enumerated() { slab[i] = element }
        return slab
    }

    private struct Compiler {
        var text: [UInt8] = []
        var hosts: [Host] = []
        var methods: [Text] = []
        var conditions: [FieldCondition] = []
        var rules: [Rule] = []

        mutating func add(_ route: ProxyConfiguration.Route, in configuration: ProxyConfiguration) {
            let firstHost = hosts.count
            for host in route.hosts {
                let isSuffix = host.hasPrefix("*.")
                hosts.append(
                    Host(text: put(isSuffix ? String(host.dropFirst()) : host), isSuffix: isSuffix))
            }
            let firstMethod = methods.count
            for method in route.methods { methods.append(put(method)) }
            let firstCondition = conditions.count
            for field in route.headers {
                conditions.append(
                    FieldCondition(
                        name: put(field.name), value: put(field.value ?? ""),
                        hasValue: field.value != nil))
            }
            let isExact: Bool
            let path: Text
            switch route.path {
            case .exact(let exact): (isExact, path) = (true, put(exact))
            case .prefix(let prefix): (isExact, path) = (false, put(prefix))
            }
            rules.append(
                Rule(
                    hosts: range(firstHost, hosts.count), path: path, isExact: isExact,
                    methods: range(firstMethod, methods.count),
                    fields: range(firstCondition, conditions.count),
                    cluster: Int32(
                        configuration.clusters.firstIndex { $0.name == route.shares.first?.cluster } ?? -1),
                    timeout: route.timeout ?? configuration.timeouts.request))
        }

        private mutating func put(_ string: String) -> Text {
            let start = text.count
            text.append(contentsOf: string.utf8)
            return Text(start: Int32(start), count: Int32(text.count - start))
        }

        private func range(_ start: Int, _ end: Int) -> Range32 {
            Range32(start: Int32(start), end: Int32(end))
        }
    }

    /// The first route whose every condition holds; nil: none does.
    func match(_ head: borrowing Head, _ bytes: Bytes) -> Match? {
        // The target of CONNECT is a host, not a path: as for `OPTIONS *`, the prefix `/` stands
        // for it.
        let path =
            bytes[head.method] == "CONNECT" ? Bytes("*") : Self.withoutQuery(bytes[head.path])
        for i in 0..<count {
            let rule = rules[i]
            guard matchesPath(rule, path) else { continue }
            guard rule.hosts.isEmpty || matchesHost(rule, Self.withoutPort(bytes[head.authority]))
            else {
                continue
            }
            guard rule.methods.isEmpty || matchesMethod(rule, bytes[head.method]) else { continue }
            guard matchesFields(rule, head, bytes) else { continue }
            return Match(cluster: rule.cluster, timeout: rule.timeout)
        }
        return nil
    }

    private func matchesPath(_ rule: Rule, _ path: Bytes) -> Bool {
        let count = Int(rule.path.count)
        if rule.isExact { return path.count == count && equal(rule.path, path) }
        guard path.count >= count, equal(rule.path, path[0..<count]) else {
            // `OPTIONS *` has no path: only the prefix `/` stands for it.
            return count == 1 && path == "*"
        }
        // Whole segments only: `/a` is no prefix of `/ab`.
        return path.count == count || text[Int(rule.path.start) + count - 1] == UInt8(ascii: "/")
            || path[count] == UInt8(ascii: "/")
    }

    private func matchesHost(_ rule: Rule, _ host: Bytes) -> Bool {
        for i in rule.hosts.indices {
            let pattern = hosts[i]
            let count = Int(pattern.text.count)
            if pattern.isSuffix {
                guard host.count > count else { continue }
                if equal(pattern.text, host[host.count - count..<host.count], ignoringCase: true) {
                    return true
                }
            } else if host.count == count, equal(pattern.text, host, ignoringCase: true) {
                return true
            }
        }
        return false
    }

    private func matchesMethod(_ rule: Rule, _ method: Bytes) -> Bool {
        for i in rule.methods.indices
        where Int(methods[i].count) == method.count && equal(methods[i], method) { return true }
        return false
    }

    private func matchesFields(_ rule: Rule, _ head: borrowing Head, _ bytes: Bytes) -> Bool {
        for i in rule.fields.indices {
            let condition = conditions[i]
            var met = false
            for f in 0..<head.fieldCount {
                let field = head.fields[f]
                guard field.nameLength == UInt32(condition.name.count),
                    equal(condition.name, bytes[field.nameRange], ignoringCase: true)
                else { continue }
                let value = bytes[field.valueRange]
                met =
                    !condition.hasValue
                    || (value.count == Int(condition.value.count) && equal(condition.value, value))
                if met { break }
            }
            if !met { return false }
        }
        return true
    }

    private func equal(_ pattern: Text, _ bytes: Bytes, ignoringCase: Bool = false) -> Bool {
        let start = Int(pattern.start)
        for i in 0..<Int(pattern.count) {
            let byte = ignoringCase ? asciiLowercase(bytes[i]) : bytes[i]
            if text[start + i] != byte { return false }
        }
        return true
    }

    private static func withoutQuery(_ path: Bytes) -> Bytes {
        let end = path.firstIndex(of: UInt8(ascii: "?")) ?? path.count
        // An absolute target without a path asks for the root.
        return end == 0 ? Bytes("/") : path[0..<end]
    }

    private static func withoutPort(_ host: Bytes) -> Bytes {
        var i = host.count
        while i > 0 {
            i -= 1
            if host[i] == UInt8(ascii: ":") { return host[0..<i] }
            if host[i] == UInt8(ascii: "]") { break }
        }
        return host
    }
}
