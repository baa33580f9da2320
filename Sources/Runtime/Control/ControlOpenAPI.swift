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
                            member("mesh", "{\"type\":\"mutualTLS\"}"),
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
        switch operation.proof {
        case .none: break
        case .token: members.append(member("security", "[{\"token\":[]},{\"certificate\":[]}]"))
        case .certificate: members.append(member("security", "[{\"mesh\":[]}]"))
        }
        if operation.listener == .proxies {
            let server = object([
                member("url", text("https://127.0.0.1:7071")),
                member("description", text("The proxies' listener.")),
            ])
            members.append(member("servers", array([server])))
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
            member(
                "description",
                text("No request of HTTP that the service takes; 500: a mistake of its own.")),
            member(
                "content",
                object([
                    media("text/plain", "{\"type\":\"string\"}"),
                    media("application/json", reference("Error")),
                ])),
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
            case "after" where operation == .watch:
                parameter(name, "query", "{\"type\":\"integer\",\"minimum\":0}")
            case "after": parameter(name, "query", "{\"type\":\"string\"}")
            case "limit":
                parameter(
                    name, "query",
                    "{\"type\":\"integer\",\"minimum\":1,\"maximum\":\(ControlPage.most),"
                        + "\"default\":\(ControlPage.most)}")
            default: parameter(name, "query", "{\"type\":\"boolean\",\"default\":false}")
            }
        }
        if operation.path.contains("{serial}") {
            found.append(
                parameter(
                    "serial", "path", "{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{32}$\"}"))
        }
        if operation.path.contains("{proxy}") { found.append(parameter("proxy", "path", label)) }
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
        var members = [member("description", text(meaning(operation, status)))]
        let body = status >= 400 ? ("application/json", reference("Error")) : operation.answer
        if let (type, schema) = body { members.append(member("content", content(type, schema))) }
        if status < 300, operation.hasTag {
            let tag = "{\"etag\":{\"schema\":{\"type\":\"string\"}}}"
            members.append(member("headers", tag))
        }
        return object(members)
    }

    private static func meaning(_ operation: ControlOperation, _ status: Int) -> String {
        switch status {
        case 200, 204: "Done."
        case 201 where operation == .createToken: "Made."
        case 201: "Declared, where nothing was before."
        case 400: "The request cannot be read."
        case 401 where operation == .join:
            "The token is malformed, has expired, or is of another mesh."
        case 401 where operation.proof == .certificate: "Without a certificate of the mesh."
        case 401: "Without the token."
        case 403 where operation == .join:
            "The token has been used, or is for another service, or for one that there is not."
        case 403 where operation.isOfWatch:
            "The certificate has expired, was revoked, or is of somebody else."
        case 404 where operation.isOfWatch: "No such proxy watches here: watch again."
        case 409 where operation == .watchPushes: "A proxy of another service has its name."
        case 422 where operation == .watchPushes: "Its endpoint cannot be."
        case 403: "The certificate has expired, was revoked, or is of no service any more."
        case 404 where operation == .createToken: "There is no such service."
        case 404 where operation == .revokeCertificate: "There is no such certificate."
        case 404 where operation == .drainProxy: "No such proxy is connected here."
        case 409 where operation == .drainProxy: "The proxy has no endpoint."
        case 409 where operation == .rotateAuthority:
            "The last rotation is under way, or the issuer was handed in."
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

    // MARK: Text

    static func text(_ text: String) -> String { ControlText.quoted(text) }
    static func member(_ name: String, _ value: String) -> String {
        "\(text(name)):\(value)"
    }
    static func object(_ members: [String]) -> String {
        "{\(members.joined(separator: ","))}"
    }
    static func array(_ items: [String]) -> String { "[\(items.joined(separator: ","))]" }
    static func reference(_ schema: String) -> String {
        object([member("$ref", text("#/components/schemas/\(schema)"))])
    }
    private static func content(_ type: String, _ schema: String) -> String {
        object([media(type, schema)])
    }
    private static func media(_ type: String, _ schema: String) -> String {
        member(type, object([member("schema", schema)]))
    }
}
