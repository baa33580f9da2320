import Base
import Posix
import Support
import Testing

/// An upstream, made byte by byte, that refuses before it serves.
@Suite struct HTTP2UpstreamRefusalTests {
    @Test(arguments: ["reset", "goaway", "twice"], ["--http1.1", "--http2-prior-knowledge"])
    func aRefusedRequestIsSentOnceMore(_ name: String, _ version: String) throws {
        let reserved = try ReservedAddress()
        let server = try Posix.Process(
            ProcessCommand(
                name: "http2_refuse", program: Program.python,
                arguments: [
                    "-B", HTTP2ConformanceTests.script("http2_refuse.py"), name,
                    "\(reserved.address.port)",
                ], output: .pipe))
        defer { _ = server.terminate(grace: .zero) }
        func line() throws -> String? { try Program.nextLine(of: server).map { text($0) } }
        #expect(try line() == "ready")
        let proxy = try HTTP2ConformanceTests.proxy(to: reserved.address, ", protocol: http2")
        let run = try Program.run(
            "curl",
            [
                "-sS", version, "-d", "body", "http://\(proxy.address)/x", "-o", "/dev/null", "-w",
                "%{http_code}\n",
            ])
        #expect(try line() == "refused /x")
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_refused_retries_total"] == 1)
        if name == "twice" {
            #expect(try line() == "refused /x")
            #expect(run.lines == ["503"])
        } else {
            #expect(try line() == "served /x body")
            #expect(run.lines == ["200"])
        }
    }
}
