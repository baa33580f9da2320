extension ScenarioFile {
    /// Every setting in force with its value and where it comes from, one line each.
    public var explanation: String {
        let rows = settings.map { ($0.path, abbreviated($0.value, to: 60), $0.from(overrides)) }
        let width = rows.map(\.0.count).max() ?? 0
        // Long values push their own origin to the right, not everybody's.
        let middle = rows.map(\.1.count).filter { $0 <= 62 }.max() ?? 0
        return rows.map { path, value, origin in
            "\(padded(path, width))  \(padded(value, middle))  \(origin)\n"
        }
        .joined()
    }
}

extension Setting {
    fileprivate func from(_ overrides: [String]) -> String {
        switch origin {
        case .file: "line \(line)"
        case .override(let number): "--set \(overrides[number])"
        case .standard: "default"
        }
    }
}

/// The text with blanks behind it, at least `width` characters wide.
func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(width - text.count, 0))
}
