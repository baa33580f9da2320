// The admin listener: one short exchange a connection, on the main thread, apart from the workers.
// A client that dawdles is cut off after a second, so that it holds nobody up.

import Base
import Glibc
import Model
import Posix
import ProxyCore
import Secure
import Wire

/// One request to the admin listener and its answer.
struct AdminExchange {
    let counters: [Counters]
    let configuration: ProxyConfiguration
    let draining: Bool
    let workers: Int

    /// Bound: a request without fields to speak of.
    private static let requestBytes = 8 * 1024

    /// From the accept to the end. Bound: while one client dawdles, signals wait.
    private static let patience = Duration.seconds(1)

    /// Reads the request, answers and closes.
    func serve(_ socket: consuming Descriptor) {
        let number = socket.number
        let deadline = Clock.now() + Self.patience
        var head = Head(limits: HeadLimits(headBytes: Self.requestBytes))
        var request: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 2048)
        while request.count < Self.requestBytes {
            let transfer = unsafe chunk.withUnsafeMutableBytes {
                unsafe Socket.receive(number, into: $0)
            }
            switch transfer {
            case .bytes(let count): request += chunk[..<count]
            case .wouldBlock:
                guard Self.wait(number, for: POLLIN, until: deadline) else { return }
                continue
            case .closed, .failed: return
            }
            switch request.withBytes({ head.parseRequest($0) }) {
            case .incomplete: continue
            case .invalid(let error):
                return send(number, error.status, "text/plain", "\(error.detail)\n", deadline)
            case .complete:
                let path = request.withBytes { $0[head.path].text }
                let method = request.withBytes { $0[head.method].text }
                return answer(number, method: method, path: path, deadline)
            }
        }
    }

    /// Whether the socket becomes ready in time.
    private static func wait(_ socket: Int32, for event: Int32, until deadline: Instant) -> Bool {
        let left = (deadline - Clock.now()).milliseconds
        guard left > 0 else { return false }
        var state = pollfd(fd: socket, events: Int16(event), revents: 0)
        return unsafe poll(&state, 1, Int32(left) + 1) == 1
    }

    private func answer(_ socket: Int32, method: String, path: String, _ deadline: Instant) {
        func send(_ status: Int, _ type: String, _ body: String) {
            self.send(socket, status, type, body, deadline)
        }
        guard method == "GET" else { return send(405, "text/plain", "GET only\n") }
        switch path {
        case "/stats", "/metrics":
            send(200, "text/plain; version=0.0.4", ProxyStatistics(counters).prometheus)
        case "/ready":
            draining
                ? send(503, "text/plain", "draining\n")
                : send(200, "text/plain", "ready\n")
        case "/config":
            send(200, "application/json", JSONText.of(configuration))
        default: send(404, "text/plain", "there are /stats, /ready and /config\n")
        }
    }

    private func send(
        _ socket: Int32, _ status: Int, _ type: String, _ body: String, _ deadline: Instant
    ) {
        let reason = status == 200 ? "OK" : status == 503 ? "Service Unavailable" : "Error"
        let text =
            "HTTP/1.1 \(status) \(reason)\r\ncontent-type: \(type)\r\n"
            + "content-length: \(body.utf8.count)\r\nconnection: close\r\n\r\n\(body)"
        let bytes = Array(text.utf8)
        bytes.withBytes { view in
            var rest = view
            while rest.count > 0 {
                switch Socket.send(socket, rest) {
                case .bytes(let n): rest = rest[n..<rest.count]
                case .wouldBlock:
                    guard Self.wait(socket, for: POLLOUT, until: deadline) else { return }
                case .closed, .failed: return
                }
            }
        }
        Socket.endSending(socket)
    }
}

/// The workers' counters added up.
struct ProxyStatistics {
    private let counters: [Counters]

    init(_ counters: [Counters]) { self.counters = counters }

    /// Prometheus' text format, version 0.0.4.
    var prometheus: String {
        var text = ""
        for counter in Counter.allCases {
            let name = "meshbench_proxy_\(counter.name)"
            text += "# TYPE \(name) counter\n\(name) \(sum { $0[counter] })\n"
        }
        let active =
            sum { $0[.downstreamConnectionsTotal] } &- sum { $0[.downstreamConnectionsClosed] }
        text += "# TYPE meshbench_proxy_downstream_connections gauge\n"
        text += "meshbench_proxy_downstream_connections \(active)\n"
        let upstream =
            sum { $0[.upstreamConnectionsTotal] } &- sum { $0[.upstreamConnectionsClosed] }
        text += "# TYPE meshbench_proxy_upstream_connections gauge\n"
        text += "meshbench_proxy_upstream_connections \(upstream)\n"
        text += "# TYPE meshbench_proxy_response_flags_total counter\n"
        for flag in ResponseFlag.allCases {
            text +=
                "meshbench_proxy_response_flags_total{flag=\"\(flag.rawValue)\"} "
                + "\(sum { $0[flag] })\n"
        }
        text += "# TYPE meshbench_proxy_tls_failures_total counter\n"
        for side in Side.allCases {
            for failure in TLSFailure.allCases where !failure.isOfFiles {
                let labels = "side=\"\(side)\",reason=\"\(failure.word)\""
                text += "meshbench_proxy_tls_failures_total{\(labels)} "
                text += "\(sum { $0[failure, side] })\n"
            }
        }
        return text
    }

    private func sum(_ value: (Counters) -> UInt64) -> UInt64 {
        counters.reduce(0) { $0 &+ value($1) }
    }
}
