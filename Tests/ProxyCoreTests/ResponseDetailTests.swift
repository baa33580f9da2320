import Base
import Model
import Secure
import Support
import Testing
import Wire

@testable import ProxyCore

/// How the log tells why an exchange ended as it did.
@Suite struct ResponseDetailTests {
    private static func text(_ detail: ResponseDetail, isLate: Bool = false) -> String {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe bytes.withUnsafeMutableBytes { memory in
            var out = unsafe ByteWriter(memory)
            detail.write(isLate: isLate, to: &out)
            #expect(!out.overflowed)
            return out.count
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    private static let before = "upstream_reset_before_response_started"
    private static let after = "upstream_reset_after_response_started"

    @Test(
        arguments: [
            (.viaUpstream, "via_upstream"), (.routeNotFound, "route_not_found"),
            (.clusterNotFound, "cluster_not_found"),
            (.noEndpoint, "no_healthy_upstream{no_endpoint}"),
            (.noHealthyUpstream, "no_healthy_upstream"),
            (.directResponse, "direct_response"), (.redirect, "direct_response{redirect}"),
            (.redirectTooLong, "redirect_too_long"),
            (.rewrittenPathTooLong, "rewritten_path_too_long"),
            (.maxForwards, "max_forwards_reached"), (.denied, "rbac_access_denied"),
            (.listenerChanged, "listener_changed"), (.rateLimitedLocally, "local_rate_limited"),
            (.rateLimited, "request_rate_limited"), (.rateLimiterError, "rate_limiter_error"),
            (.admissionDenied, "denied_by_admission_control"),
            (.faultAbort, "fault_filter_abort"),
            (.connectNotSupported, "upgrade_failed{connect_not_supported}"),
            (.connectWithBody, "upgrade_failed{connect_with_body}"),
            (.protocolNotSupported, "upgrade_failed{protocol_not_supported}"),
            (.upgradeRefused, "upgrade_failed{upgrade_refused}"),
            (.malformed(.missingHost), "codec_error{missing_host}"),
            (.overflow, "\(before){overflow}"),
            (.pendingTimeout, "\(before){overflow|pending_timeout}"),
            (.noStream, "\(before){local_reset|no_stream}"),
            (.connectionFailed, "\(before){connection_failure}"),
            (.connectTimeout, "\(before){connection_timeout}"),
            (.notHTTP2, "\(before){connection_failure|http2_not_agreed}"),
            (
                .secureFailed(.certificateExpired),
                "\(before){connection_failure|tls_certificate_expired}"
            ),
            (.upstreamClosed, "\(before){connection_termination}"),
            (.streamReset, "\(before){remote_reset}"),
            (.streamRefused, "\(before){remote_refused_stream_reset}"),
            (.protocolChanged, "\(before){local_reset|protocol_changed}"),
            (.upstreamMalformed(.bareLF), "\(before){protocol_error|bare_lf}"),
            (.tooManyInterims, "\(before){protocol_error|too_many_1xx}"),
            (.unaskedUpgrade, "\(before){protocol_error|unasked_upgrade}"),
            (.responseTimeout, "response_timeout"),
            (.grpcDeadline, "response_timeout{grpc_deadline}"),
            (.perTryTimeout, "upstream_per_try_timeout"), (.maxDuration, "max_duration_timeout"),
            (.upstreamMaxDuration, "upstream_max_stream_duration_reached"),
            (.streamIdleTimeout, "stream_idle_timeout"),
            (.idleTimeout, "stream_idle_timeout{idle_timeout}"),
            (.requestHeadTimeout, "request_header_timeout"),
            (.drainTimeout, "downstream_local_disconnect{drain_timeout}"),
            (.clientGone, "downstream_remote_disconnect"),
            (.requestIncomplete, "downstream_remote_disconnect{request_incomplete}"),
            (.noBuffer, "overload{no_buffer}"),
            (.tooManyConnections, "overload{too_many_connections}"),
        ] as [(ResponseDetail, String)])
    func eachHasItsName(_ detail: ResponseDetail, _ name: String) {
        #expect(Self.text(detail) == name)
        // Only what an upstream does can happen within an answer.
        let late = Self.text(detail, isLate: true)
        #expect(late == name || late == name.replacing(Self.before, with: Self.after))
        #expect(!Bytes(detail.text).text.isEmpty)
    }

    @Test(arguments: [
        (ResponseDetail.upstreamClosed, "connection_termination"), (.streamReset, "remote_reset"),
        (.upstreamMalformed(.badChunkSize), "protocol_error|bad_chunk_size"),
    ])
    func whatHappensWithinAnAnswerIsLate(_ detail: ResponseDetail, _ reason: String) {
        #expect(Self.text(detail, isLate: true) == "\(Self.after){\(reason)}")
    }

    // MARK: Each flag's

    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    /// Has a proxy end an exchange so, and gives its log's last line.
    private func line(
        _ configuration: ProxyConfiguration, _ request: String = get,
        opening: SimulatedSocket.Opening = .open, _ play: (Scene) -> Void = { _ in }
    ) -> String {
        let scene = Scene(configuration)
        scene.opening = opening
        let client = scene.client()
        scene.send(request, by: client)
        play(scene)
        return scene.simulation.logLines.last ?? ""
    }

    private func logging(
        _ change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> ProxyConfiguration {
        var configuration = Scene.configuration(
            accessLog: true, timeouts: ProxyTimeouts(request: .seconds(1)))
        change(&configuration)
        return configuration
    }

    private func expect(_ line: String, _ flags: String, _ details: String, _ more: String = "") {
        #expect(line.contains("\"flags\":\"\(flags)\",\"details\":\"\(details)\""), "\(line)")
        #expect(line.contains(more), "\(line)")
    }

    @Test func ofWhatIsNotSent() {
        expect(line(logging { $0.routes = [] }), "NR", "route_not_found")
        expect(
            line(logging { $0.routes = [.init(cluster: "gone")] }), "NC", "cluster_not_found")
        expect(
            line(logging { $0.clusters[0].endpoints = [] }), "UH",
            "no_healthy_upstream{no_endpoint}")
        expect(
            line(logging { $0.clusters[0].breaker = .init(standard: .init(requests: 0)) }), "UO",
            "\(Self.before){overflow}", "\"decided_by\":\"breaker.requests\"")
        expect(
            line(logging(), "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), "DPE",
            "codec_error{bad_host}")
        expect(
            line(logging(), "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), "",
            "upgrade_failed{connect_not_supported}")
    }

    @Test func ofAttempts() {
        expect(line(logging(), opening: .refused), "UF", "\(Self.before){connection_failure}")
        let slow = line(
            logging { $0.clusters[0].connectTimeout = .milliseconds(100) }, opening: .never
        ) {
            $0.pass(.milliseconds(200))
        }
        expect(slow, "UF", "\(Self.before){connection_timeout}")
        let closed = line(logging()) { $0.close($0.servers[0]) }
        expect(closed, "UC", "\(Self.before){connection_termination}")
        let cut = line(logging()) {
            $0.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", by: $0.servers[0])
            $0.close($0.servers[0])
        }
        expect(cut, "UC", "\(Self.after){connection_termination}")
        let broken = line(logging()) { $0.send("garbage\r\n\r\n", by: $0.servers[0]) }
        expect(broken, "UPE", "\(Self.before){protocol_error|bad_version}")
        let late = line(logging()) { $0.pass(.seconds(2)) }
        expect(late, "UT", "response_timeout", "\"decided_by\":\"timeout.request\"")
        let tried = line(
            logging {
                $0.clusters[0].retry = RetryPolicy(
                    on: [.serverError], most: 0, perTry: .milliseconds(100))
            }
        ) { $0.pass(.milliseconds(150)) }
        expect(tried, "UT,URX", "upstream_per_try_timeout")
        expect(line(logging()) { $0.send(okAnswer, by: $0.servers[0]) }, "", "via_upstream")
    }

    /// The same flag, by a limit and by a denied retry.
    @Test func aDeniedRetryIsNoOverflow() {
        let denied = line(
            logging {
                $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 2)
                $0.clusters[0].breaker = .init(standard: .init(retries: 0))
            }
        ) { $0.send("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", by: $0.servers[0]) }
        expect(denied, "UO", "via_upstream", "\"decided_by\":\"breaker.retries\"")
    }
}
