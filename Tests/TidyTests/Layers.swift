// The import table of docs/ARCHITECTURE.md: what each module may import. The build holds targets
// against Package.swift; this holds files against the table, and Package.swift against it too.

/// One row of the table.
struct Layer {
    var level: Int
    /// Modules of this package.
    var mayImport: Set<String>
    /// Modules of the system beyond `Glibc` and `Synchronization`.
    var system: Set<String> = []

    static let table: [String: Layer] = [
        "CShims": Layer(level: 0, mayImport: []),
        "CYAML": Layer(level: 0, mayImport: []),
        "CZlib": Layer(level: 0, mayImport: []),
        "CNghttp2": Layer(level: 0, mayImport: []),
        "COpenSSL": Layer(level: 0, mayImport: []),
        "Base": Layer(level: 1, mayImport: []),
        "Model": Layer(level: 2, mayImport: ["Base"]),
        "Stats": Layer(level: 2, mayImport: ["Base"]),
        "Wire": Layer(level: 2, mayImport: ["Base", "CNghttp2"]),
        "Secure": Layer(level: 2, mayImport: ["Base", "COpenSSL"]),
        "Posix": Layer(level: 2, mayImport: ["Base", "CShims"]),
        "Fault": Layer(level: 3, mayImport: ["Base", "Model"]),
        "Scenario": Layer(
            level: 3, mayImport: ["Base", "Model", "CYAML"], system: ["FoundationEssentials"]),
        "Report": Layer(
            level: 3, mayImport: ["Base", "Model", "Stats", "CZlib"],
            system: ["FoundationEssentials"]),
        "ProxyCore": Layer(
            level: 4, mayImport: ["Base", "Model", "Fault", "Stats", "Wire", "Secure"]),
        "LoadCore": Layer(level: 4, mayImport: ["Base", "Model", "Stats", "Wire", "Secure"]),
        "ControlCore": Layer(level: 4, mayImport: ["Base", "Model", "Wire", "Secure"]),
        "Runtime": Layer(
            level: 5,
            mayImport: [
                "Base", "Model", "Fault", "Stats", "Wire", "Secure", "Posix", "ProxyCore",
                "LoadCore", "ControlCore",
            ],
            system: ["FoundationEssentials"]),
        "Rig": Layer(
            level: 6,
            mayImport: [
                "Base", "Model", "Stats", "Secure", "Posix", "LoadCore", "Runtime", "Scenario",
                "Report",
            ], system: ["FoundationEssentials"]),
        "meshbench": Layer(
            level: 7,
            mayImport: [
                "Base", "Model", "Stats", "Posix", "LoadCore", "Rig", "Scenario", "Report",
                "Runtime",
            ], system: ["FoundationEssentials"]),
    ]

    /// State machines that one seed can replay: no sockets, no clocks, and none knows another.
    static let cores: Set<String> = ["ProxyCore", "LoadCore", "ControlCore"]

    /// Any file may import these.
    static let ubiquitous: Set<String> = ["Glibc", "Synchronization"]
}

/// Every `import` of a file in Sources is one that the table allows its module.
func importViolations(_ file: SourceText, table: [String: Layer] = Layer.table) -> [Violation] {
    guard let module = file.module else { return [] }
    guard let layer = table[module] else {
        return [Violation(path: file.path, line: 1, what: "module \(module) is not in the table")]
    }
    let allowed = layer.mayImport.union(layer.system).union(Layer.ubiquitous)
    return imports(of: file).compactMap { line, name in
        allowed.contains(name)
            ? nil
            : Violation(path: file.path, line: line, what: "\(module) may not import \(name)")
    }
}

/// The modules that a file imports, with the line of each. `import struct A.B` imports A.
func imports(of file: SourceText) -> [(line: Int, module: String)] {
    let modifiers: Set<Substring> = [
        "public", "package", "internal", "fileprivate", "private", "@testable", "@preconcurrency",
        "@_exported", "@_implementationOnly", "unsafe", "@unsafe",
    ]
    let kinds: Set<Substring> = [
        "struct", "class", "enum", "protocol", "typealias", "func", "let", "var", "actor",
    ]
    var found: [(line: Int, module: String)] = []
    for (index, line) in file.code.split(separator: "\n", omittingEmptySubsequences: false)
        .enumerated()
    {
        for statement in line.split(separator: ";") {
            let words = statement.split(separator: " ").drop { modifiers.contains($0) }
            guard words.first == "import" else { continue }
            guard let path = words.dropFirst().drop(while: { kinds.contains($0) }).first else {
                continue
            }
            found.append((index + 1, String(path.prefix { $0 != "." })))
        }
    }
    return found
}

/// The targets of Package.swift outside of tests, with what each depends on.
///
/// Reads the forms used there: `module("X", [...])`, and `.target`, `.systemLibrary` and
/// `.executableTarget` with `name:` first.
func targets(ofPackage text: String) -> [String: Set<String>] {
    var found: [String: Set<String>] = [:]
    for opening in ["module(", ".target(name:", ".systemLibrary(", ".executableTarget("] {
        for call in calls(opening, in: text) where !call.contains("path: \"Tests/") {
            let quoted = call.split(separator: "\"", omittingEmptySubsequences: false)
                .enumerated().filter { $0.offset % 2 == 1 }.map { String($0.element) }
            guard let name = quoted.first else { continue }
            // Only what stands in the list of dependencies; other lists (providers) name no module.
            let list =
                opening == "module(" || opening == ".executableTarget("
                ? Set(quoted.dropFirst()) : []
            found[name] = list
        }
    }
    return found
}

/// The argument texts of every call that begins with `opening`, up to the matching parenthesis.
private func calls(_ opening: String, in text: String) -> [Substring] {
    var found: [Substring] = []
    var rest = text[...]
    while let range = rest.firstRange(of: opening) {
        let arguments = rest[range.upperBound...]
        var depth = 1
        let end = arguments.firstIndex { character in
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            return depth == 0
        }
        guard let end else { break }
        found.append(arguments[..<end])
        rest = arguments[end...]
    }
    return found
}
