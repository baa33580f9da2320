import Base
import Wire

/// Server reflection (grpc/reflection/v1/reflection.proto; v1alpha has the same messages): what
/// lets grpcurl and its like call a server of which they have no `.proto`.
enum AppReflection {
    /// The ServerReflectionResponse to a ServerReflectionRequest.
    static func answer(_ message: Bytes) -> [UInt8] {
        var host: [UInt8] = []
        var response = error(.invalidArgument, "no such request")
        var reader = ProtobufReader(message)
        while let field = reader.next() {
            guard case .bytes(let range) = field.value else { continue }
            let text = message[range].text
            switch field.number {
            case 1: host = Array(text.utf8)
            case 3: response = file { $0.file == text }
            case 4: response = file { $0.defines(text) }
            case 5, 6: response = error(.notFound, "there are no extensions")
            case 7: response = services()
            default: break
            }
        }
        var out = ProtobufWriter()
        out.append(1, bytes: host)
        out.append(2, bytes: unsafe Array(message.raw))
        out.append(response.number, bytes: response.bytes)
        return out.bytes
    }

    private typealias Response = (number: Int, bytes: [UInt8])

    private static func file(_ isIt: (Schema) -> Bool) -> Response {
        guard let schema = Schema.all.first(where: isIt) else {
            return error(.notFound, "no such file, nor symbol")
        }
        var out = ProtobufWriter()
        out.append(1, bytes: schema.encoded())
        return (4, out.bytes)
    }

    private static func services() -> Response {
        var out = ProtobufWriter()
        for schema in Schema.all { out.append(1) { $0.append(1, text: schema.serviceName) } }
        return (6, out.bytes)
    }

    private static func error(_ status: GRPCStatus, _ text: String) -> Response {
        var out = ProtobufWriter()
        out.append(1, Int(status.rawValue))
        out.append(2, text: text)
        return (7, out.bytes)
    }
}

/// The health of the workload (grpc/health/v1/health.proto).
enum AppHealth {
    /// The HealthCheckResponse to a HealthCheckRequest: it is well, as a whole and as `Echo`.
    /// - Returns: nil where the request names no service of ours.
    static func answer(_ message: Bytes) -> [UInt8]? {
        var reader = ProtobufReader(message)
        while let field = reader.next() {
            guard field.number == 1, case .bytes(let range) = field.value else { continue }
            let name = message[range]
            guard name.count == 0 || name == "meshbench.Echo" else { return nil }
        }
        var out = ProtobufWriter()
        out.append(1, 1)
        return out.bytes
    }
}
