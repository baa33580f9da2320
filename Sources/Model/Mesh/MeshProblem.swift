// What is wrong with declarations, and where: a path of keys and of numbers of items, as a file has
// them. Whoever has the file turns the path into a line; the API says the path.

import Base

/// One thing that is wrong with a declaration.
public struct MeshProblem: Error, Codable, Hashable, Sendable {
    /// The declaration that would have to change.
    public var key: MeshKey
    /// Keys, and numbers of items from 0, from the declaration's top: `to`, `0`, `service`.
    public var path: [String]
    /// Without a full stop.
    public var message: String

    public init(key: MeshKey, path: [String] = [], _ message: String) {
        self.key = key
        self.path = path
        self.message = message
    }

    /// On one line: `route shop/cart: to.0.service: unknown service 'shop/crat'`.
    public var description: String {
        let steps = path.isEmpty ? "" : "\(path.joined(separator: ".")): "
        return "\(key.title): \(steps)\(message)"
    }
}

/// Problems as they are found.
public struct MeshProblems: Sendable {
    /// In the order of finding.
    public private(set) var all: [MeshProblem] = []
    private var key: MeshKey
    private var path: [String] = []
    private let limit: Int

    /// - Parameter limit: Bound: what is found beyond so many is not kept.
    init(_ key: MeshKey, atMost limit: Int) {
        self.key = key
        self.limit = limit
    }

    var isFull: Bool { all.count >= limit }

    /// Looks at a declaration.
    mutating func of(_ key: MeshKey, _ look: (inout MeshProblems) -> Void) {
        self.key = key
        path = []
        look(&self)
    }

    mutating func report(_ message: String) {
        guard !isFull else { return }
        all.append(.init(key: key, path: path, message))
    }

    mutating func report(_ step: String?, _ message: String) {
        at(step) { $0.report(message) }
    }

    /// Looks at what stands under a key, or a key of an item.
    mutating func at(_ steps: String?..., look: (inout MeshProblems) -> Void) {
        let depth = path.count
        path += steps.compactMap(\.self)
        look(&self)
        path.removeSubrange(depth...)
    }
}

// MARK: - Checks that several kinds share

extension MeshProblems {
    mutating func names(_ name: MeshName) {
        label("namespace", name.namespace)
        label("name", name.name)
    }

    mutating func label(_ step: String?, _ text: String) {
        guard !MeshName.isLabel(text) else { return }
        report(
            step,
            text.utf8.count > MeshLimits.nameBytes
                ? "longer than \(MeshLimits.nameBytes) bytes"
                : "a name of lower-case letters, digits and hyphens is needed")
    }

    /// - Parameter breadth: how wide it may be; see `MeshName.breadth`.
    mutating func reference(_ step: String?, _ name: MeshName, breadth: Int) {
        let isNamed = MeshName.isLabel(name.namespace) && MeshName.isLabel(name.name)
        let isAllOfOne = MeshName.isLabel(name.namespace) && name.name == "*"
        let isAll = name.namespace == "*" && name.name == "*"
        guard !(isNamed || breadth > 0 && isAllOfOne || breadth > 1 && isAll) else { return }
        report(step, "a service such as cart or shop/cart is needed")
    }

    mutating func range(_ step: String?, _ number: Int, _ range: ClosedRange<Int>) {
        within(step, number, range) { "\($0)" }
    }

    mutating func range(_ step: String?, _ span: Duration, _ range: ClosedRange<Duration>) {
        within(step, span, range, \.exactText)
    }

    mutating func within<Value: Comparable>(
        _ step: String?, _ value: Value, _ range: ClosedRange<Value>, _ text: (Value) -> String
    ) {
        guard !range.contains(value) else { return }
        let isLess = value < range.lowerBound
        let bound = isLess ? range.lowerBound : range.upperBound
        report(
            step,
            "'\(text(value))' is \(isLess ? "less" : "more") than \(text(bound)), "
                + "the \(isLess ? "least" : "most") allowed here")
    }

    mutating func list<Item>(
        _ step: String, _ items: [Item], _ count: ClosedRange<Int>,
        _ look: (inout MeshProblems, Item) -> Void
    ) {
        at(step) { problems in
            guard count.contains(items.count) else {
                let isLess = items.count < count.lowerBound
                let bound = isLess ? count.lowerBound : count.upperBound
                return problems.report(
                    "at \(isLess ? "least" : "most") \(bound) items are needed here, "
                        + "not \(items.count)")
            }
            for (index, item) in items.enumerated() {
                problems.at("\(index)") { look(&$0, item) }
            }
        }
    }

    /// The path that a route compares, which is a request's without its query.
    mutating func path(_ step: String?, _ text: String) {
        guard !isRoutePath(text) else { return }
        report(step, "a path without a query, such as /users, is needed")
    }

    /// The path that a rule of an authorization compares.
    mutating func rulePath(_ text: String) {
        guard !isRulePath(text) else { return }
        report(
            "a path that servers read in one way only is needed, such as /users: without a "
                + "query, `;`, `\\`, an encoded slash, segments that are empty or dots, and wrong "
                + "escapes")
    }

    mutating func methods(_ methods: [String]) {
        list("methods", methods, 0...MeshLimits.methods) { problems, method in
            guard !isMethod(method) else { return }
            problems.report("a method in upper case, such as GET, is needed")
        }
    }

    mutating func headers(_ headers: [ProxyConfiguration.HeaderMatch]) {
        at("headers") { problems in
            guard headers.count <= MeshLimits.headers else {
                return problems.report("at most \(MeshLimits.headers) keys are allowed here")
            }
            var seen: Set<String> = []
            for header in headers {
                problems.at(header.name) { $0.header(header, &seen) }
            }
        }
    }

    private mutating func header(
        _ header: ProxyConfiguration.HeaderMatch, _ seen: inout Set<String>
    ) {
        if !isFieldName(header.name) || header.name != header.name.lowercased() {
            report("no name of a field in lower case")
        }
        if !seen.insert(header.name).inserted { report("stands here already") }
        if let why = header.problem { report(why) }
    }
}
