// A JSON Schema (draft 2020-12) for editors, from the same tables that files are read by. Wherever
// a number or word is needed a text with `${variable}` may stand too, as it does in the file.

extension ScenarioFile {
    /// The JSON Schema of scenario files.
    public static var schema: String {
        document(
            title: "meshbench scenario", id: "urn:meshbench:schema:scenario:1",
            Shape.scenario.form.outline)
    }
}

/// A whole schema.
func document(title: String, id: String, _ outline: Outline) -> String {
    var members: [JSON.Member] = [
        .init("$schema", .string("https://json-schema.org/draft/2020-12/schema")),
        .init("$id", .string(id)),
        .init("title", .string(title)),
    ]
    if case .object(let root) = outline.schema { members += root }
    members.append(.init("$defs", definitions))
    return JSON.object(members).document() + "\n"
}

private let definitions = JSON.object(
    [.init("variable", .object([pattern("\\$\\{[a-z0-9_-]+\\}", isWhole: false)]))]
        + Quantity.allCases.map { quantity in
            let units = quantity.units.map(\.name).joined(separator: "|")
            return .init(
                quantity.rawValue,
                .object([
                    pattern("^[0-9]+(\\.[0-9]+)?(\(units))$|\\$\\{[a-z0-9_-]+\\}", isWhole: false),
                    .init("description", .string(quantity.example)),
                ]))
        })

private func pattern(_ text: String, isWhole: Bool = true) -> JSON.Member {
    .init("pattern", .string(isWhole ? "^\(text)$" : text))
}

private func reference(_ name: String) -> JSON {
    .object([.init("$ref", .string("#/$defs/\(name)"))])
}

private func type(_ name: String) -> JSON.Member { .init("type", .string(name)) }

extension Outline {
    fileprivate var schema: JSON {
        switch self {
        case .text(nil):
            .object([.init("type", .array(["string", "number", "boolean"].map(JSON.string)))])
        case .text(let text?):
            .object([
                .init("type", .array(["string", "integer"].map(JSON.string))),
                pattern("^\(text)$|\\$\\{[a-z0-9_-]+\\}", isWhole: false),
            ])
        case .integer(let range):
            orVariable([
                type("integer"), .init("minimum", .integer(range.lowerBound)),
                .init("maximum", .integer(range.upperBound)),
            ])
        case .number(let range):
            orVariable([
                type("number"), .init("minimum", .number(range.lowerBound)),
                .init("maximum", .number(range.upperBound)),
            ])
        case .boolean: orVariable([type("boolean")])
        case .quantity(let quantity):
            .object([type("string"), .init("$ref", .string("#/$defs/\(quantity.rawValue)"))])
        case .choice(let words):
            orVariable([.init("enum", .array(words.map(JSON.string)))])
        case .list(let item, let count):
            .object([
                type("array"), .init("items", item.schema),
                .init("minItems", .integer(count.lowerBound)),
                .init("maxItems", .integer(count.upperBound)),
            ])
        case .dictionary(let item, let keyPattern):
            .object([
                type("object"), .init("propertyNames", .object([pattern(keyPattern)])),
                .init("additionalProperties", item.schema),
            ])
        case .shape(let keys): shapeSchema(keys)
        case .either(let forms): .object([.init("anyOf", .array(forms.map(\.schema)))])
        case .anything: .object([])
        case .elsewhere(let outline, _): outline.schema
        }
    }

    private func orVariable(_ members: [JSON.Member]) -> JSON {
        let variable = JSON.object([type("string"), .init("$ref", .string("#/$defs/variable"))])
        return .object([.init("anyOf", .array([.object(members), variable]))])
    }

    private func shapeSchema(_ keys: [KeyOutline]) -> JSON {
        var members = [
            type("object"),
            .init("properties", .object(keys.map { .init($0.name, $0.schema) })),
            .init("additionalProperties", .boolean(false)),
        ]
        let required = keys.filter(\.isRequired).map { JSON.string($0.name) }
        if !required.isEmpty { members.append(.init("required", .array(required))) }
        let companions = keys.compactMap { key -> JSON.Member? in
            guard case .with(let other) = key.condition else { return nil }
            return .init(key.name, .array([.string(other)]))
        }
        if !companions.isEmpty { members.append(.init("dependentRequired", .object(companions))) }
        let rivals = keys.compactMap { key -> JSON? in
            guard case .without(let other) = key.condition else { return nil }
            let both = JSON.array([.string(key.name), .string(other)])
            return .object([.init("not", .object([.init("required", both)]))])
        }
        if !rivals.isEmpty { members.append(.init("allOf", .array(rivals))) }
        return .object(members)
    }
}

extension KeyOutline {
    fileprivate var schema: JSON {
        guard case .object(var members) = form.schema else { return form.schema }
        members.insert(.init("description", .string(about)), at: 0)
        if form.isLeaf, let standard, let node = try? parseYAML(standard, source: .standard) {
            members.append(.init("default", node.json))
        }
        return .object(members)
    }
}

extension Node {
    /// As a YAML reader of today (the core schema of YAML 1.2) would see it.
    fileprivate var json: JSON {
        switch content {
        case .scalar(let scalar):
            if let number = Int(scalar.text) { return .integer(number) }
            if scalar.isPlain, scalar.text.contains("."), let number = Double(scalar.text) {
                return .number(number)
            }
            if let flag = Bool(scalar.text) { return .boolean(flag) }
            return .string(scalar.text)
        case .sequence(let items): return .array(items.map(\.json))
        case .mapping(let entries):
            return .object(entries.map { .init($0.key, $0.value.json) })
        }
    }
}
