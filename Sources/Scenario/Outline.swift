// The outline of a file: what may stand in it, as data. Decoding, the JSON Schema and the reference
// table in the documentation are made from the same `Form`s and `Shape`s, so they cannot disagree.

/// What may stand in one place of a file.
indirect enum Outline: Equatable, Sendable {
    /// Any text; where there is a pattern (a regular expression of ECMA-262), it matches in full.
    case text(pattern: String?)
    case integer(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    case boolean
    case quantity(Quantity)
    case choice([String])
    case list(Outline, count: ClosedRange<Int>)
    /// Keys that the user names, matching the pattern.
    case dictionary(Outline, keyPattern: String)
    case shape([KeyOutline])
    /// One of several.
    case either([Outline])
    /// Whatever is meant by a path that is written with it.
    case anything
    /// What a document of its own has the keys of; the words say which.
    case elsewhere(Outline, String)

    /// The keys that stand directly below, also where they are those of each item of a list.
    var keys: [KeyOutline] {
        switch self {
        case .shape(let keys): keys
        case .list(let item, _): item.keys
        // Those of a mapping, or a list of such, are there once.
        case .either(let forms):
            forms.flatMap(\.keys).reduce(into: []) { keys, key in
                if !keys.contains(key) { keys.append(key) }
            }
        default: []
        }
    }

    /// Whether `explain` shows the value whole rather than key by key.
    var isLeaf: Bool {
        switch self {
        case .shape: false
        case .list(let item, _): item.isLeaf
        default: true
        }
    }
}

/// One key of a mapping.
struct KeyOutline: Equatable, Sendable {
    var name: String
    /// One sentence without a full stop.
    var about: String
    var form: Outline
    /// What holds where the key is absent, in YAML; nil: nothing does.
    var standard: String?
    var isRequired: Bool
    var condition: KeyCondition
}

/// Which company a key keeps.
enum KeyCondition: Equatable, Sendable {
    case always
    /// Only beside this key.
    case with(String)
    /// Never beside this key.
    case without(String)
}
