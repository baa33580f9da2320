/// A value of JSON whose objects keep their order, for what Envoy is told.
indirect enum EnvoyValue: Equatable, Sendable {
    case text(String)
    case number(Int)
    /// Finite.
    case decimal(Double)
    case flag(Bool)
    case list([EnvoyValue])
    case object([Member])

    struct Member: Equatable, Sendable {
        var name: String
        var value: EnvoyValue

        fileprivate var json: String { "\(ControlText.quoted(name)):\(value.json)" }
    }

    /// On one line, with nothing between.
    var json: String {
        switch self {
        case .text(let text): ControlText.quoted(text)
        case .number(let number): "\(number)"
        case .decimal(let number): Int(exactly: number).map { "\($0)" } ?? "\(number)"
        case .flag(let flag): "\(flag)"
        case .list(let items): "[\(items.map(\.json).joined(separator: ","))]"
        case .object(let members): "{\(members.map(\.json).joined(separator: ","))}"
        }
    }

    /// The object with one more member.
    func with(_ name: String, _ value: EnvoyValue) -> EnvoyValue {
        guard case .object(let members) = self else {
            preconditionFailure("a member of what is no object")
        }
        return .object(members + [Member(name: name, value: value)])
    }

    /// The object with the members of another one, of which it has none.
    func merging(_ other: EnvoyValue) -> EnvoyValue {
        guard case .object(let members) = other else {
            preconditionFailure("the members of what is no object")
        }
        return members.reduce(self) { $0.with($1.name, $1.value) }
    }

    /// A message within another one, of which the type is said (proto3's `Any` as JSON).
    static func typed(_ type: String, _ members: EnvoyValue = [:]) -> EnvoyValue {
        guard case .object(let rest) = members else {
            preconditionFailure("a message that is no object")
        }
        return .object([Member(name: "@type", value: .text(EnvoyType.prefix + type))] + rest)
    }

    /// An extension of Envoy's with its settings.
    static func filter(_ name: String, _ settings: EnvoyValue) -> EnvoyValue {
        ["name": .text(name), "typed_config": settings]
    }
}

extension EnvoyValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    init(stringLiteral text: String) { self = .text(text) }
    init(integerLiteral number: Int) { self = .number(number) }
    init(booleanLiteral flag: Bool) { self = .flag(flag) }
    init(arrayLiteral items: EnvoyValue...) { self = .list(items) }
    init(dictionaryLiteral members: (String, EnvoyValue)...) {
        self = .object(members.map { Member(name: $0.0, value: $0.1) })
    }
}
