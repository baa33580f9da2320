// Tables of the report: real ones, with headers that a screen reader can follow.

/// Rows under a header. The first cell of each row is the row's own header.
struct Table {
    struct Column {
        var title: String
        var isNumber = false
    }

    struct Cell {
        var content: Markup
        /// Classes besides the column's own.
        var style = ""

        init(_ content: Markup, style: String = "") {
            self.content = content
            self.style = style
        }

        /// A number with the interval in smaller type below it.
        static func figure(_ value: String, _ interval: String?, style: String = "") -> Cell {
            Cell(
                Markup(value) + (interval.map { element("small", [:], Markup($0)) } ?? .none),
                style: style)
        }
    }

    let columns: [Column]
    var caption = ""
    private var rows: [Markup] = []

    init(_ columns: [Column], caption: String = "") {
        self.columns = columns
        self.caption = caption
    }

    /// - Precondition: as many cells as columns.
    mutating func append(_ cells: [Cell], isClose: Bool = false) {
        precondition(cells.count == columns.count, "a row of \(cells.count) cells")
        let row = zip(columns, cells).enumerated().map { index, item in
            let (column, cell) = item
            let style = [column.isNumber ? "number" : "", cell.style].filter { !$0.isEmpty }
                .joined(separator: " ")
            return index == 0
                ? element("th", ["scope": "row", "class": style], cell.content)
                : element("td", ["class": style], cell.content)
        }
        rows.append(element("tr", ["class": isClose ? "close" : ""], row))
    }

    var isEmpty: Bool { rows.isEmpty }

    var markup: Markup {
        let header = columns.map { column in
            element(
                "th", ["scope": "col", "class": column.isNumber ? "number" : ""],
                Markup(column.title))
        }
        return element(
            "div", ["class": "scroll"],
            element(
                "table", [:],
                caption.isEmpty ? .none : element("caption", [:], Markup(caption)),
                element("thead", [:], element("tr", [:], header)), element("tbody", [:], rows)))
    }
}
