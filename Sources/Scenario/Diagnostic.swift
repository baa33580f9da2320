/// Where a piece of a scenario was written.
public struct Place: Hashable, Comparable, Sendable {
    /// Which text: the file, one of the `--set` flags, or the table of defaults.
    public enum Source: Hashable, Comparable, Sendable {
        case file
        /// The number of the `--set` flag, from 0.
        case override(Int)
        case standard
    }

    public var source: Source
    /// From 1.
    public var line: Int
    /// From 1, in characters.
    public var column: Int

    public init(source: Source = .file, line: Int, column: Int) {
        self.source = source
        self.line = line
        self.column = column
    }

    public static func < (a: Place, b: Place) -> Bool {
        (a.source, a.line, a.column) < (b.source, b.line, b.column)
    }

    /// The place `count` characters further on the same line.
    func advanced(by count: Int) -> Place {
        .init(source: source, line: line, column: column + count)
    }
}

/// One thing that is wrong with a file, and where.
public struct Diagnostic: Hashable, Sendable {
    public var place: Place
    /// Without a full stop.
    public var message: String

    public init(_ place: Place, _ message: String) {
        self.place = place
        self.message = message
    }
}

/// A file that cannot be used.
public enum ScenarioError: Error, Equatable {
    /// The file could not be read: its path and why.
    case unreadable(file: String, reason: String)
    /// What is wrong with it, in the order of the places: at least one, at most
    /// `Limits.diagnostics`.
    case invalid(file: String, overrides: [String], [Diagnostic])

    /// One line for each thing that is wrong: `file:line:column: message`.
    public var description: String {
        switch self {
        case .unreadable(let file, let reason):
            "\(file): \(reason)"
        case .invalid(let file, let overrides, let diagnostics):
            diagnostics
                .map { Self.line($0, file: file, overrides: overrides) }
                .joined(separator: "\n")
        }
    }

    private static func line(_ diagnostic: Diagnostic, file: String, overrides: [String]) -> String
    {
        let place = diagnostic.place
        return switch place.source {
        case .file: "\(file):\(place.line):\(place.column): \(diagnostic.message)"
        case .override(let number): "--set \(overrides[number]): \(diagnostic.message)"
        case .standard: "default: \(diagnostic.message)"
        }
    }
}

/// Bounds on what is read, so that no file can take more than a moment or a few megabytes.
public enum Limits {
    /// Bytes of one file.
    public static let fileBytes = 1 << 20
    /// Collections within collections.
    public static let depth = 32
    /// Nodes of a tree, with every alias counted as often as it is used.
    public static let nodes = 20_000
    /// Bytes and nodes of a proxy's file: 10,000 routes and 65,536 endpoints of some ten values
    /// each.
    public static let proxyBytes = 32 << 20
    public static let proxyNodes = 1_000_000
    /// Nodes of a file of declarations: each has some ten.
    public static let declarationNodes = 200_000
    /// Files of declarations that are read at once, and their bytes.
    public static let declarationFiles = 1000
    public static let declarationBytes = 64 << 20
    /// Errors reported at once.
    public static let diagnostics = 100
    /// `--set` flags of one command.
    public static let overrides = 100
    /// Characters of one expectation.
    public static let expectationCharacters = 500
}
