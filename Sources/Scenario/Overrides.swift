// `--set KEY=VALUE` changes a scenario without touching its file. A key without a dot that names
// one of `vars` sets that variable. Any other key is a path from the root: keys of mappings, and
// for items of lists their number from 0 or their `name` (`load.main.rate=500/s`). Missing keys are
// added, so that a default can be replaced; list items are not. The value is YAML. In a list of
// arms a name stands for the arm that the file defines by it, so that some can be run alone.

import Base

/// One `--set` flag.
struct Override {
    var number: Int
    var path: [String]
    var value: Node

    var place: Place { .init(source: .override(number), line: 1, column: 1) }

    /// - Throws: the error in the flag.
    init(_ text: String, number: Int) throws(InvalidDocument) {
        self.number = number
        let place = Place(source: .override(number), line: 1, column: 1)
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw InvalidDocument(diagnostics: [.init(place, "KEY=VALUE is expected")])
        }
        path = text[..<equals].split(separator: ".", omittingEmptySubsequences: false)
            .map(String.init)
        guard path.allSatisfy({ !$0.isEmpty }), path.count <= Limits.depth else {
            throw InvalidDocument(diagnostics: [.init(place, "the key has an empty part")])
        }
        let written = String(text[text.index(after: equals)...])
        let isEmpty = written.allSatisfy(\.isWhitespace)
        value = try parseYAML(isEmpty ? "''" : written, source: .override(number))
    }

    /// Puts the value in its place.
    func apply(to root: inout Node, _ decoding: inout Decoding) {
        let known = Shape.scenario.fields.map(\.outline.name)
        let variables = root.value("vars")?.keys ?? []
        if path.count == 1, let name = path.first, !known.contains(name) {
            guard variables.contains(name) else {
                let hint = suggestion(for: name, in: variables + known)
                return decoding.report(place, "'\(name)' is no variable and no key\(hint)")
            }
            root.set(["vars", name], to: value, place: place, &decoding)
        } else if path == ["arms"] {
            root.set(path[...], to: root.arms(chosenBy: value), place: place, &decoding)
        } else {
            root.set(path[...], to: value, place: place, &decoding)
        }
    }
}

extension Node {
    /// A list of arms in which the names of arms that the scenario defines stand for these.
    fileprivate func arms(chosenBy choice: Node) -> Node {
        guard case .sequence(let items) = choice.content,
            case .sequence(let defined)? = value("arms")?.content
        else { return choice }
        var chosen = choice
        chosen.content = .sequence(
            items.map { item in
                guard let name = item.text else { return item }
                return defined.first { $0.value("name")?.text == name } ?? item
            })
        return chosen
    }

    fileprivate var keys: [String] {
        guard case .mapping(let entries) = content else { return [] }
        return entries.map(\.key)
    }

    mutating func set(
        _ path: ArraySlice<String>, to value: Node, place: Place, _ decoding: inout Decoding
    ) {
        guard let step = path.first else { return self = value }
        switch content {
        case .mapping(var entries):
            if let index = entries.firstIndex(where: { $0.key == step }) {
                entries[index].value.set(path.dropFirst(), to: value, place: place, &decoding)
            } else {
                var added = Node(place: place, content: .mapping([]))
                added.set(path.dropFirst(), to: value, place: place, &decoding)
                entries.append(.init(key: step, keyPlace: place, value: added))
            }
            content = .mapping(entries)
        case .sequence(var items):
            let byName = items.firstIndex { $0.value("name")?.text == step }
            guard let index = byName ?? Int(step), items.indices.contains(index) else {
                let names = items.compactMap { $0.value("name")?.text }
                let hint = suggestion(for: step, in: names)
                return decoding.report(
                    place, "'\(step)' is no item of a list of \(items.count)\(hint)")
            }
            items[index].set(path.dropFirst(), to: value, place: place, &decoding)
            content = .sequence(items)
        case .scalar:
            // A scalar on the way (`mesh: null`, `delay: 5ms`) gives way to a mapping.
            content = .mapping([])
            self.place = place
            set(path, to: value, place: place, &decoding)
        }
    }
}
