// The authority of a mesh as a process, with `openssl` and curl in the place of a proxy: neither
// has code of ours. Certificates last seconds, so that these tests meet the real clock.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// What a proxy is answered with.
private struct Issued: Decodable {
    var certificate: String
    var authorities: String
    var identity: String
    var notAfter: Int64
}

/// A control plane, and a proxy's folder in which commands are run.
private final class Site {
    let scratch: Scratch
    let control: RunningControl
    let proxies: SocketAddress

    init(_ words: [String] = []) throws {
        scratch = try Scratch()
        control = try RunningControl(
            data: scratch.path("data"), ["--proxies", "127.0.0.1:0"] + words)
        proxies = try #require(control.proxies)
        let answer = try control.ask(
            "PUT", "/v1/services/shop/cart",
            "{\"kind\":\"service\",\"name\":\"cart\",\"namespace\":\"shop\"}")
        try #require(answer.status == 201)
    }

    /// What a script prints, on both outputs.
    func sh(_ script: String) throws -> [String] {
        try Program.run("sh", ["-c", "cd \(scratch.root) && (\(script)) 2>&1"]).lines
    }

    func write(_ text: String, _ name: String) throws {
        try text.write(toFile: scratch.path(name), atomically: true, encoding: .utf8)
    }

    func command(_ words: String) throws -> [String] {
        try sh(
            "\(Program.meshbench()) control \(words) --server http://\(control.address) "
                + "--token-file data/token")
    }

    /// A key, and a request for it in `csr`, as a line of JSON.
    func makeRequest() throws {
        _ = try sh(
            """
            test -f key || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key
            openssl req -new -key key -subj /CN=x -out csr.pem
            awk '{printf "%s\\\\n", $0}' csr.pem > csr
            """)
    }

    /// - Parameter words: of curl, with its certificates.
    /// - Returns: the status and the body.
    func curl(_ words: String, _ path: String) throws -> (status: String, body: String) {
        let lines = try sh(
            "rm -f out; curl -sS -m 30 -o out -w '%{http_code}\\n' \(words) "
                + "https://\(proxies)\(path) 2>err; cat out err")
        return (lines.first ?? "", lines.dropFirst().joined(separator: "\n"))
    }

    /// Exchanges a token for the files leaf, and root.
    func join(_ token: String, _ words: String = "--cacert root") throws -> (String, String) {
        try makeRequest()
        let csr = try String(contentsOfFile: scratch.path("csr"), encoding: .utf8)
        try write("{\"token\":\"\(token)\",\"proxy\":\"cart-1\",\"csr\":\"\(csr)\"}", "body")
        return try keep(try curl("\(words) -d @body", "/v1/join"))
    }

    func renew() throws -> (String, String) {
        try makeRequest()
        let csr = try String(contentsOfFile: scratch.path("csr"), encoding: .utf8)
        try write("{\"csr\":\"\(csr)\"}", "body")
        return try keep(
            try curl("--cacert root --cert leaf --key key -d @body", "/v1/proxy/certificate"))
    }

    private func keep(_ answer: (status: String, body: String)) throws -> (String, String) {
        guard answer.status == "200" else { return answer }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let issued = try decoder.decode(Issued.self, from: Data(answer.body.utf8))
        try write(issued.certificate, "leaf")
        try write(issued.authorities, "root")
        return answer
    }

    /// Fetches the roots without trust, and keeps the one that the token names.
    func trust(_ token: String) throws {
        let payload = token.split(separator: ".")[0]
            .replacing("-", with: "+").replacing("_", with: "/")
        let digest = try #require(
            try sh("printf '%s==' \(payload) | base64 -d 2>/dev/null | sed -n 7p").first)
        _ = try sh("curl -sSk https://\(proxies)/v1/authorities > root")
        let found = try #require(
            try sh("openssl x509 -in root -noout -fingerprint -sha256").first)
        #expect(found.split(separator: "=").last?.replacing(":", with: "").lowercased() == digest)
    }
}

@Suite struct JoiningTests {
    @Test func aProxyOfOpenSSLJoinsAndRenews() throws {
        let site = try Site()
        let token = try #require(try site.command("token shop/cart").first)
        try site.trust(token)
        let (status, body) = try site.join(token)
        try #require(status == "200", "\(body)")
        #expect(
            try site.sh("openssl verify -x509_strict -purpose sslclient -CAfile root leaf")
                == ["leaf: OK"])
        #expect(
            try site.sh("openssl x509 -in leaf -noout -ext subjectAltName").contains {
                $0.contains("URI:spiffe://meshbench.test/ns/shop/sa/cart")
            })
        #expect(
            try site.sh(
                "openssl x509 -in leaf -noout -pubkey > 1; openssl pkey -in key -pubout | cmp - 1"
            )
            .isEmpty)
        // The listener is who the token says: a control plane of the mesh.
        let shown = try site.sh(
            "openssl s_client -connect \(site.proxies) -CAfile root </dev/null | "
                + "openssl x509 -noout -ext subjectAltName")
        #expect(shown.contains { $0.contains("URI:spiffe://meshbench.test/control") })
        let serial = try site.sh("openssl x509 -in leaf -noout -serial")
        #expect(try site.renew().0 == "200")
        #expect(try site.sh("openssl x509 -in leaf -noout -serial") != serial)
        // Once is once.
        let again = try site.sh("rm key").isEmpty ? site.join(token) : ("", "")
        #expect(again.0 == "403" && again.1.contains("for one use"), "\(again)")
    }

    @Test func whoDoesNotBelongIsKeptOut() throws {
        let site = try Site(["--certificate-life", "5s"])
        let token = try #require(try site.command("token shop/cart --many --life 1h").first)
        try site.trust(token)
        #expect(try site.curl("--cacert root -d '{}'", "/v1/proxy/certificate").status == "401")
        #expect(try site.join("x.y").0 == "401")
        // In cleartext, and with a version of TLS that is not spoken.
        let plain = try site.sh("curl -sS -m 5 http://\(site.proxies)/v1/authorities; echo $?")
        #expect(plain.last != "0")
        let old = try site.sh(
            "curl -sS --tls-max 1.2 --cacert root https://\(site.proxies)/v1/authorities; echo $?")
        #expect(old.last == "35")
        // Of another root of the same name.
        _ = try site.sh(
            """
            openssl req -x509 -newkey rsa:2048 -nodes -days 1 -keyout false.key -out false.pem \
              -subj "/$(openssl x509 -in root -noout -subject -nameopt RFC2253 | cut -d= -f2-)" \
              -addext subjectAltName=URI:spiffe://meshbench.test/ns/shop/sa/cart
            """)
        let stranger = try site.curl(
            "--cacert root --cert false.pem --key false.key", "/v1/authorities")
        #expect(stranger.status == "000", "\(stranger)")
        // A certificate that has ended.
        #expect(try site.join(token).0 == "200")
        #expect(try site.renew().0 == "200")
        let mine = "--cacert root --cert leaf --key key"
        #expect(try site.curl(mine, "/v1/authorities").status == "200")
        try waitUntil {
            let (status, body) = try site.curl(mine, "/v1/authorities")
            return (status == "000", body)
        }
        #expect(
            try site.sh("openssl x509 -in leaf -noout -checkend 0") == ["Certificate will expire"])
        #expect(try site.renew().0 == "000")
        // It ends when the server ends it, and not before.
        let alert = try site.sh(
            "openssl s_client -quiet -connect \(site.proxies) -CAfile root "
                + "-cert leaf -key key </dev/null")
        #expect(alert.contains { $0.contains("alert certificate expired") }, "\(alert)")
    }

    @Test func rootsChangeUnderAProxyThatRenews() throws {
        let site = try Site(["--certificate-life", "5s"])
        let token = try #require(try site.command("token shop/cart").first)
        try site.trust(token)
        try #require(try site.join(token).0 == "200")
        let first = try site.sh("openssl x509 -in root -noout -fingerprint")
        #expect(try site.command("rotate").first?.contains("distributing") == true)
        func phase() throws -> String {
            let said = try site.control.ask("GET", "/v1/certificates").text.split(separator: "\"")
            let place = try #require(said.firstIndex(of: "phase"))
            return String(said[place + 2])
        }
        var phases = [try phase()]
        var renewal = Clock.now()
        let deadline = Clock.now() + .seconds(60)
        while phases.last != "steady" {
            let now = Clock.now()
            try #require(now < deadline, "\(phases)")
            let current = try phase()
            // Well before its end, and whenever something has changed.
            if phases.last != current || now >= renewal {
                renewal = now + .seconds(1)
                let renewed = try site.renew()
                #expect(renewed.0 == "200", "\(phases): \(renewed.1)")
                #expect(try site.sh("openssl verify -CAfile root leaf") == ["leaf: OK"])
            }
            if phases.last != current { phases.append(current) }
            Clock.sleep(until: now + .milliseconds(50))
        }
        #expect(phases == ["distributing", "draining", "steady"])
        #expect(try site.renew().0 == "200")
        #expect(try site.sh("openssl x509 -in root -noout -fingerprint") != first)
        #expect(try site.sh("grep -c BEGIN root") == ["1"])
    }

    @Test func revocationAndWhatThereIs() throws {
        let site = try Site()
        let token = try #require(try site.command("token cart --namespace shop").first)
        try site.trust(token)
        try #require(try site.join(token).0 == "200")
        let listed = try site.command("certificates")
        let row = try #require(listed.last).split(separator: " ").map(String.init)
        #expect(row.prefix(3) == ["shop/cart", "cart-1", "valid"])
        #expect(
            try site.command("certificates --revoke \(row[4])").first?.hasPrefix("revoked") == true)
        #expect(try site.renew().0 == "403")
        #expect(try site.command("certificates").last?.contains("revoked") == true)
        #expect(try site.command("token shop/nobody").last?.contains("there is no service") == true)
        // Nothing of it is lost with the process, and its keys are nobody else's to read.
        site.control.kill()
        let again = try RunningControl(
            data: site.control.data, ["--proxies", "127.0.0.1:0"])
        let state = try site.sh(
            "curl -sk https://\(try #require(again.proxies))/v1/authorities | cmp - root")
        #expect(state.isEmpty)
        let modes = try site.sh("stat -c %a data/* | sort -u")
        #expect(modes == ["600"])
    }

    @Test func anIntermediateThatIsHandedIn() throws {
        let scratch = try Scratch()
        _ = try Program.run(
            "sh",
            [
                "-c",
                """
                cd \(scratch.root)
                openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=root \
                  -keyout root.key -out root.pem -addext basicConstraints=critical,CA:TRUE
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=middle \
                  -keyout middle.key -out middle.csr
                printf 'basicConstraints=critical,CA:TRUE,pathlen:0\\nkeyUsage=critical,keyCertSign
                subjectKeyIdentifier=hash\\n' | sed 's/^ *//' > ext
                openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -days 20 \
                  -extfile ext -out middle.pem -set_serial 7
                cat middle.pem root.pem middle.key > issuer.pem; chmod 600 issuer.pem
                """,
            ])
        let site = try Site(["--intermediate", scratch.path("issuer.pem")])
        let token = try #require(try site.command("token shop/cart").first)
        try site.trust(token)
        try #require(try site.join(token).0 == "200")
        #expect(
            try site.sh(
                "openssl verify -CAfile \(scratch.path("root.pem")) -untrusted leaf leaf; "
                    + "cmp root \(scratch.path("root.pem"))") == ["leaf: OK"])
        #expect(try site.renew().0 == "200")
        #expect(try site.command("rotate").last?.contains("handed in") == true)
        _ = try site.sh("chmod 644 \(scratch.path("issuer.pem"))")
        let refused = try site.sh(
            "\(Program.meshbench()) control --data other --listen 127.0.0.1:0 --proxies "
                + "127.0.0.1:0 --intermediate \(scratch.path("issuer.pem")); echo $?")
        #expect(refused.last == "65" && refused.first?.contains("chmod 600") == true)
    }
}
