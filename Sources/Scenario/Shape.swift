// A mapping with known keys, as a table: name, form, default and meaning of each key stand in one
// line. A default is written as in a file and read by the very same code, so that what `explain`
// and the documentation show is what holds.

import Base

/// How the keys of a mapping fill a value.
struct Shape<Whole: Sendable>: Sendable {
    let fields: [Field<Whole>]
    /// The value before any key is read.
    let blank: Whole

    init(_ blank: Whole, _ fields: [Field<Whole>]) {
        self.blank = blank
        self.fields = fields
    }

    /// Reads a mapping. Keys that are wrong keep their blank values, so that the rest can be
    /// checked too.
    var form: Form<Whole> {
        .init(outline: .shape(fields.map(\.outline))) { node, decoding in
            guard case .mapping(let entries) = node.content else {
                let keys = fields.prefix(3).map(\.outline.name).joined(separator: ", ")
                decoding.report(
                    node.place, "a mapping is needed (keys: \(keys)…), not \(node.kind)")
                return nil
            }
            refuseUnknownKeys(entries, &decoding)
            var whole = blank
            for field in fields { field.read(node, &whole, &decoding) }
            return whole
        }
    }

    private func refuseUnknownKeys(_ entries: [Node.Entry], _ decoding: inout Decoding) {
        let known = fields.map(\.outline.name)
        for entry in entries where !known.contains(entry.key) {
            let hint = suggestion(for: entry.key, in: known)
            decoding.report(entry.keyPlace, "unknown key '\(abbreviated(entry.key))'\(hint)")
        }
    }
}

/// One key of a shape, bound to a part of the whole.
struct Field<Whole: Sendable>: Sendable {
    let outline: KeyOutline
    /// Reads the key of a mapping into its part.
    fileprivate let read: @Sendable (Node, inout Whole, inout Decoding) -> Void

    /// - Parameter standard: the default in YAML; nil: the key may be absent and then nothing is
    ///   set.
    init<Value>(
        _ name: String, _ part: any WritableKeyPath<Whole, Value> & Sendable, _ form: Form<Value>,
        standard: String? = nil, isRequired: Bool = false, _ condition: KeyCondition = .always,
        about: String
    ) {
        precondition(standard == nil || !isRequired, "'\(name)' is required, yet has a default")
        let outline = KeyOutline(
            name: name, about: about, form: form.outline, standard: standard,
            isRequired: isRequired, condition: condition)
        self.outline = outline
        // Once for each table, not for each mapping: a mesh is a hundred thousand of them.
        let standardNode = outline.standardNode
        read = { mapping, whole, decoding in
            guard let node = outline.node(in: mapping, standardNode, &decoding) else { return }
            decoding.path.append(name)
            defer { decoding.path.removeLast() }
            if outline.form.isLeaf { decoding.note(node) }
            if let value = form.decode(node, &decoding) { whole[keyPath: part] = value }
        }
    }
}

extension Field {
    private init(
        _ outline: KeyOutline,
        read: @escaping @Sendable (Node, inout Whole, inout Decoding) -> Void
    ) {
        self.outline = outline
        self.read = read
    }

    /// The same key of something that has the whole as a part.
    func of<Outer>(
        _ part: any WritableKeyPath<Outer, Whole> & Sendable
    ) -> Field<Outer> {
        let read = read
        return Field<Outer>(outline) { node, outer, decoding in
            read(node, &outer[keyPath: part], &decoding)
        }
    }
}

extension KeyOutline {
    /// What stands under this key, else its default; nil where there is neither, reported where it
    /// must be.
    fileprivate func node(
        in mapping: Node, _ standardNode: Node?, _ decoding: inout Decoding
    ) -> Node? {
        guard case .mapping(let entries) = mapping.content else { return nil }
        let entry = entries.first { $0.key == name }
        switch condition {
        case .with(let other) where mapping.value(other) == nil:
            if let entry {
                decoding.report(entry.keyPlace, "'\(name)' has no meaning without '\(other)'")
            }
            return nil
        case .without(let other) where mapping.value(other) != nil:
            if let entry {
                decoding.report(entry.keyPlace, "'\(name)' has no meaning beside '\(other)'")
            }
            return nil
        default: break
        }
        if let entry { return entry.value }
        if isRequired { decoding.report(mapping.place, "the key '\(name)' is missing") }
        return standardNode
    }

    /// The default as it is read.
    fileprivate var standardNode: Node? {
        guard let standard else { return nil }
        guard let node = try? parseYAML(standard, source: .standard) else {
            preconditionFailure("the default of '\(name)' is no YAML: \(standard)")
        }
        return node
    }
}
