// The tables of keys in docs/SCENARIOS.md, docs/PROXY.md and docs/MESH.md, from the same outlines
// that files are read by. A test holds the documents against them.

import Model

extension ScenarioFile {
    /// Every key of a scenario file, in Markdown.
    public static var reference: String {
        Shape.scenario.form.outline.reference(title: "the top of the file")
    }
}

extension ProxyFile {
    /// Every key of a proxy file, in Markdown.
    public static var reference: String {
        Shape.proxy.form.outline.reference(title: "the top of the file")
    }
}

extension MeshFiles {
    /// Every key of every kind of declaration, in Markdown.
    public static var reference: String {
        MeshForms.outlines
            .map { kind, outline in
                outline.reference(title: "`kind: \(kind.rawValue)`", path: kind.rawValue)
            }
            .joined(separator: "\n")
    }
}

extension Outline {
    /// A table for each mapping, the outer before the inner.
    /// - Parameter path: what stands before the paths of the keys.
    fileprivate func reference(title: String, path: String = "") -> String {
        var tables: [String] = []
        write(title: title, path: path, into: &tables)
        return tables.joined(separator: "\n")
    }

    private func write(title: String, path: String, into tables: inout [String]) {
        var lines = [
            "### Keys of \(title)", "", "| key | form | default | meaning |", "|---|---|---|---|",
        ]
        lines += keys.map(\.row)
        tables.append(lines.joined(separator: "\n") + "\n")
        for key in keys where !key.form.keys.isEmpty {
            let inner = path.isEmpty ? key.name : "\(path).\(key.name)"
            key.form.write(title: "`\(inner)`", path: inner, into: &tables)
        }
    }

    fileprivate var words: String {
        switch self {
        case .text: "text"
        case .integer(let range):
            range.upperBound == .max ? "whole number" : "\(range.lowerBound) to \(range.upperBound)"
        case .number(let range):
            "\(decimal(range.lowerBound, digits: 4)) to \(decimal(range.upperBound))"
        case .boolean: "`true`, `false`"
        case .quantity(let quantity): quantity == .percent ? "share" : quantity.rawValue
        case .choice(let words): words.map { "`\($0)`" }.joined(separator: ", ")
        case .list(let item, _): item.keys.isEmpty ? "list of \(item.words)" : "list"
        case .dictionary(let item, _): "name: \(item.words)"
        case .shape: "mapping"
        case .either(let forms): forms.map(\.words).joined(separator: " or ")
        case .anything: "any value"
        case .elsewhere(_, let words): words
        }
    }
}

extension KeyOutline {
    fileprivate var row: String {
        var meaning = about
        switch condition {
        case .always: break
        case .with(let other): meaning += "; only with `\(other)`"
        case .without(let other): meaning += "; not with `\(other)`"
        }
        // The default of a mapping is that of its keys.
        let value =
            isRequired ? "required" : !form.isLeaf || standard == nil ? "" : "`\(standard ?? "")`"
        return "| `\(name)` | \(form.words) | \(value) | \(meaning) |"
    }
}
