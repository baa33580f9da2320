import Base
import FoundationEssentials
import Glibc
import Posix
import Secure
import Support
import Testing

/// One listener, several certificates: what OpenSSL's own client is shown.
@Suite struct CertificateChoiceTests {
    let files: CertificateFolder
    private let versions = ["1.2", "1.3"]

    init() throws {
        files = try CertificateFolder()
        try files.issue("default", hosts: ["default.test"])
        try files.issue("whole", hosts: ["whole.test", "a.wild.test"])
        try files.issue("wild", hosts: ["*.wild.test"])
    }

    /// A listener with the certificates of these names, the first its default.
    private func listening(
        _ backend: SocketAddress, _ names: [String] = ["default", "whole", "wild"],
        prefix: String = "/"
    ) -> String {
        let others = names.dropFirst().map { "{\(files.identity($0))}" }.joined(separator: ", ")
        return """
            listeners:
              - name: main
                address: "127.0.0.1:0"
                tls: {\(files.identity(names[0])), certificates: [\(others)]}
            routes: [{cluster: backend, prefix: \(prefix)}]
            clusters: [{name: backend, endpoints: ["\(backend)"]}]
            admin: 127.0.0.1:0
            access_log: "-"
            """
    }

    private struct Seen: Equatable {
        /// The common name of the certificate.
        var shown = ""
        var isResumed = false
        /// Of the answer to GET of /.
        var status = ""
    }

    /// One connection with one request.
    private func ask(
        _ address: SocketAddress, for name: String?, _ more: String = "", version: String = "1.3"
    ) throws -> Seen {
        let name = name.map { "-servername '\($0)'" } ?? "-noservername"
        let flag = "-tls\(version.replacing(".", with: "_"))"
        let run = try Program.run(
            "sh",
            [
                "-c",
                """
                printf 'GET / HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n' \
                | openssl s_client -connect \(address) \(name) \(flag) -ign_eof \(more) 2>&1
                """,
            ])
        var seen = Seen()
        for line in run.lines {
            if line.hasPrefix("subject=") {
                seen.shown = String(line.split(separator: "=").last ?? "").replacing(" ", with: "")
            }
            if line.hasPrefix("Reused, ") { seen.isResumed = true }
            if line.hasPrefix("HTTP/1.1 ") { seen.status = String(line.split(separator: " ")[1]) }
        }
        return seen
    }

    @Test func theNameChooses() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: listening(server.address))
        let verified = "-CAfile \(files.authority) -verify_return_error"
        for version in versions {
            for (name, shown) in [
                ("whole.test", "whole"), ("WHOLE.test", "whole"), ("a.wild.test", "whole"),
                ("b.wild.test", "wild"), ("wild.test", "default"), ("c.b.wild.test", "default"),
                ("default.test", "default"), ("nobody.test", "default"), (nil, "default"),
            ] {
                #expect(
                    try ask(proxy.address, for: name, verified, version: version)
                        == Seen(shown: shown, status: "200"), "\(name ?? "no name")")
                let line = try proxy.nextLogLine()
                #expect(line.tls == version && line.serverName == name?.lowercased())
            }
        }
    }

    /// Programs that are not ours resume too, and not where they must not.
    @Test func aTicketIsForOneName() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: listening(server.address))
        for version in versions {
            for (i, name) in ["whole.test", "b.wild.test", nil].enumerated() {
                let ticket = files.path("ticket-\(version)-\(i)")
                let first = try ask(
                    proxy.address, for: name, "-sess_out \(ticket)", version: version)
                #expect(!first.isResumed && first.status == "200")
                for (other, shown) in [
                    ("whole.test", "whole"), ("b.wild.test", "wild"), (nil, "default"),
                    ("nobody.test", "default"),
                ] {
                    let again = try ask(
                        proxy.address, for: other, "-sess_in \(ticket)", version: version)
                    #expect(
                        again == Seen(shown: shown, isResumed: name == other, status: "200"),
                        "\(version): \(name ?? "no name"), then \(other ?? "no name")")
                }
            }
        }
    }

    /// OpenSSL holds one certificate of each kind of key, and must not choose among them.
    @Test func keysMayBeOfDifferentKinds() throws {
        for (kind, key) in [("rsa", "rsa:2048"), ("ed25519", "ed25519")] {
            let made = try Program.run(
                "sh",
                [
                    "-c",
                    """
                    openssl req -x509 -newkey \(key) -nodes -days 1 -subj /CN=\(kind) \
                        -addext subjectAltName=DNS:\(kind).test \
                        -keyout \(files.path("\(kind).key")) -out \(files.path("\(kind).pem")) \
                        2>/dev/null
                    """,
                ])
            try #require(made.end == .exited(0))
        }
        let server = try TestServer.named("backend")
        let names = ["default", "rsa", "ed25519"]
        for shift in names.indices {
            let order = Array(names[shift...] + names[..<shift])
            let proxy = try RunningProxy(configuration: listening(server.address, order))
            for version in versions {
                for name in names {
                    #expect(
                        try ask(proxy.address, for: "\(name).test", version: version)
                            == Seen(shown: name, status: "200"), "\(order), \(version)")
                }
                let stranger = try ask(proxy.address, for: "nobody.test", version: version)
                #expect(stranger.shown == order[0])
            }
        }
    }

    @Test func oneOfThemIsReplaced() throws {
        let server = try TestServer.named("backend")
        let file = try ConfigurationFile()
        let proxy = try RunningProxy(
            configuration: listening(server.address, prefix: "/other"), file: file)
        let ticket = files.path("ticket")
        let early = try ask(proxy.address, for: "whole.test", "-sess_out \(ticket)")
        #expect(early == Seen(shown: "whole", status: "404"))

        func reload(until isDone: (Seen) -> Bool) throws {
            proxy.process.send(SIGHUP)
            let deadline = Clock.now() + RawConnection.patience
            while !isDone(try ask(proxy.address, for: "whole.test")) {
                try #require(Clock.now() < deadline, "the new configuration is not in force")
            }
        }
        // Other routes, the same files: tickets stay good.
        try file.write(listening(server.address))
        try reload { $0.status == "200" }
        let resumed = try ask(proxy.address, for: "whole.test", "-sess_in \(ticket)")
        #expect(resumed == Seen(shown: "whole", isResumed: true, status: "200"))

        // A name that another one has: all stays as it was.
        try files.issue("new", hosts: ["whole.test", "*.wild.test"])
        func take(_ suffix: String) throws {
            let bytes = try Data(contentsOf: URL(filePath: files.path("new.\(suffix)")))
            try files.write([UInt8](bytes), "whole.\(suffix)")
        }
        try take("pem")
        try take("key")
        proxy.process.send(SIGHUP)
        let both = "\(files.path("whole.pem")) and \(files.path("wild.pem"))"
        try proxy.waitForError("not reloaded: \(both): duplicate_server_name (*.wild.test)")
        #expect(try ask(proxy.address, for: "whole.test").shown == "whole")

        // A new one for its names.
        try files.issue("new", hosts: ["whole.test"])
        try take("pem")
        try take("key")
        try reload { $0.shown == "new" }
        #expect(try ask(proxy.address, for: "b.wild.test").shown == "wild")
        #expect(try ask(proxy.address, for: "a.wild.test").shown == "wild")
        #expect(try ask(proxy.address, for: nil).shown == "default")
        let late = try ask(proxy.address, for: "whole.test", "-sess_in \(ticket)")
        #expect(late == Seen(shown: "new", status: "200"))
    }

    @Test func badFilesAreNamed() throws {
        try files.issue("nameless", uris: ["spiffe://test/nameless"])
        try files.issue("twin", hosts: ["Whole.Test"])
        try files.write(Array("nonsense".utf8), "broken.key")
        try files.write(
            [UInt8](try Data(contentsOf: URL(filePath: files.path("wild.pem")))), "broken.pem")
        for (names, words) in [
            (["default", "nameless"], "nameless.pem: no_server_name"),
            (
                ["default", "whole", "twin"],
                "whole.pem and \(files.path("twin.pem")): duplicate_server_name (Whole.Test)"
            ),
            (["whole", "twin"], "whole.pem and \(files.path("twin.pem")): duplicate_server_name"),
            (["default", "broken"], "broken.key: malformed_key"),
            (["default", "absent"], "absent.pem: No such file"),
        ] {
            let file = try ConfigurationFile()
            try file.write(listening(.loopback(port: 9), names))
            let run = try Program.run(
                "sh", ["-c", "\(try Program.meshbench()) proxy --config \(file.path) 2>&1"])
            #expect(run.end == .exited(65))
            #expect(run.lines.contains { $0.contains(words) }, "\(run.lines)")
        }
    }

    @Test func theWorkloadChoosesToo() throws {
        func pair(_ name: String) -> String {
            """
            "certificate": "\(files.path("\(name).pem"))", "key": "\(files.path("\(name).key"))"
            """
        }
        let file = try ConfigurationFile()
        try file.write(
            """
            {"listen": "127.0.0.1:0",
             "tls": {\(pair("default")), "certificates": [{\(pair("whole"))}]}}
            """)
        // Without cleartext there is no asking it whether it is ready: its line says so.
        let app = try RunningApp("--config", file.path)
        for (name, shown) in [("whole.test", "whole"), ("b.test", "default"), (nil, "default")] {
            #expect(try ask(app.address, for: name) == Seen(shown: shown, status: "200"))
        }
    }
}
