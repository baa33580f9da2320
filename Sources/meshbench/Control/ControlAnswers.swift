// The answers of a control plane's API as commands read them. Keys that are not known here are
// passed over: the control plane may be newer than the command.

import FoundationEssentials
import Model
import Runtime

/// Why a request was refused.
struct ControlRefusalText {
    /// One thing that is wrong with what was sent.
    struct Problem: Decodable, Equatable {
        /// `services/shop/cart`; empty, or something else: no declaration's.
        var key: String
        var path: [String]
        var message: String

        /// Nil: it is about no declaration.
        var asMeshProblem: MeshProblem? {
            MeshKey(path: key).map { MeshProblem(key: $0, path: path, message) }
        }

        /// On one line.
        var description: String {
            if let problem = asMeshProblem { return problem.description }
            return ([key, path.joined(separator: ".")].filter { !$0.isEmpty } + [message])
                .joined(separator: ": ")
        }
    }

    private struct Body: Decodable {
        var error: String
        var problems: [Problem]?
    }

    /// For people; with the status.
    let message: String
    let problems: [Problem]

    /// Characters that are shown of an answer that is no JSON.
    private static let shown = 200

    init(_ reply: ServiceReply) {
        if let body = try? JSONDecoder().decode(Body.self, from: Data(reply.body)) {
            message = "\(body.error) (status \(reply.status))"
            problems = body.problems ?? []
        } else {
            let text = String(decoding: reply.body.prefix(4 * Self.shown), as: UTF8.self)
            let line = text.prefix { !$0.isNewline }.prefix(Self.shown)
            message = line.isEmpty ? "status \(reply.status)" : "\(line) (status \(reply.status))"
            problems = []
        }
    }
}

/// The answer to an apply.
struct ControlApplied: Decodable {
    var revision: UInt64
    var created: [String]
    var changed: [String]
    var unchanged: Int
    var deleted: [String]
    /// What is likely to be a mistake; nil: nothing.
    var warnings: [String]?
}

/// The answer to a change of one declaration.
struct ControlRevision: Decodable {
    var revision: UInt64
}

/// What checks have found of endpoints.
struct ControlHealth: Decodable {
    struct Endpoint: Decodable {
        var key: String
        var healthy: Bool
    }
    var endpoints: [Endpoint]

    /// Keys of those that checks keep out of use.
    var unhealthy: Set<String> { Set(endpoints.filter { !$0.healthy }.map(\.key)) }
}

/// The answer to a question for declarations.
struct ControlListing: Decodable {
    struct Damage: Decodable {
        var key: String
        var reason: String
    }

    var revision: UInt64
    var declarations: [ControlListed]
    /// What the store holds and cannot be read; nil: nothing.
    var damaged: [Damage]?
}

/// A declaration, as far as tables show it.
struct ControlListed: Decodable {
    /// What a table shows of a kind.
    enum Detail {
        case service(speech: String, mtls: String)
        case endpoint(service: String, address: String, health: String, zone: String?, weight: Int)
        case route(hosts: [String], to: [Destination])
        case policy(to: [String])
        case authorization(action: String, to: [String])
        /// Of a kind that is not known here.
        case other
    }

    struct Destination: Decodable {
        var service: String
        var weight: Int
    }

    private enum CodingKeys: String, CodingKey {
        case kind, namespace, name, speech = "protocol", mtls, service, address, health, zone
        case weight, hosts, to, action
    }

    var kind: String
    var namespace: String
    var name: String
    var detail: Detail

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        kind = try fields.decode(String.self, forKey: .kind)
        namespace = try fields.decode(String.self, forKey: .namespace)
        name = try fields.decode(String.self, forKey: .name)
        detail =
            switch MeshKind(rawValue: kind) {
            case .service:
                .service(
                    speech: try fields.decode(String.self, forKey: .speech),
                    mtls: try fields.decode(String.self, forKey: .mtls))
            case .endpoint:
                .endpoint(
                    service: try fields.decode(String.self, forKey: .service),
                    address: try fields.decode(String.self, forKey: .address),
                    health: try fields.decode(String.self, forKey: .health),
                    zone: try fields.decodeIfPresent(String.self, forKey: .zone),
                    weight: try fields.decode(Int.self, forKey: .weight))
            case .route:
                .route(
                    hosts: try fields.decode([String].self, forKey: .hosts),
                    to: try fields.decode([Destination].self, forKey: .to))
            case .policy: .policy(to: try fields.decode([String].self, forKey: .to))
            case .authorization:
                .authorization(
                    action: try fields.decode(String.self, forKey: .action),
                    to: try fields.decode([String].self, forKey: .to))
            case nil: .other
            }
    }
}

/// A line of a watch.
struct ControlNews: Decodable {
    struct Change: Decodable {
        var op: String
        var key: String
    }

    var revision: UInt64
    var changes: [Change]
}

/// The answer to a question for the status.
struct ControlStatus: Decodable {
    struct Store: Decodable {
        var condition: String
        var keys: Int
        var bytes: Int
        var failure: String?
    }

    var version: String
    var revision: UInt64
    /// By the plural of the kind.
    var declarations: [String: Int]
    var store: Store
    var started: String
    var watches: Int
}
