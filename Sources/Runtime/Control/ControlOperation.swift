// The API as a table: routing, authorization and openapi.json are made of it.

import Model

/// One thing that can be asked of the control plane.
enum ControlOperation: String, CaseIterable {
    case listDeclarations, getDeclaration, putDeclaration, deleteDeclaration
    case apply, watch, health, status, openAPI, metrics, live, ready
    case createToken, listCertificates, revokeCertificate, rotateAuthority
    case listProxies, drainProxy
    case authorities, join, renewCertificate
    case watchPushes, acknowledgePush, heartbeat, leave

    /// Who is asked.
    enum Listener: Equatable {
        /// That of people and programs.
        case api
        /// That of proxies.
        case proxies
    }

    /// What is needed to ask.
    enum Proof: Equatable {
        case none
        /// The token of those who may change the mesh, or a certificate where those are required.
        case token
        /// A certificate of the mesh.
        case certificate
    }

    var method: String {
        switch self {
        case .putDeclaration: "PUT"
        case .deleteDeclaration: "DELETE"
        case .apply, .createToken, .revokeCertificate, .rotateAuthority, .join, .renewCertificate,
            .drainProxy, .watchPushes, .acknowledgePush, .heartbeat, .leave:
            "POST"
        default: "GET"
        }
    }

    var path: String {
        switch self {
        case .listDeclarations: "/v1/declarations"
        case .getDeclaration, .putDeclaration, .deleteDeclaration: "/v1/{kind}/{namespace}/{name}"
        case .apply: "/v1/apply"
        case .watch: "/v1/watch"
        case .health: "/v1/health"
        case .status: "/v1/status"
        case .openAPI: "/v1/openapi.json"
        case .metrics: "/metrics"
        case .live: "/live"
        case .ready: "/ready"
        case .createToken: "/v1/tokens"
        case .listCertificates: "/v1/certificates"
        case .revokeCertificate: "/v1/certificates/{serial}/revoke"
        case .rotateAuthority: "/v1/authority/rotate"
        case .listProxies: "/v1/proxies"
        case .drainProxy: "/v1/proxies/{proxy}/drain"
        case .authorities: "/v1/authorities"
        case .join: "/v1/join"
        case .renewCertificate: "/v1/proxy/certificate"
        case .watchPushes: "/v1/proxy/watch"
        case .acknowledgePush: "/v1/proxy/ack"
        case .heartbeat: "/v1/proxy/heartbeat"
        case .leave: "/v1/proxy/leave"
        }
    }

    var listener: Listener {
        switch self {
        case .authorities, .join, .renewCertificate, .watchPushes, .acknowledgePush, .heartbeat,
            .leave:
            .proxies
        default: .api
        }
    }

    var proof: Proof {
        switch self {
        case .openAPI, .metrics, .live, .ready, .authorities, .join: .none
        case .renewCertificate, .watchPushes, .acknowledgePush, .heartbeat, .leave: .certificate
        default: .token
        }
    }

    /// Whether it is asked by those only who may change the mesh.
    var needsToken: Bool { proof == .token }

    /// Names of parameters of the query. Others are an error.
    var parameters: [String] {
        switch self {
        case .listDeclarations: ["kind", "namespace"]
        case .apply: ["prune", "dry_run"]
        case .watch: ["after"]
        case .listProxies, .listCertificates: ["limit", "after"]
        default: []
        }
    }

    /// Whether it may fail of a commit: of what is asked, or of the authority, which is made where
    /// it is needed first.
    var commits: Bool {
        switch self {
        case .putDeclaration, .deleteDeclaration, .apply, .createToken, .listCertificates,
            .revokeCertificate, .rotateAuthority, .join, .watchPushes:
            true
        default: false
        }
    }

    /// Whatever it is answered with, but for what is no request of HTTP that the service takes.
    var statuses: [Int] {
        let own =
            switch self {
            case .listDeclarations, .listCertificates, .listProxies: [200]
            case .getDeclaration: [200, 404, 500]
            case .putDeclaration: [200, 201, 412, 422]
            case .deleteDeclaration: [200, 404, 412, 422]
            case .apply: [200, 409, 422]
            case .watch: [200, 410]
            case .ready: [200, 503]
            case .health, .status, .openAPI, .metrics, .live: [200]
            case .createToken: [201, 404]
            case .revokeCertificate: [200, 404]
            case .rotateAuthority: [200, 409]
            case .drainProxy: [200, 404, 409, 503]
            case .join: [200, 401, 403]
            case .authorities: [200, 503]
            case .renewCertificate: [200, 403, 503]
            case .watchPushes: [200, 403, 409, 422]
            case .acknowledgePush, .heartbeat, .leave: [204, 403, 404, 503]
            }
        let shared =
            [400] + (proof == .none ? [] : [401]) + (commits ? ControlFailure.ofCommits : [])
        return (shared + own).sorted()
    }

    /// The operations at a path of a listener; empty: there is nothing.
    static func at(_ segments: [String], on listener: Listener = .api) -> [ControlOperation] {
        let fixed = allCases.filter { operation in
            guard operation.listener == listener else { return false }
            let pattern = operation.path.split(separator: "/")
            return !operation.isOfDeclaration && pattern.count == segments.count
                && zip(pattern, segments).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
        }
        if !fixed.isEmpty || listener == .proxies { return fixed }
        return key(segments) == nil ? [] : [.getDeclaration, .putDeclaration, .deleteDeclaration]
    }

    private var isOfDeclaration: Bool {
        switch self {
        case .getDeclaration, .putDeclaration, .deleteDeclaration: true
        default: false
        }
    }

    /// The declaration that a path names.
    static func key(_ segments: [String]) -> MeshKey? {
        guard segments.count == 4, segments[0] == "v1" else { return nil }
        return MeshKey(path: segments.dropFirst().joined(separator: "/"))
    }
}
