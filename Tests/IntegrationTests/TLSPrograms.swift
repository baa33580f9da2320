import Base
import FoundationEssentials
import Posix
import Support
import Testing

/// Programs of Python's `ssl`, which is not ours: servers and clients for TLS tests.
enum TLSPrograms {
    /// What Python says; each test names its program and arguments.
    static func run(_ program: String, _ arguments: [String]) throws -> [String] {
        let scratch = try Scratch()
        let path = scratch.path("program.py")
        try program.write(toFile: path, atomically: true, encoding: .utf8)
        return try Program.run(Program.python, [path] + arguments).lines
    }

    /// Connects three times, resuming as far as the server lets it; says of each whether it did,
    /// and what it was answered. Arguments: port, authority, version.
    static let resumingClient = """
        import socket, ssl, sys
        port, authority, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
        context = ssl.create_default_context(cafile=authority)
        if version == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        session = None
        for _ in range(3):
            raw = socket.create_connection(("127.0.0.1", port))
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as s:
                s.sendall(b"GET / HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n")
                answer = b""
                while True:
                    piece = s.recv(4096)
                    if not piece:
                        break
                    answer += piece
                session = s.session
                print(s.version(), s.session_reused, answer.split(b"\\r\\n\\r\\n")[1].decode())
        """

    /// Sends and receives a byte at a time. Arguments: port, authority.
    static let slowClient = """
        import socket, ssl, sys
        port, authority = int(sys.argv[1]), sys.argv[2]
        context = ssl.create_default_context(cafile=authority)
        raw = socket.create_connection(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(arrived, leaving, server_hostname="localhost")
        def go(call):
            while True:
                try:
                    result = call()
                    done = True
                except ssl.SSLWantReadError:
                    done = False
                for byte in leaving.read():
                    raw.send(bytes([byte]))
                if done:
                    return result
                byte = raw.recv(1)
                if not byte:
                    arrived.write_eof()
                arrived.write(byte)
        go(tls.do_handshake)
        go(lambda: tls.write(
            b"POST / HTTP/1.1\\r\\nhost: a\\r\\ncontent-length: 5\\r\\n"
            b"connection: close\\r\\n\\r\\nhello"))
        answer = b""
        while True:
            try:
                piece = go(lambda: tls.read(100))
            except ssl.SSLZeroReturnError:
                break
            if not piece:
                break
            answer += piece
        print(answer.split(b"\\r\\n\\r\\n")[1].decode())
        """

    /// Serves HTTP/1.1 over TLS. Arguments: certificate, key, authority of clients or `-`. GET /
    /// is answered, and the connection closed; /cut ends a body of no said length without
    /// `close_notify`, /end with it; POST is answered with what it brought.
    private static let server = """
        import http.server, ssl, sys
        certificate, key, authority = sys.argv[1:4]
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def log_message(self, *arguments):
                pass
            def do_GET(self):
                self.close_connection = True
                if self.path in ("/cut", "/end"):
                    self.wfile.write(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\n\\r\\npart")
                    if self.path == "/end":
                        self.connection.unwrap()
                    return
                self.wfile.write(
                    b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\n"
                    b"content-length: 5\\r\\n\\r\\nhello")
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.wfile.write(
                    b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if authority != "-":
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(authority)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=True)
        print(server.server_address[1], flush=True)
        server.serve_forever()
        """

    /// A running server.
    final class Server {
        let address: SocketAddress
        private let process: Posix.Process
        private let scratch: Scratch

        init(certificate: String, key: String, clients: String? = nil) throws {
            scratch = try Scratch()
            let path = scratch.path("server.py")
            try TLSPrograms.server.write(toFile: path, atomically: true, encoding: .utf8)
            process = try Posix.Process(
                ProcessCommand(
                    name: "python", program: Program.python,
                    arguments: [path, certificate, key, clients ?? "-"], output: .pipe,
                    errorLog: scratch.path("stderr")))
            let line = try #require(try Program.nextLine(of: process))
            let port = try #require(UInt16(String(decoding: line, as: UTF8.self)))
            address = .loopback(port: port)
        }

        deinit { _ = process.terminate(grace: .zero) }
    }
}
