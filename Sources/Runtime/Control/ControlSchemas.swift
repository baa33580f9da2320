// The schemas of openapi.json, and what it says of each operation.

import ControlCore
import Model

extension ControlOpenAPI {
    static var schemas: [String] { meshSchemas + identitySchemas + proxySchemas }

    private static let boolean = "{\"type\":\"boolean\"}"
    private static let integer = "{\"type\":\"integer\"}"
    private static let string = "{\"type\":\"string\"}"
    /// A number, or null.
    private static let maybe = "{\"type\":[\"integer\",\"null\"]}"

    private static func list(_ item: String) -> String {
        "{\"type\":\"array\",\"items\":\(item)}"
    }

    private static func record(
        _ fields: [(String, String)], optional: Set<String> = []
    ) -> String {
        object([
            member("type", text("object")),
            member(
                "required", array(fields.map(\.0).filter { !optional.contains($0) }.map(text))),
            member("properties", object(fields.map { member($0.0, $0.1) })),
        ])
    }

    private static var meshSchemas: [String] {
        let declaration = object([
            member("type", text("object")),
            member("required", array(["kind", "name"].map(text))),
            member("properties", object(["kind", "name", "namespace"].map { member($0, string) })),
            member(
                "description",
                text("One declaration; 'meshbench schema declarations' has all its keys.")),
        ])
        let declarations = list(reference("Declaration"))
        let problem = record([("key", string), ("path", list(string)), ("message", string)])
        let change = record(
            [("op", string), ("key", string), ("declaration", reference("Declaration"))],
            optional: ["declaration"])
        let counts = object([
            member("type", text("object")), member("additionalProperties", integer),
        ])
        let checked = record(
            [
                ("key", string), ("healthy", boolean), ("passed", integer), ("failed", integer),
                ("reason", string),
            ], optional: ["reason"])
        return [
            member("Declaration", declaration),
            member(
                "Declarations",
                record(
                    [
                        ("revision", integer), ("declarations", declarations),
                        ("damaged", list(record([("key", string), ("reason", string)]))),
                    ], optional: ["damaged"])),
            member(
                "Apply",
                record(
                    [("declarations", declarations), ("revision", integer)],
                    optional: ["revision"])),
            member(
                "Outcome",
                record(
                    [
                        ("revision", integer), ("created", list(string)),
                        ("changed", list(string)), ("unchanged", integer),
                        ("deleted", list(string)), ("warnings", list(string)),
                    ], optional: ["warnings"])),
            member("Revision", record([("revision", integer)])),
            member("Event", record([("revision", integer), ("changes", list(change))])),
            member("Health", record([("endpoints", list(checked))])),
            member(
                "Status",
                record([
                    ("version", string), ("revision", integer), ("declarations", counts),
                    ("store", "{\"type\":\"object\"}"), ("started", string), ("watches", integer),
                ])),
            member("Error", record([("error", string), ("problems", list(problem))])),
        ]
    }

    private static var proxySchemas: [String] {
        let refused = record([("version", integer), ("error", string)])
        let proxy = record(
            [
                ("proxy", string), ("service", string), ("identity", string), ("peer", string),
                ("since_ns", integer), ("sent", integer), ("acknowledged", integer),
                ("acknowledged_ns", integer), ("refused", refused), ("refusals", integer),
                ("address", string), ("health", string), ("dataplane", string),
            ], optional: ["dataplane", "acknowledged_ns", "refused", "address", "health"])
        let checks = record(
            [
                ("all", boolean), ("undecided", list(string)), ("unhealthy", list(string)),
                ("healthy", list(string)),
            ], optional: ["all", "undecided", "unhealthy", "healthy"])
        return [
            member("Proxy", proxy),
            member(
                "Proxies",
                record(
                    [
                        ("revision", integer), ("proxies", list(reference("Proxy"))),
                        ("next", string),
                    ], optional: ["next"])),
            member(
                "PushWish",
                record(
                    [
                        ("proxy", string), ("service", string), ("held", integer),
                        ("address", string), ("zone", string), ("weight", integer),
                        ("level", integer), ("labels", list(string)),
                    ], optional: ["held", "address", "zone", "weight", "level", "labels"])),
            member(
                "Push",
                record(
                    [
                        ("version", integer), ("snapshot", boolean), ("authorities", string),
                        ("declarations", list(reference("Declaration"))),
                        ("deleted", list(string)), ("checks", checks),
                    ], optional: ["authorities", "declarations", "deleted", "checks"])),
            member(
                "Acknowledgement",
                record(
                    [("proxy", string), ("version", integer), ("error", string)],
                    optional: ["error"])),
            member("ProxyName", record([("proxy", string)])),
        ]
    }

    private static var identitySchemas: [String] {
        let certificate = record([
            ("serial", string), ("service", string), ("proxy", string), ("identity", string),
            ("joined", integer), ("issued", integer), ("not_after", integer), ("revoked", maybe),
        ])
        let authority = record([
            ("phase", string), ("since", integer), ("next_step", maybe),
            ("life_seconds", integer), ("issuer_not_after", integer), ("issuing_root", string),
            ("roots", list(string)),
        ])
        return [
            member(
                "TokenWish",
                record(
                    [("service", string), ("life_seconds", integer), ("single_use", boolean)],
                    optional: ["life_seconds", "single_use"])),
            member(
                "Token",
                record([
                    ("token", string), ("id", string), ("service", string),
                    ("not_after", integer), ("single_use", boolean),
                ])),
            member("Certificate", certificate),
            member("Authority", authority),
            member(
                "Certificates",
                record(
                    [
                        ("authority", reference("Authority")),
                        ("certificates", list(reference("Certificate"))), ("next", string),
                    ], optional: ["next"])),
            member(
                "Join",
                record(
                    [("token", string), ("csr", string), ("proxy", string), ("service", string)],
                    optional: ["service"])),
            member("Renewal", record([("csr", string)])),
            member(
                "Issued",
                record([
                    ("certificate", string), ("authorities", string), ("trust_domain", string),
                    ("service", string), ("namespace", string), ("identity", string),
                    ("not_before", integer), ("not_after", integer),
                ])),
        ]
    }
}

extension ControlOperation {
    /// One line, with its full stop.
    var summary: String {
        switch self {
        case .listDeclarations: "Every declaration, or those of a kind or namespace."
        case .getDeclaration: "One declaration."
        case .putDeclaration: "Declares one thing."
        case .deleteDeclaration: "Removes one declaration."
        case .apply: "Declares all of a body, or none of it."
        case .watch: "Every change after a revision, one line of JSON for each; does not end."
        case .health: "What active checks have found of endpoints."
        case .status: "What the control plane holds, and how it is."
        case .openAPI: "This document."
        case .metrics: "Counters in Prometheus' text format."
        case .live: "Whether it runs."
        case .ready: "Whether it takes changes."
        case .createToken: "Makes a token, with which a process joins as a service's proxy."
        case .listCertificates: "The authority, and the certificates that proxies have."
        case .revokeCertificate: "Takes back a proxy's certificate, and gives it no other."
        case .rotateAuthority: "Begins to change the root."
        case .listProxies: "The proxies that are connected here, and how far each has followed."
        case .drainProxy: "Lets a proxy's endpoint get no new requests."
        case .authorities: "The certificates of the roots that the mesh trusts, PEM."
        case .join: "A certificate for whoever has a token."
        case .renewCertificate: "The next certificate for whoever has one."
        case .watchPushes: "What a proxy needs of the mesh, a line of JSON each; does not end."
        case .acknowledgePush: "Says what became of a push."
        case .heartbeat: "Says that a proxy is there."
        case .leave: "Ends a proxy's watch, and its endpoint."
        }
    }

    var bodySchema: String? {
        switch self {
        case .putDeclaration: "Declaration"
        case .apply: "Apply"
        case .createToken: "TokenWish"
        case .join: "Join"
        case .renewCertificate: "Renewal"
        case .watchPushes: "PushWish"
        case .acknowledgePush: "Acknowledgement"
        case .heartbeat, .leave: "ProxyName"
        default: nil
        }
    }

    /// Whether it is about a proxy's watch.
    var isOfWatch: Bool {
        switch self {
        case .watchPushes, .acknowledgePush, .heartbeat, .leave: true
        default: false
        }
    }

    var takesConditions: Bool { self == .putDeclaration || self == .deleteDeclaration }
    var hasTag: Bool { self == .putDeclaration || self == .getDeclaration }

    /// The type and schema of what it is answered with where nothing is wrong; nil: 204 says it
    /// all.
    var answer: (String, String)? {
        func json(_ schema: String) -> (String, String) {
            ("application/json", "{\"$ref\":\"#/components/schemas/\(schema)\"}")
        }
        switch self {
        case .listDeclarations: return json("Declarations")
        case .getDeclaration: return json("Declaration")
        case .putDeclaration, .deleteDeclaration: return json("Revision")
        case .apply: return json("Outcome")
        case .watch:
            return ("application/jsonl", "{\"$ref\":\"#/components/schemas/Event\"}")
        case .health: return json("Health")
        case .status: return json("Status")
        case .openAPI: return ("application/json", "{\"type\":\"object\"}")
        case .createToken: return json("Token")
        case .listCertificates: return json("Certificates")
        case .revokeCertificate: return json("Certificate")
        case .rotateAuthority: return json("Authority")
        case .listProxies: return json("Proxies")
        case .drainProxy: return json("Revision")
        case .authorities: return ("application/x-pem-file", "{\"type\":\"string\"}")
        case .join, .renewCertificate: return json("Issued")
        case .watchPushes:
            return ("application/jsonl", "{\"$ref\":\"#/components/schemas/Push\"}")
        case .acknowledgePush, .heartbeat, .leave: return nil
        case .metrics, .live, .ready: return ("text/plain", "{\"type\":\"string\"}")
        }
    }
}
