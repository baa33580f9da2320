// Declarations from files, folders and the bodies of requests: YAML or JSON, which YAML contains,
// several documents in each. Everything is read before anything is believed: what one declaration
// has wrong, what all of them together have, and where.

public import Model

/// Declarations that were read, and the mesh that they make.
public struct MeshFiles: Sendable {
    /// A text of declarations, and what stands for it in errors.
    public struct Text: Sendable {
        public var file: String
        public var text: String

        public init(file: String, _ text: String) {
            self.file = file
            self.text = text
        }
    }

    /// In the order in which they were read.
    public let declarations: [MeshDeclaration]
    /// The mesh before, and what they change in it.
    public let state: MeshState

    /// Reads files, and of folders every file whose name ends in `.yaml`, `.yml` or `.json`, in
    /// the order of their names.
    /// - Parameter before: a mesh in which nothing is wrong, to which the declarations are added,
    ///   in place of those of the same kind and name.
    /// - Throws: `MeshFilesError` with everything that is wrong.
    public init(paths: [String], onto before: MeshState = .init()) throws(MeshFilesError) {
        var reading = MeshReading()
        reading.read(paths: paths)
        (declarations, state) = try reading.applied(to: before)
    }

    /// Reads texts.
    /// - Throws: `MeshFilesError` with everything that is wrong.
    public init(texts: [Text], onto before: MeshState = .init()) throws(MeshFilesError) {
        var reading = MeshReading()
        for text in texts { reading.read(text) }
        (declarations, state) = try reading.applied(to: before)
    }

    /// The JSON Schema (draft 2020-12) of one declaration.
    public static var schema: String {
        document(
            title: "meshbench declaration", id: "urn:meshbench:schema:declaration:1",
            .either(MeshForms.outlines.map(\.outline)))
    }
}

extension MeshDeclaration {
    /// Reads one declaration, whatever else is declared.
    /// - Parameter file: what stands for the text in errors.
    /// - Throws: `MeshFilesError` with everything that is wrong.
    public init(text: String, file: String) throws(MeshFilesError) {
        var reading = MeshReading()
        reading.read(.init(file: file, text))
        self = try reading.single(file: file)
    }
}

/// What is wrong with declarations: at least one thing, at most `Limits.diagnostics`.
public struct MeshFilesError: Error, Equatable {
    public struct Finding: Hashable, Sendable {
        /// The file as it was given; nil: a declaration that was there before.
        public var file: String?
        /// Nil: the file could not be read, or the declaration stands in none.
        public var place: Place?
        /// Without a full stop.
        public var message: String
    }

    /// In the order of the files, and in each of the places.
    public var findings: [Finding]
    /// Some file could not be read at all.
    public var isUnreadable: Bool

    /// One line for each thing that is wrong: `file:line:column: message`.
    public var description: String { findings.text }
}
