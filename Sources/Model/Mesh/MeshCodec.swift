// How declarations become text and back, for the layers that keep and serve them. There is one way,
// which is `Scenario`'s, as files are: those layers do not import it, and are handed it.

/// What a request to change the mesh says.
public struct MeshBody: Equatable, Sendable {
    /// Of no two the same key.
    public var declarations: [MeshDeclaration]
    /// What the mesh was like when whoever asks looked at it; nil: no matter.
    public var revision: UInt64?

    public init(_ declarations: [MeshDeclaration], revision: UInt64? = nil) {
        self.declarations = declarations
        self.revision = revision
    }
}

/// One thing that is wrong with the body of a request.
public struct MeshBodyProblem: Hashable, Sendable {
    /// The declaration that would have to change; nil: it has no name that could be one, or the
    /// body itself is meant.
    public var key: MeshKey?
    /// Keys, and numbers of items from 0: from the top of the declaration, or of the body where
    /// there is no key.
    public var path: [String]
    /// Without a full stop.
    public var message: String

    public init(key: MeshKey?, path: [String] = [], _ message: String) {
        self.key = key
        self.path = path
        self.message = message
    }

    public init(_ problem: MeshProblem) {
        self.init(key: problem.key, path: problem.path, problem.message)
    }
}

/// A body that says nothing that could be done.
public struct MeshBodyError: Error, Equatable, Sendable {
    /// At least one.
    public var problems: [MeshBodyProblem]
    /// It is not even text of the form; else it is, with wrong values.
    public var isUnreadable: Bool

    public init(_ problems: [MeshBodyProblem], isUnreadable: Bool = false) {
        self.problems = problems
        self.isUnreadable = isUnreadable
    }
}

/// Declarations as text.
public struct MeshCodec: Sendable {
    /// The same bytes for equal declarations.
    public let encode: @Sendable (MeshDeclaration) -> [UInt8]
    /// One declaration.
    public let declaration: @Sendable ([UInt8]) throws(MeshBodyError) -> MeshDeclaration
    /// `{"declarations": […], "revision": N}`, the latter if it is there.
    public let body: @Sendable ([UInt8]) throws(MeshBodyError) -> MeshBody
    /// A line of a proxy's watch: `{"version": N, "snapshot": B, "authorities": PEM,
    /// "declarations": […], "deleted": ["endpoints/shop/cart-1"]}`. Only the first two must be
    /// there, and of a snapshot the third.
    public let push: @Sendable ([UInt8]) throws(MeshBodyError) -> MeshPush

    public init(
        encode: @escaping @Sendable (MeshDeclaration) -> [UInt8],
        declaration: @escaping @Sendable ([UInt8]) throws(MeshBodyError) -> MeshDeclaration,
        body: @escaping @Sendable ([UInt8]) throws(MeshBodyError) -> MeshBody,
        push: @escaping @Sendable ([UInt8]) throws(MeshBodyError) -> MeshPush
    ) {
        self.encode = encode
        self.declaration = declaration
        self.body = body
        self.push = push
    }
}
