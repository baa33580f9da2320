// What stands around every drawing: a heading, a key, the caption that says how to read it, and the
// names that a screen reader speaks.

/// A drawing with its words.
struct Chart {
    /// Unique in the page: letters, digits and hyphens.
    let id: String
    let title: String
    /// What the drawing shows, for those who do not see it.
    let description: String
    var caption: Markup = .none
    var key: [KeyEntry] = []
    let width: Double
    let height: Double
    /// Below this width it scrolls within itself rather than becoming illegible.
    var leastWidth: Double = 420
    let drawing: Markup

    /// One sign of the key.
    struct KeyEntry {
        enum Sign {
            case line
            case box
        }

        let sign: Sign
        let style: String
        let text: String
    }

    var markup: Markup {
        let svg = element(
            "svg",
            [
                "class": "chart", "viewBox": "0 0 \(coordinate(width)) \(coordinate(height))",
                "role": "img", "aria-labelledby": "\(id)-t \(id)-d", "tabindex": "0",
                "style": "min-width:\(coordinate(min(leastWidth, width)))px;"
                    + "max-width:\(coordinate(width * 1.1))px",
            ],
            element("title", ["id": id + "-t"], Markup(title)),
            element("desc", ["id": id + "-d"], Markup(description)), drawing)
        return element(
            "figure", [:],
            element("h4", [:], Markup(title)),
            key.isEmpty ? .none : element("p", ["class": "key"], key.map(\.markup)),
            element("div", ["class": "scroll"], svg),
            caption.isEmpty ? .none : element("figcaption", [:], caption))
    }
}

extension Chart.KeyEntry {
    fileprivate var markup: Markup {
        let drawing =
            switch sign {
            case .line: line(style, 0, 6, 26, 6)
            case .box: box(style, 3, 1, 20, 10)
            }
        return element(
            "span", [:],
            element(
                "svg",
                ["class": "swatch", "viewBox": "0 0 26 12", "width": "26", "aria-hidden": "true"],
                drawing), Markup(text))
    }
}

extension Quantity {
    /// A value on an axis: without the zeros that tell nothing there.
    func tick(_ value: Double) -> Plot.Tick {
        if value == 0 { return .init(value: value, label: "0") }
        let label = text(value)
        let suffix = scale(for: value.magnitude).suffix
        var number = label.dropLast(suffix.count)
        guard number.contains(".") else { return .init(value: value, label: label) }
        while number.hasSuffix("0") { number.removeLast() }
        if number.hasSuffix(".") { number.removeLast() }
        return .init(value: value, label: number + suffix)
    }
}
