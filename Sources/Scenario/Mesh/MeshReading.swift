import Glibc
import Model

/// The state of reading declarations: what was read so far, and what was wrong with it.
struct MeshReading {
    /// Where a declaration stands: in which text, and as which of its nodes.
    private struct Origin {
        var text: Int
        var number: Int
        var line: Int
        /// Its own keys have errors: what it lacks has its default, of which nothing is to be said.
        var isWhole: Bool
    }

    private struct Item {
        /// Which text; nil: none.
        var text: Int?
        var finding: MeshFilesError.Finding
    }

    private var texts: [MeshFiles.Text] = []
    private var declarations: [MeshDeclaration] = []
    private var origins: [MeshKey: Origin] = [:]
    private var items: [Item] = []
    private var isUnreadable = false
    /// Some declaration could not even be named: names that nothing has may be its.
    private var isUnnamed = false

    mutating func report(unreadable error: ScenarioError) {
        guard case .unreadable(let file, let reason) = error else { return }
        isUnreadable = true
        isUnnamed = true
        texts.append(.init(file: file, ""))
        report(nil, reason)
    }

    /// Reports on the text that was read last.
    private mutating func report(_ place: Place?, _ message: String) {
        let text = texts.count - 1
        report(.init(text: text, finding: .init(texts[text].file, place, message)))
    }

    private mutating func report(_ item: Item) {
        guard items.count < Limits.diagnostics else { return }
        items.append(item)
    }

    /// Reads files, and of folders those of declarations.
    mutating func read(paths: [String]) {
        var left = Limits.declarationBytes
        for path in declarationFiles(of: paths, &self) {
            do throws(ScenarioError) {
                let text = try readText(path)
                left -= text.utf8.count
                guard left >= 0 else {
                    throw .unreadable(
                        file: path,
                        reason: "all files together have more than \(Limits.declarationBytes) bytes"
                    )
                }
                read(.init(file: path, text))
            } catch {
                report(unreadable: error)
                if left < 0 { break }
            }
        }
    }

    mutating func read(_ text: MeshFiles.Text) {
        texts.append(text)
        guard text.text.utf8.count <= Limits.fileBytes else {
            isUnnamed = true
            return report(.init(line: 1, column: 1), "more than \(Limits.fileBytes) bytes")
        }
        let (nodes, diagnostics) = nodes(of: text)
        if !diagnostics.isEmpty { isUnnamed = true }
        for diagnostic in diagnostics { report(diagnostic.place, diagnostic.message) }
        var decoding = Decoding()
        decoding.keepsSettings = false
        for (number, node) in nodes.enumerated() {
            let before = decoding.diagnostics.count
            guard let declaration = MeshForms.declaration(node, &decoding),
                declaration.isNamed
            else {
                isUnnamed = true
                continue
            }
            keep(
                declaration, node,
                .init(
                    text: texts.count - 1, number: number, line: node.place.line,
                    isWhole: decoding.diagnostics.count == before))
        }
        for diagnostic in decoding.diagnostics { report(diagnostic.place, diagnostic.message) }
    }

    private mutating func keep(_ declaration: MeshDeclaration, _ node: Node, _ origin: Origin) {
        let key = declaration.key
        if let first = origins[key] {
            let place = (node.value("name") ?? node).place
            let file = first.text == origin.text ? "" : " of \(texts[first.text].file)"
            return report(
                place, "\(key.title) is already declared, on line \(first.line)\(file)")
        }
        origins[key] = origin
        declarations.append(declaration)
    }

    /// The nodes of declarations: documents, or the items of those that are lists.
    private func nodes(of text: MeshFiles.Text) -> (nodes: [Node], diagnostics: [Diagnostic]) {
        let (documents, diagnostics) = parseYAMLDocuments(text.text)
        let nodes = documents.flatMap { document -> [Node] in
            if case .sequence(let items) = document.content { return items }
            return [document]
        }
        return (nodes, diagnostics)
    }

    /// What was read, and the mesh with it.
    func applied(
        to before: MeshState
    ) throws(MeshFilesError) -> (declarations: [MeshDeclaration], state: MeshState) {
        var reading = self
        var state = before
        for declaration in declarations { state.declare(declaration) }
        if !isUnnamed {
            let changed = Set(declarations.map(\.key))
            reading.report(state.check(changed: changed, atMost: Limits.diagnostics))
        }
        try reading.throwFindings()
        return (declarations, state)
    }

    /// The one declaration that was read.
    func single(file: String) throws(MeshFilesError) -> MeshDeclaration {
        var reading = self
        reading.report(declarations.flatMap(\.problems))
        if reading.items.isEmpty, declarations.count != 1 {
            let start = Place(line: 1, column: 1)
            reading.report(start, "one declaration is expected, not \(declarations.count)")
        }
        try reading.throwFindings()
        return declarations[0]
    }

    /// What was read, with nothing wrong in any of it by itself.
    func each() throws(MeshFilesError) -> [MeshDeclaration] {
        var reading = self
        reading.report(declarations.flatMap(\.problems))
        try reading.throwFindings()
        return declarations
    }

    /// What is wrong with what was read, as somebody else found.
    func findings(_ problems: [MeshProblem]) -> [MeshFilesError.Finding] {
        var reading = self
        reading.report(problems)
        return reading.sortedFindings
    }

    private mutating func report(_ problems: [MeshProblem]) {
        // What the mesh had before comes last.
        let byText = Dictionary(grouping: problems) { origins[$0.key]?.text }
            .sorted { ($0.key ?? .max) < ($1.key ?? .max) }
        for (text, problems) in byText {
            guard let text else {
                for problem in problems {
                    report(.init(text: nil, finding: .init(nil, nil, problem.description)))
                }
                continue
            }
            // Read once more: places are wanted where there are problems only, and those of all
            // declarations would take more memory than the mesh does.
            let nodes = nodes(of: texts[text]).nodes
            for problem in problems {
                guard let origin = origins[problem.key], origin.isWhole else { continue }
                let place = nodes[origin.number].place(of: problem.path)
                report(
                    .init(
                        text: text, finding: .init(texts[text].file, place, problem.message)))
            }
        }
    }

    private func throwFindings() throws(MeshFilesError) {
        guard !items.isEmpty else { return }
        throw MeshFilesError(findings: sortedFindings, isUnreadable: isUnreadable)
    }

    private var sortedFindings: [MeshFilesError.Finding] {
        func order(_ item: (offset: Int, element: Item)) -> (Int, Place, Int) {
            let place = item.element.finding.place ?? .init(line: 0, column: 0)
            return (item.element.text ?? texts.count, place, item.offset)
        }
        var seen: Set<MeshFilesError.Finding> = []
        return items.enumerated()
            .sorted { order($0) < order($1) }
            .map(\.element.finding)
            .filter { seen.insert($0).inserted }
    }
}

extension MeshFilesError.Finding {
    fileprivate init(_ file: String?, _ place: Place?, _ message: String) {
        self.init(file: file, place: place, message: message)
    }
}

extension MeshDeclaration {
    /// Whether its name can be one: else what refers to it is not to be blamed.
    fileprivate var isNamed: Bool {
        MeshName.isLabel(key.name.namespace) && MeshName.isLabel(key.name.name)
    }
}

extension Node {
    /// The place of what stands at a path of keys and numbers, as far as it is written.
    func place(of path: [String]) -> Place {
        guard let step = path.first else { return place }
        let next: Node?
        switch content {
        case .scalar: next = nil
        case .sequence(let items):
            next = Int(step).flatMap { items.indices.contains($0) ? items[$0] : nil }
        case .mapping(let entries):
            // Names of fields are compared without regard to case.
            next = entries.first { $0.key == step || $0.key.lowercased() == step }?.value
        }
        return next?.place(of: Array(path.dropFirst())) ?? place
    }
}

// MARK: - Folders

/// The files that paths mean: themselves, or of a folder those of declarations in the order of
/// their names.
func declarationFiles(of paths: [String], _ reading: inout MeshReading) -> [String] {
    var files: [String] = []
    for path in paths {
        guard let folder = unsafe opendir(path) else {
            // No folder, then a file; whether it can be read is seen when it is.
            files.append(path)
            continue
        }
        let names = unsafe declarationNames(in: folder)
        unsafe closedir(folder)
        if names.isEmpty {
            reading.report(
                unreadable: .unreadable(
                    file: path, reason: "no file whose name ends in .yaml, .yml or .json"))
        }
        files += names.map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }
    }
    guard files.count <= Limits.declarationFiles else {
        reading.report(
            unreadable: .unreadable(
                file: files[Limits.declarationFiles],
                reason: "more than \(Limits.declarationFiles) files"))
        return Array(files[..<Limits.declarationFiles])
    }
    return files
}

/// The names of files of declarations in an open folder, in the order of their bytes. Hidden ones,
/// such as an editor leaves, are none.
@unsafe private func declarationNames(in folder: OpaquePointer) -> [String] {
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafePointer(to: entry.pointee.d_name) { pointer in
            unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
                unsafe String(cString: $0)
            }
        }
        let isOne = [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) }
        if isOne, !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}
