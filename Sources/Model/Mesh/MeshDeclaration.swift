/// A declaration of any kind. Its text in JSON is made and read by `Scenario`, as files are.
public enum MeshDeclaration: Codable, Equatable, Sendable {
    case service(MeshService)
    case endpoint(MeshEndpoint)
    // Far larger than endpoints, which are most of a mesh.
    indirect case route(MeshRoute)
    indirect case policy(MeshPolicy)
    case authorization(MeshAuthorization)

    /// As a value of its own kind.
    public var value: any MeshDeclared {
        switch self {
        case .service(let value): value
        case .endpoint(let value): value
        case .route(let value): value
        case .policy(let value): value
        case .authorization(let value): value
        }
    }

    public var key: MeshKey { value.key }

    /// What is wrong with the declaration, whatever else is declared.
    public var problems: [MeshProblem] {
        var problems = MeshProblems(key, atMost: 100)
        check(&problems)
        return problems.all
    }

    func check(_ problems: inout MeshProblems) {
        problems.names(value.meshName)
        value.check(&problems)
    }
}
