// Declarations for a mesh that is elsewhere: what each has wrong by itself is found here, and what
// whoever has the mesh finds wrong is brought back to the files.

public import Model

/// Declarations that were read from files, each right by itself.
public struct MeshExcerpt: Sendable {
    /// In the order in which they were read.
    public let declarations: [MeshDeclaration]
    private let reading: MeshReading

    /// Reads files and folders, as `MeshFiles` does.
    /// - Throws: `MeshFilesError` with everything that is wrong.
    public init(paths: [String]) throws(MeshFilesError) {
        var reading = MeshReading()
        reading.read(paths: paths)
        declarations = try reading.each()
        self.reading = reading
    }

    /// What is wrong with the declarations, with the places where files have them; last, and
    /// without places, what is wrong with others.
    public func findings(of problems: [MeshProblem]) -> [MeshFilesError.Finding] {
        reading.findings(problems)
    }
}

extension [MeshFilesError.Finding] {
    /// One line for each: `file:line:column: message`.
    public var text: String {
        map { finding in
            let file = finding.file.map { "\($0):" } ?? ""
            let place = finding.place.map { "\($0.line):\($0.column):" } ?? ""
            let head = file + place
            return head.isEmpty ? finding.message : "\(head) \(finding.message)"
        }
        .joined(separator: "\n")
    }
}
