/// How one kind of value is written and read.
struct Form<Value>: Sendable {
    let outline: Outline
    /// The value of a node; nil where it is wrong, which has then been reported.
    let decode: @Sendable (Node, inout Decoding) -> Value?

    /// The same form, read on into another value; `transform` says nil after a report of its own.
    func map<Other>(
        _ transform: @escaping @Sendable (Value, Node, inout Decoding) -> Other?
    ) -> Form<Other> {
        .init(outline: outline) { node, decoding in
            decode(node, &decoding).flatMap { transform($0, node, &decoding) }
        }
    }

    /// The value together with where it was written.
    var placed: Form<Placed<Value>> {
        map { value, node, _ in Placed(value, node.place) }
    }

    /// The value, where the key may also be absent.
    var optional: Form<Value?> { map { value, _, _ in .some(value) } }
}

/// A value and where it was written.
struct Placed<Value> {
    var value: Value
    var place: Place

    init(_ value: Value, _ place: Place) {
        self.value = value
        self.place = place
    }
}

extension Placed: Sendable where Value: Sendable {}

/// One setting in force, for `explain`.
public struct Setting: Equatable, Sendable {
    /// As `--set` takes it: `load.main.connections`.
    public var path: String
    /// In YAML, on one line.
    public var value: String
    /// Where it comes from.
    public var origin: Place.Source
    /// The line there.
    public var line: Int
}

/// The state of one reading: what was wrong so far, and what was set to what.
struct Decoding: Sendable {
    private(set) var diagnostics: [Diagnostic] = []
    private(set) var settings: [Setting] = []
    /// Keys and names from the root to the value being read.
    var path: [String] = []
    /// Whether `settings` is of use to anybody.
    var keepsSettings = true
    /// Where a scalar's variables could not be put in: what it says then is not held against it.
    var unresolved: Set<Place> = []

    mutating func report(_ place: Place, _ message: String) {
        let diagnostic = Diagnostic(place, message)
        guard diagnostics.count < Limits.diagnostics, !diagnostics.contains(diagnostic) else {
            return
        }
        diagnostics.append(diagnostic)
    }

    /// Notes a value in force for `explain`; a collection that is long or of several sources item
    /// by item.
    mutating func note(_ node: Node) {
        guard keepsSettings else { return }
        let isWhole = node.flowText.count <= 60 && node.isAll(from: node.place.source)
        switch node.content {
        case .sequence(let items) where !isWhole:
            for (index, item) in items.enumerated() { note(item, under: "\(index)") }
        case .mapping(let entries) where !isWhole:
            for entry in entries { note(entry.value, under: entry.key) }
        default: append(node)
        }
    }

    private mutating func append(_ node: Node) {
        settings.append(
            .init(
                path: path.joined(separator: "."), value: node.flowText, origin: node.place.source,
                line: node.place.line))
    }

    private mutating func note(_ node: Node, under step: String) {
        path.append(step)
        defer { path.removeLast() }
        note(node)
    }
}
