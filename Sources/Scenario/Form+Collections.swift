/// A list. An item that is a mapping with a `name` goes by that name in paths, others by number.
func list<Item>(
    of item: Form<Item>, _ count: ClosedRange<Int>
) -> Form<[Item]> {
    .init(outline: .list(item.outline, count: count)) { node, decoding in
        guard case .sequence(let nodes) = node.content else {
            decoding.report(node.place, "a list is needed, not \(node.kind)")
            return nil
        }
        guard count.contains(nodes.count) else {
            let limit =
                nodes.count < count.lowerBound
                ? "at least \(count.lowerBound)" : "at most \(count.upperBound)"
            decoding.report(
                node.place, "\(limit) \(items(limit)) needed here, not \(nodes.count)")
            return nil
        }
        var values: [Item] = []
        for (index, node) in nodes.enumerated() {
            decoding.path.append(node.value("name")?.text ?? "\(index)")
            if let value = item.decode(node, &decoding) { values.append(value) }
            decoding.path.removeLast()
        }
        return values
    }
}

/// A mapping whose keys the user names. `key` explains what is wrong with a key, or says nil.
func dictionary<Item>(
    of item: Form<Item>, atMost limit: Int, keyPattern: String,
    key: @escaping @Sendable (String) -> String?
) -> Form<[(key: Placed<String>, value: Item)]> {
    .init(outline: .dictionary(item.outline, keyPattern: keyPattern)) { node, decoding in
        guard case .mapping(let entries) = node.content else {
            decoding.report(node.place, "a mapping is needed, not \(node.kind)")
            return nil
        }
        guard entries.count <= limit else {
            decoding.report(
                node.place, "at most \(limit) keys are allowed here, not \(entries.count)")
            return nil
        }
        var values: [(key: Placed<String>, value: Item)] = []
        for entry in entries {
            if let message = key(entry.key) { decoding.report(entry.keyPlace, message) }
            decoding.path.append(entry.key)
            if let value = item.decode(entry.value, &decoding) {
                values.append((Placed(entry.key, entry.keyPlace), value))
            }
            decoding.path.removeLast()
        }
        return values
    }
}

extension Form {
    /// One form where a scalar is written, another where it is a mapping.
    static func either(scalar: Form, mapping: Form) -> Form {
        .init(outline: .either([scalar.outline, mapping.outline])) { node, decoding in
            if case .mapping = node.content { return mapping.decode(node, &decoding) }
            return scalar.decode(node, &decoding)
        }
    }
}

private func items(_ limit: String) -> String {
    limit.hasSuffix(" 1") ? "item is" : "items are"
}
