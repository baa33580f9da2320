// HTML that is also well-formed XML. Text becomes markup only through escaping: a scenario's name,
// a command or a process's name is the user's, and none of it may become a tag.

/// A piece of finished markup.
struct Markup: ExpressibleByStringInterpolation, Sendable {
    private(set) var text: String

    /// Text, escaped; so a literal with interpolations is text too.
    init(stringLiteral value: String) { text = escaped(value) }

    /// Text, escaped.
    init(_ value: String) { text = escaped(value) }

    /// Markup that this program wrote itself: the style sheet and the script.
    init(trusted: String) { text = trusted }

    /// Nothing.
    static let none = Markup(trusted: "")

    static func + (a: Markup, b: Markup) -> Markup { Markup(trusted: a.text + b.text) }
    static func += (a: inout Markup, b: Markup) { a.text += b.text }

    var isEmpty: Bool { text.isEmpty }
}

extension Sequence<Markup> {
    /// All pieces, one after another.
    func joined() -> Markup { Markup(trusted: map(\.text).joined()) }
}

/// An element with its attributes and children; attribute values are escaped.
func element(
    _ name: String, _ attributes: KeyValuePairs<String, String> = [:], _ children: Markup...
) -> Markup {
    element(name, attributes, children)
}

/// An element with its attributes and children; attribute values are escaped.
func element(
    _ name: String, _ attributes: KeyValuePairs<String, String>, _ children: [Markup]
) -> Markup {
    var text = "<" + name
    for (key, value) in attributes { text += " " + key + "=\"" + escaped(value) + "\"" }
    if children.isEmpty && selfClosing.contains(name) { return Markup(trusted: text + "/>") }
    precondition(!voidElements.contains(name), "<\(name)> holds nothing")
    text += ">"
    for child in children { text += child.text }
    return Markup(trusted: text + "</" + name + ">")
}

/// HTML's elements without end tag.
private let voidElements: Set<String> = ["br", "hr", "link", "meta"]

/// Elements written `<x/>`: the void ones and, within SVG, those that are mostly empty. Any other
/// has an end tag even when it is empty, as HTML ignores the slash.
private let selfClosing = voidElements.union(["circle", "line", "path", "rect"])

/// `text` with what XML and HTML take for markup replaced, and without characters that XML forbids.
func escaped(_ text: String) -> String {
    var result = ""
    for scalar in printable(text).unicodeScalars {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "'": result += "&#39;"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
