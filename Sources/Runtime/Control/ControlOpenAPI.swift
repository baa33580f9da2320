// The API's description of itself, made of the table of operations.

import ControlCore
import Model

/// openapi.json, version 3.1.
enum ControlOpenAPI {
    /// The document. Keys of paths and methods in the order of the table.
    static func document(version: String) -> String {
        var paths: [String] = []
        var seen: Set<String> = []
        for operation in ControlOperation.allCases where seen.insert(operation.path).inserted {
            let methods = ControlOperation.allCases.filter { $0.path == operation.path }
            paths.append(member(operation.path, object(methods.map(method))))
        }
        return object([
            member("openapi", text("3.1.0")),
            member(
                "info",
                object([
                    member("title", text("meshbench control")), member("version", text(version)),
                ])),
            member("paths", object(paths)),
            member(
                "components",
                object([
                    member(
                        "securitySchemes",
                        object([
                            member("token", "{\"type\":\"http\",\"scheme\":\"bearer\"}"),
                            member("certificate", "{\"type\":\"mutualTLS\"}"),
                        ])),
                    member("schemas", object(schemas)),
                ])),
        ])
    }

    private static func method(_ operation: ControlOperation) -> String {
        var members = [
            member("operationId", text(operation.rawValue)),
            member("summary", text(operation.summary)),
        ]
        let parameters = parameters(operation)
        if !parameters.isEmpty { members.append(member("parameters", array(parameters))) }
        if operation.needsToken {
            members.append(member("security", "[{\"token\":[]},{\"certificate\":[]}]"))
        }
        if let body = operation.bodySchema {
            members.append(
                member(
                    "requestBody",
                    object([
                        member("required", "true"),
                        member("content", content("application/json", reference(body))),
                    ])))
        }
        let responses = operation.statuses.map { member("\($0)", response(operation, $0)) }
        let other = object([
            member("description", text("No request of HTTP that the service takes.")),
            member("content", content("text/plain", "{\"type\":\"string\"}")),
        ])
        members.append(member("responses", object(responses + [member("default", other)])))
        return member(operation.method.lowercased(), object(members))
    }

    private static func parameters(_ operation: ControlOperation) -> [String] {
        func parameter(_ name: String, _ place: String, _ schema: String) -> String {
            object([
                member("name", text(name)), member("in", text(place)),
                member("required", place == "path" ? "true" : "false"), member("schema", schema),
            ])
        }
        let label = "{\"type\":\"string\",\"pattern\":\"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$\"}"
        func words(_ words: [String]) -> String {
            object([
                member("type", text("string")), member("enum", array(words.map(text))),
            ])
        }
        var found = operation.parameters.map { name in
            switch name {
            case "kind": parameter(name, "query", words(MeshKind.allCases.map(\.rawValue)))
            case "namespace": parameter(name, "query", label)
            case "after": parameter(name, "query", "{\"type\":\"integer\",\"minimum\":0}")
            default: parameter(name, "query", "{\"type\":\"boolean\",\"default\":false}")
            }
        }
        if operation.path.contains("{kind}") {
            found += [
                parameter("kind", "path", words(MeshKind.allCases.map(\.plural))),
                parameter("namespace", "path", label), parameter("name", "path", label),
            ]
        }
        if operation.takesConditions {
            found += ["if-match", "if-none-match"].map {
                parameter($0, "header", "{\"type\":\"string\"}")
            }
        }
        return found
    }

    private static func response(_ operation: ControlOperation, _ status: Int) -> String {
        let (type, schema) =
            status >= 400 ? ("application/json", reference("Error")) : operation.answer
        var members = [
            member("description", text(meaning(operation, status))),
            member("content", content(type, schema)),
        ]
        if status < 300, operation.hasTag {
            let tag = "{\"etag\":{\"schema\":{\"type\":\"string\"}}}"
            members.append(member("headers", tag))
        }
        return object(members)
    }

    private static func meaning(_ operation: ControlOperation, _ status: Int) -> String {
        switch status {
        case 200: "Done."
        case 201: "Declared, where nothing was before."
        case 400: "The request cannot be read."
        case 401: "Without the token."
        case 404: "There is no such declaration."
        case 409: "Something was changed after the revision that was given."
        case 410: "The history does not reach back so far, or not so far ahead: read anew."
        case 412: "The declaration is not as the condition says."
        case 413: "More than one transaction may hold."
        case 422: "The mesh would not hold together; nothing was changed."
        case 507: "The store is full; nothing was changed."
        case 503 where operation == .ready: "It takes no changes at present."
        default: "The store cannot write at present; nothing was changed."
        }
    }

    private static var schemas: [String] {
        let integer = "{\"type\":\"integer\"}"
        let string = "{\"type\":\"string\"}"
        func list(_ item: String) -> String { "{\"type\":\"array\",\"items\":\(item)}" }
        func record(_ fields: [(String, String)], optional: Set<String> = []) -> String {
            object([
                member("type", text("object")),
                member(
                    "required",
                    array(fields.map(\.0).filter { !optional.contains($0) }.map(text))),
                member("properties", object(fields.map { member($0.0, $0.1) })),
            ])
        }
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
        return [
            member("Declaration", declaration),
            member(
                "Declarations", record([("revision", integer), ("declarations", declarations)])),
            member(
                "Apply",
                record(
                    [("declarations", declarations), ("revision", integer)],
                    optional: ["revision"])),
            member(
                "Outcome",
                record([
                    ("revision", integer), ("created", list(string)), ("changed", list(string)),
                    ("unchanged", integer), ("deleted", list(string)),
                ])),
            member("Revision", record([("revision", integer)])),
            member("Event", record([("revision", integer), ("changes", list(change))])),
            member(
                "Status",
                record([
                    ("version", string), ("revision", integer), ("declarations", counts),
                    ("store", "{\"type\":\"object\"}"), ("started", string), ("watches", integer),
                ])),
            member("Error", record([("error", string), ("problems", list(problem))])),
        ]
    }

    // MARK: Text

    private static func text(_ text: String) -> String { ControlText.quoted(text) }
    private static func member(_ name: String, _ value: String) -> String {
        "\(text(name)):\(value)"
    }
    private static func object(_ members: [String]) -> String {
        "{\(members.joined(separator: ","))}"
    }
    private static func array(_ items: [String]) -> String { "[\(items.joined(separator: ","))]" }
    private static func reference(_ schema: String) -> String {
        object([member("$ref", text("#/components/schemas/\(schema)"))])
    }
    private static func content(_ type: String, _ schema: String) -> String {
        object([member(type, object([member("schema", schema)]))])
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
        case .status: "What the control plane holds, and how it is."
        case .openAPI: "This document."
        case .metrics: "Counters in Prometheus' text format."
        case .live: "Whether it runs."
        case .ready: "Whether it takes changes."
        }
    }

    fileprivate var bodySchema: String? {
        switch self {
        case .putDeclaration: "Declaration"
        case .apply: "Apply"
        default: nil
        }
    }

    fileprivate var takesConditions: Bool { self == .putDeclaration || self == .deleteDeclaration }
    fileprivate var hasTag: Bool { self == .putDeclaration || self == .getDeclaration }

    /// The type and schema of what it is answered with where nothing is wrong.
    fileprivate var answer: (String, String) {
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
        case .status: return json("Status")
        case .openAPI: return ("application/json", "{\"type\":\"object\"}")
        case .metrics, .live, .ready: return ("text/plain", "{\"type\":\"string\"}")
        }
    }
}
