// The API as a table: routing, authorization and openapi.json are made of it.

import Model

/// One thing that can be asked of the control plane.
enum ControlOperation: String, CaseIterable {
    case listDeclarations, getDeclaration, putDeclaration, deleteDeclaration
    case apply, watch, status, openAPI, metrics, live, ready

    var method: String {
        switch self {
        case .putDeclaration: "PUT"
        case .deleteDeclaration: "DELETE"
        case .apply: "POST"
        default: "GET"
        }
    }

    var path: String {
        switch self {
        case .listDeclarations: "/v1/declarations"
        case .getDeclaration, .putDeclaration, .deleteDeclaration: "/v1/{kind}/{namespace}/{name}"
        case .apply: "/v1/apply"
        case .watch: "/v1/watch"
        case .status: "/v1/status"
        case .openAPI: "/v1/openapi.json"
        case .metrics: "/metrics"
        case .live: "/live"
        case .ready: "/ready"
        }
    }

    /// Whether it is asked by those only who may change the mesh.
    var needsToken: Bool {
        switch self {
        case .openAPI, .metrics, .live, .ready: false
        default: true
        }
    }

    /// Names of parameters of the query. Others are an error.
    var parameters: [String] {
        switch self {
        case .listDeclarations: ["kind", "namespace"]
        case .apply: ["prune", "dry_run"]
        case .watch: ["after"]
        default: []
        }
    }

    /// Whatever it is answered with, but for what is no request of HTTP that the service takes.
    var statuses: [Int] {
        let own =
            switch self {
            case .listDeclarations: [200]
            case .getDeclaration: [200, 404]
            case .putDeclaration: [200, 201, 412, 413, 422, 503, 507]
            case .deleteDeclaration: [200, 404, 412, 422, 503]
            case .apply: [200, 409, 413, 422, 503, 507]
            case .watch: [200, 410]
            case .ready: [200, 503]
            case .status, .openAPI, .metrics, .live: [200]
            }
        return ([400] + (needsToken ? [401] : []) + own).sorted()
    }

    /// The operations at a path; empty: there is nothing.
    static func at(_ segments: [String]) -> [ControlOperation] {
        let fixed = allCases.filter { $0.path.split(separator: "/").map(String.init) == segments }
        if !fixed.isEmpty { return fixed }
        return key(segments) == nil ? [] : [.getDeclaration, .putDeclaration, .deleteDeclaration]
    }

    /// The declaration that a path names.
    static func key(_ segments: [String]) -> MeshKey? {
        guard segments.count == 4, segments[0] == "v1" else { return nil }
        return MeshKey(path: segments.dropFirst().joined(separator: "/"))
    }
}
