// The frame of a chart in SVG: axes, grid, lines and points, placed by two scales. Colours, dashes
// and type come from the style sheet by class, so that light, dark and paper each have their own.

/// A rectangle of a drawing with an axis on two sides.
struct Plot {
    let x: Scale
    let y: Scale
    let left: Double
    let top: Double
    let width: Double
    let height: Double

    var right: Double { left + width }
    var bottom: Double { top + height }

    func placeX(_ value: Double) -> Double { left + x.position(value) * width }
    func placeY(_ value: Double) -> Double { bottom - y.position(value) * height }

    /// A labelled value on an axis.
    struct Tick {
        var value: Double
        var label: String
    }

    /// Grid lines and labels of the vertical axis, and its title above it.
    func verticalAxis(_ ticks: [Tick], title: String) -> Markup {
        let lines = ticks.map { tick in
            let place = placeY(tick.value)
            return line("grid", left, place, right, place)
                + label(tick.label, left - 8, place + 4, anchor: "end", class: "tick")
        }
        return lines.joined()
            + (title.isEmpty
                ? .none : label(title, 4, top - 12, anchor: "start", class: "axis-title"))
    }

    /// Labels of the horizontal axis, the line itself, and its title below.
    func horizontalAxis(_ ticks: [Tick], title: String, grid: Bool = false) -> Markup {
        let marks = ticks.map { tick in
            let place = placeX(tick.value)
            return line(grid ? "grid" : "axis", place, grid ? top : bottom, place, bottom + 4)
                + label(tick.label, place, bottom + 18, anchor: "middle", class: "tick")
        }
        return marks.joined() + line("axis", left, bottom, right, bottom)
            + (title.isEmpty
                ? .none
                : label(
                    title, left + width / 2, bottom + 36, anchor: "middle", class: "axis-title"))
    }

    /// A line through the points; a missing value breaks it.
    func curve(_ points: [(x: Double, y: Double?)], class name: String) -> Markup {
        var path = ""
        var isDrawing = false
        for point in points {
            guard let value = point.y else {
                isDrawing = false
                continue
            }
            path +=
                (isDrawing ? "L" : "M") + coordinate(placeX(point.x)) + " "
                + coordinate(placeY(value))
            isDrawing = true
        }
        return path.isEmpty ? .none : element("path", ["class": name, "d": path])
    }

    /// A label at the right end of each line, moved apart where lines end together.
    func endLabels(_ labels: [(text: String, y: Double, class: String)]) -> Markup {
        let places = spread(labels.map { placeY($0.y) }, gap: 15, within: (top + 4)...(bottom - 2))
        return zip(labels, places).map { item, place in
            label(item.text, right + 8, place + 4, anchor: "start", class: "end " + item.class)
        }.joined()
    }
}

/// A mark whose meaning appears when it is pointed at or reached by keyboard.
func mark(_ shape: MarkShape, _ x: Double, _ y: Double, class name: String, says tip: String)
    -> Markup
{
    let title = element("title", [:], Markup(tip))
    switch shape {
    case .circle(let radius):
        return element(
            "circle",
            [
                "class": "pt " + name, "cx": coordinate(x), "cy": coordinate(y),
                "r": coordinate(radius),
            ], title)
    case .square(let radius):
        return element(
            "path",
            [
                "class": "pt " + name,
                "d": "M\(coordinate(x - radius)) \(coordinate(y - radius))"
                    + "h\(coordinate(2 * radius))v\(coordinate(2 * radius))"
                    + "h\(coordinate(-2 * radius))z",
            ], title)
    case .diamond(let radius):
        return polygon([(0, -1), (1, 0), (0, 1), (-1, 0)], radius, x, y, name, title)
    case .triangle(let radius):
        return polygon([(0, -1), (1, 0.8), (-1, 0.8)], radius, x, y, name, title)
    }
}

/// Shapes differ between arms, so that colour is never the only sign.
enum MarkShape: Sendable {
    case circle(Double)
    case square(Double)
    case diamond(Double)
    case triangle(Double)
}

private func polygon(
    _ corners: [(x: Double, y: Double)], _ radius: Double, _ x: Double, _ y: Double,
    _ name: String, _ title: Markup
) -> Markup {
    let places = corners.map { coordinate(x + $0.x * radius) + " " + coordinate(y + $0.y * radius) }
    return element(
        "path", ["class": "pt " + name, "d": "M" + places.joined(separator: "L") + "z"], title)
}

func line(_ name: String, _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double) -> Markup {
    element(
        "line",
        [
            "class": name, "x1": coordinate(x1), "y1": coordinate(y1), "x2": coordinate(x2),
            "y2": coordinate(y2),
        ])
}

func box(_ name: String, _ x: Double, _ y: Double, _ width: Double, _ height: Double) -> Markup {
    element(
        "rect",
        [
            "class": name, "x": coordinate(x), "y": coordinate(y),
            "width": coordinate(max(width, 0)), "height": coordinate(max(height, 0)),
        ])
}

func label(_ text: String, _ x: Double, _ y: Double, anchor: String, class name: String) -> Markup {
    element(
        "text",
        ["class": name, "x": coordinate(x), "y": coordinate(y), "text-anchor": anchor],
        Markup(text))
}

/// A tenth of a pixel is as fine as any screen shows; more only makes the file larger.
func coordinate(_ value: Double) -> String {
    precondition(value.isFinite, "a coordinate that is not finite: \(value)")
    let tenths = Int((value * 10).rounded())
    if tenths % 10 == 0 { return String(tenths / 10) }
    let rest = (tenths % 10).magnitude
    return (tenths < 0 ? "-" : "") + String(tenths.magnitude / 10) + "." + String(rest)
}
