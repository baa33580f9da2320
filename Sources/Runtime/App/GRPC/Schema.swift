// Descriptions of messages and services, as reflection hands them out: google.protobuf's
// FileDescriptorProto (descriptor.proto), by hand.

import Wire

/// One `.proto` file.
struct Schema {
    struct Field {
        enum Kind: Int {
            case uint64 = 4
            case string = 9
            case bytes = 12
            case uint32 = 13
            case `enum` = 14
        }

        var number: Int
        var name: String
        var kind: Kind
        /// Whether absence is told from zero.
        var isOptional = false
        /// The full name of an enumeration, with a dot in front.
        var typeName: String?
    }

    struct Message {
        var name: String
        var fields: [Field]
        /// An enumeration within the message: its name, and its values by number.
        var enumeration: (name: String, values: [String])?
    }

    struct Method {
        var name: String
        var request: String
        var response: String
        var requestsStream = false
        var responsesStream = false
    }

    var file: String
    var package: String
    var messages: [Message]
    var service: String
    var methods: [Method]

    /// The service's full name.
    var serviceName: String { "\(package).\(service)" }

    /// Whether the file defines what has this full name.
    func defines(_ symbol: String) -> Bool {
        symbol == serviceName
            || methods.contains { symbol == "\(serviceName).\($0.name)" }
            || messages.contains { message in
                let name = "\(package).\(message.name)"
                return symbol == name
                    || message.fields.contains { symbol == "\(name).\($0.name)" }
                    || message.enumeration.map { symbol == "\(name).\($0.name)" } == true
            }
    }

    /// The file as a FileDescriptorProto.
    func encoded() -> [UInt8] {
        var out = ProtobufWriter()
        out.append(1, text: file)
        out.append(2, text: package)
        for message in messages { out.append(4) { Self.write(message, to: &$0) } }
        out.append(6) { out in
            out.append(1, text: service)
            for method in methods { out.append(2) { write(method, to: &$0) } }
        }
        out.append(12, text: "proto3")
        return out.bytes
    }

    private static func write(_ message: Message, to out: inout ProtobufWriter) {
        out.append(1, text: message.name)
        // A field whose absence is told is, in a descriptor, the one member of a choice.
        var choices: [String] = []
        for field in message.fields {
            out.append(2) { out in
                out.append(1, text: field.name)
                out.append(3, field.number)
                out.append(4, 1)
                out.append(5, field.kind.rawValue)
                if let typeName = field.typeName { out.append(6, text: typeName) }
                if field.isOptional {
                    out.append(9, choices.count)
                    out.append(17, 1)
                    choices.append("_" + field.name)
                }
            }
        }
        if let enumeration = message.enumeration {
            out.append(4) { out in
                out.append(1, text: enumeration.name)
                for (number, name) in enumeration.values.enumerated() {
                    out.append(2) { out in
                        out.append(1, text: name)
                        out.append(2, number)
                    }
                }
            }
        }
        for choice in choices { out.append(8) { $0.append(1, text: choice) } }
    }

    private func write(_ method: Method, to out: inout ProtobufWriter) {
        out.append(1, text: method.name)
        out.append(2, text: ".\(package).\(method.request)")
        out.append(3, text: ".\(package).\(method.response)")
        if method.requestsStream { out.append(5, 1) }
        if method.responsesStream { out.append(6, 1) }
    }
}

extension Schema {
    /// `docs/echo.proto`.
    static let echo = Schema(
        file: "echo.proto", package: "meshbench",
        messages: [
            Message(
                name: "EchoRequest",
                fields: [
                    Field(number: 1, name: "payload", kind: .bytes),
                    Field(number: 2, name: "response_size", kind: .uint64, isOptional: true),
                    Field(number: 3, name: "response_count", kind: .uint32, isOptional: true),
                    Field(number: 4, name: "delay_ns", kind: .uint64),
                    Field(number: 5, name: "status", kind: .uint32),
                    Field(number: 6, name: "message", kind: .string),
                ]),
            Message(
                name: "EchoResponse",
                fields: [
                    Field(number: 1, name: "index", kind: .uint32),
                    Field(number: 2, name: "requests", kind: .uint32),
                    Field(number: 3, name: "request_bytes", kind: .uint64),
                    Field(number: 4, name: "payload", kind: .bytes),
                ]),
        ],
        service: "Echo",
        methods: [
            echoMethod("Unary"), echoMethod("ServerStream", responses: true),
            echoMethod("ClientStream", requests: true),
            echoMethod("BidiStream", requests: true, responses: true),
        ])

    private static func echoMethod(
        _ name: String, requests: Bool = false, responses: Bool = false
    ) -> Method {
        Method(
            name: name, request: "EchoRequest", response: "EchoResponse", requestsStream: requests,
            responsesStream: responses)
    }

    /// What `AppHealth` knows of grpc/health/v1/health.proto.
    static let health = Schema(
        file: "grpc/health/v1/health.proto", package: "grpc.health.v1",
        messages: [
            Message(
                name: "HealthCheckRequest",
                fields: [Field(number: 1, name: "service", kind: .string)]),
            Message(
                name: "HealthCheckResponse",
                fields: [
                    Field(
                        number: 1, name: "status", kind: .enum,
                        typeName: ".grpc.health.v1.HealthCheckResponse.ServingStatus")
                ],
                enumeration: (
                    "ServingStatus", ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
                )),
        ],
        service: "Health",
        methods: [
            Method(name: "Check", request: "HealthCheckRequest", response: "HealthCheckResponse")
        ])

    /// All that the workload serves, but for reflection itself.
    static var all: [Schema] { [echo, health] }
}
