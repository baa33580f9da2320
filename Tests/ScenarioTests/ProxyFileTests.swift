import Base
import Model
import Scenario
import Testing

@Suite struct ProxyFileTests {
    private let least = """
        listeners:
          - {name: in, address: "127.0.0.1:8080"}
        routes:
          - cluster: app
        clusters:
          - {name: app, endpoints: ["127.0.0.1:9000"]}

        """

    private func errors(_ text: String) -> [String] {
        do throws(ScenarioError) {
            _ = try ProxyFile.parse(text, file: "f")
            return []
        } catch {
            return error.description.split(separator: "\n").map { String($0.dropFirst(2)) }
        }
    }

    /// As many routes and endpoints as a file may have can be read as such.
    @Test func theLargestTablesAreRead() throws {
        let routes = (0..<10_000).map { "  - {prefix: /service-\($0), cluster: app}\n" }
        let endpoints = (0..<65_536).map { "127.\($0 >> 14).\($0 >> 7 & 127).\($0 & 127):9000" }
        let text =
            least.replacing("  - cluster: app\n", with: routes.joined())
            .replacing("127.0.0.1:9000", with: endpoints.joined(separator: "\",\""))
        let configuration = try ProxyFile.parse(text, file: "f")
        #expect(configuration.routes.count == 10_000)
        #expect(configuration.clusters[0].endpoints.map(\.address) == endpoints)
    }

    /// The defaults of the file are those of the model.
    @Test func defaultsAreTheModels() throws {
        #expect(
            try ProxyFile.parse(least, file: "f")
                == ProxyConfiguration(
                    listeners: [.init(name: "in", address: "127.0.0.1:8080")],
                    routes: [.init(cluster: "app")],
                    clusters: [.init(name: "app", endpoints: ["127.0.0.1:9000"])]))
    }

    private var full: ProxyConfiguration {
        ProxyConfiguration(
            listeners: [
                .init(name: "in", address: "127.0.0.1:0"), .init(name: "in-6", address: "[::1]:80"),
            ],
            routes: [
                .init(
                    hosts: ["a.example", "*.example.org"], path: .exact("/a/b"),
                    methods: ["GET", "HEAD"],
                    headers: [
                        .init(name: "x-canary", value: "1"), .init(name: "x-debug", value: nil),
                    ],
                    cluster: "app", timeout: .microseconds(1500)),
                .init(path: .prefix("/b"), cluster: "app", timeout: .zero),
            ],
            clusters: [
                .init(
                    name: "app", endpoints: ["127.0.0.1:9000", "[fe80::1]:1"],
                    connectTimeout: .milliseconds(1),
                    breaker: .init(standard: .init(connections: 7, pending: 0)))
            ],
            admin: "127.0.0.1:9901", accessLog: "-", workers: 4,
            limits: .init(headBytes: 2048, headerCount: 3, targetBytes: 300, connections: 9),
            timeouts: .init(
                request: .zero, idle: .seconds(1), head: .seconds(2), streamIdle: .seconds(3),
                drain: .nanoseconds(1_000_000_001)),
            headers: .init(via: "mb", forwardedFor: true, requestID: true))
    }

    @Test func everythingSaidArrives() throws {
        let text = """
            {
              "listeners": [
                {"name": "in", "address": "127.0.0.1:0"}, {"name": "in-6", "address": "[::1]:80"}
              ],
              "routes": [
                {"hosts": ["a.example", "*.example.org"], "path": "/a/b",
                 "methods": ["GET", "HEAD"],
                 "headers": {"X-Canary": "1", "x-debug": {"present": true}},
                 "cluster": "app", "timeout": "1.5ms"},
                {"prefix": "/b", "cluster": "app", "timeout": "0s"}
              ],
              "clusters": [
                {"name": "app", "endpoints": ["127.0.0.1:9000", "[fe80::1]:1"],
                 "connect_timeout": "1ms", "breaker": {"connections": 7, "pending": 0}}
              ],
              "admin": "127.0.0.1:9901", "access_log": "-", "workers": 4,
              "limits": {"head": "2KiB", "headers": 3, "target": "300B", "connections": 9},
              "timeouts": {"request": "0s", "idle": "1s", "head": "2s", "stream_idle": "3s",
                           "drain": "1000000001ns"},
              "headers": {"via": "mb", "forwarded_for": true, "request_id": true}
            }
            """
        #expect(try ProxyFile.parse(text, file: "f") == full)
    }

    /// What the proxies of a mesh are told beside.
    @Test func whatMeshesNeedArrivesAndReadsBack() throws {
        let text = """
            listeners:
              - name: in
                address: "127.0.0.1:8080"
                cluster: app
                tls:
                  certificate: a.pem
                  key: a.key
                  authorities: ca.pem
                  client_certificate: optional
                permissive: true
                authorization:
                  deny: [{prefixes: [/debug]}, {headers: {X-Debug: {present: true}}}]
                  allow:
                    - identities: ["*/sa/web"]
                      methods: [GET]
                      ports: [8080]
                    - {namespaces: [shop]}
              - {name: closed, address: "127.0.0.1:0", cluster: app, authorization: {allow: []}}
              - {name: out, address: "127.0.0.1:8081"}
            routes:
              - {cluster: app, mirror: [{cluster: next, percent: 5%, mark_host: false}]}
              - clusters: [{cluster: app, weight: 9}, {cluster: next}, {cluster: off, weight: 0}]
            clusters:
              - name: app
                endpoints: ["127.0.0.1:9000", {address: "127.0.0.1:9001", weight: 3}]
                request_timeout: 2s
                idle_timeout: 1m
                stream_idle_timeout: 3s
                max_stream_duration: 4s
                max_connection_duration: 5s
                requests_per_connection: 6
              - {name: next, endpoints: [], request_timeout: 0s}
              - {name: "off", endpoints: []}
            """
        let tls = ServerTLS(
            certificate: "a.pem", key: "a.key", authorities: "ca.pem",
            clientCertificate: .optional)
        let web = try #require(IdentityPattern(rawValue: "*/sa/web"))
        var whole = ProxyConfiguration(
            listeners: [
                .init(
                    name: "in", address: "127.0.0.1:8080", cluster: "app", tls: tls,
                    isPermissive: true,
                    authorization: .init(
                        deny: [
                            .init(prefixes: ["/debug"]),
                            .init(headers: [.init(name: "x-debug", value: nil)]),
                        ],
                        allow: [
                            .init(identities: [web], methods: ["GET"], ports: [8080]),
                            .init(namespaces: ["shop"]),
                        ])),
                .init(
                    name: "closed", address: "127.0.0.1:0", cluster: "app",
                    authorization: .init(allow: [])),
                .init(name: "out", address: "127.0.0.1:8081"),
            ],
            routes: [
                .init(cluster: "app"),
                .init(shares: [.init("app", weight: 9), .init("next"), .init("off", weight: 0)]),
            ],
            clusters: [
                .init(
                    name: "app",
                    endpoints: ["127.0.0.1:9000", .init("127.0.0.1:9001", weight: 3)],
                    requestTimeout: .seconds(2), idleTimeout: .seconds(60)),
                .init(name: "next", endpoints: [], requestTimeout: .zero),
                .init(name: "off", endpoints: []),
            ])
        whole.routes[0].mirrors = [RequestMirror("next", percent: 5, marksHost: false)]
        whole.clusters[0].streamIdleTimeout = .seconds(3)
        whole.clusters[0].maxStreamDuration = .seconds(4)
        whole.clusters[0].maxConnectionDuration = .seconds(5)
        whole.clusters[0].requestsPerConnection = 6
        #expect(try ProxyFile.parse(text, file: "f") == whole)
        #expect(try ProxyFile.parse(ProxyFile.text(whole), file: "f") == whole)
    }

    @Test func whatIsWrittenReadsBack() throws {
        #expect(try ProxyFile.parse(ProxyFile.text(full), file: "f") == full)
        let other = try ProxyFile.parse(least, file: "f")
        #expect(try ProxyFile.parse(ProxyFile.text(other), file: "f") == other)
    }

    @Test func certificatesArriveAndReadBack() throws {
        let text = least.replacing(
            "8080\"}",
            with: """
                8080", tls: {certificate: a.pem, key: a.key, \
                certificates: [{certificate: b.pem, key: b.key}]}}
                """)
        let read = try ProxyFile.parse(text, file: "f")
        #expect(
            read.listeners[0].tls
                == ServerTLS(
                    certificate: "a.pem", key: "a.key",
                    certificates: [.init(certificate: "b.pem", key: "b.key")]))
        #expect(try ProxyFile.parse(ProxyFile.text(read), file: "f") == read)
    }

    @Test(arguments: [
        ("[{certificate: b}]", "3:61: the key 'key' is missing"),
        ("[{key: b}]", "3:61: the key 'certificate' is missing"),
        ("b.pem", "3:60: a list is needed, not 'b.pem'"),
        (
            "[{certificate: b, key: b, names: [b.test]}]",
            "3:86: unknown key 'names'"
        ),
        (
            "[" + String(repeating: "{certificate: b, key: b}, ", count: 257) + "]",
            "3:60: at most 256 items are needed here, not 257"
        ),
    ])
    func wrongCertificates(list: String, error: String) {
        let tls = ",\n    tls: {certificate: a.pem, key: a.key,    certificates: \(list)}}"
        let text = least.replacing("8080\"}", with: "8080\"" + tls)
        #expect(errors(text) == [error])
    }

    @Test(
        arguments: [
            (
                "127.0.0.1:8080", "localhost:8080",
                """
                2:25: an address such as 127.0.0.1:8080 or [::1]:8080 is needed, not \
                'localhost:8080'
                """
            ),
            (
                "127.0.0.1:8080", "127.0.0.1",
                "2:25: an address such as 127.0.0.1:8080 or [::1]:8080 is needed, not '127.0.0.1'"
            ),
            (
                "127.0.0.1:8080", "127.0.0.1:65536",
                "2:25: a port from 0 to 65535 is needed, not '65536'"
            ),
            (
                "127.0.0.1:8080", "::1:80",
                "2:25: an address such as 127.0.0.1:8080 or [::1]:8080 is needed, not '::1:80'"
            ),
            ("127.0.0.1:9000", "127.0.0.1:0", "6:29: a port from 1 to 65535 is needed, not '0'"),
            (
                "127.0.0.1:9000", "127.0.0.300:1",
                """
                6:29: an address such as 127.0.0.1:8080 or [::1]:8080 is needed, not \
                '127.0.0.300:1'
                """
            ),
            ("cluster: app", "cluster: ap", "4:14: unknown cluster 'ap'; did you mean 'app'?"),
            (
                "cluster: app", "clster: app",
                """
                4:5: unknown key 'clster'; did you mean 'cluster'?\n4:5: the key 'cluster' is \
                missing
                """
            ),
            ("cluster: app", "clusters: app", "4:15: a list is needed, not 'app'"),
            (
                "cluster: app", "{cluster: app, clusters: [{cluster: app}]}",
                "4:20: 'clusters' has no meaning beside 'cluster'"
            ),
            (
                "cluster: app", "clusters: [{cluster: app, weight: 0}]",
                "4:15: every weight is 0: nobody would answer"
            ),
            (
                "cluster: app", "clusters: [{cluster: app}, {cluster: app}]",
                "4:42: there is already a share of 'app', on line 4"
            ),
            (
                "cluster: app", "clusters: [{cluster: app}, {cluster: ap}]",
                "4:42: unknown cluster 'ap'; did you mean 'app'?"
            ),
            (
                "\"127.0.0.1:9000\"", "{address: \"127.0.0.1:9000\", weight: 0}",
                "6:65: '0' is less than 1, the least allowed here"
            ),
            (
                "8080\"}", "8080\", permissive: true}",
                "2:43: 'permissive' has no meaning without 'tls'"
            ),
            (
                "8080\"}",
                "8080\", protocol: tcp, cluster: app, authorization: {deny: [{paths: [/a]}]}}",
                """
                2:87: a tcp listener knows no methods, paths or headers: such a rule never holds
                """
            ),
            (
                "8080\"}", "8080\", authorization: {allow: [{namespaces: [shop]}]}}",
                """
                2:58: this listener asks no client for a certificate (`tls.client_certificate`): \
                a rule about identities never holds
                """
            ),
            (
                "8080\"}", "8080\", authorization: {allow: [{identities: [web]}]}}",
                """
                2:81: a SPIFFE id, or the beginning or end of such with a *, is needed, not 'web'
                """
            ),
            (
                "cluster: app", "{cluster: app, path: /a, prefix: /b}",
                "4:30: 'prefix' has no meaning beside 'path'"
            ),
            (
                "cluster: app", "{cluster: app, regex: '/a', prefix: /b}",
                "4:41: 'prefix' has no meaning beside 'regex'"
            ),
            (
                "cluster: app", "{cluster: app, hosts: [A.example]}",
                "4:28: a host in lower case, without port, is needed, not 'A.example'"
            ),
            (
                "cluster: app", "{cluster: app, hosts: ['a:80']}",
                "4:28: a host in lower case, without port, is needed, not 'a:80'"
            ),
            (
                "cluster: app", "{cluster: app, headers: {x: {present: false}}}",
                "4:33: one of present, absent, exact, prefix, suffix, contains, regex, or from and "
                    + "to is needed"
            ),
            (
                "cluster: app", "{cluster: app, headers: {X-A: b, x-a: c}}",
                "4:38: there is already a field 'x-a', on line 4"
            ),
            (
                "clusters:", "clusters:\n  - {name: app, endpoints: []}",
                "7:12: there is already a cluster 'app', on line 6"
            ),
            (
                "routes:", "  - {name: b, address: \"127.0.0.1:8080\"}\nroutes:",
                "3:24: there is already a listener at '127.0.0.1:8080', on line 2"
            ),
            ("routes:", "workers: 0\nroutes:", "3:10: '0' is less than 1, the least allowed here"),
            (
                "routes:", "limits: {head: 1B}\nroutes:",
                "3:16: '1B' is less than 1024B, the least allowed here"
            ),
            (
                "routes:", "timeouts: {idle: 0s}\nroutes:",
                "3:18: '0s' is less than 1ms, the least allowed here"
            ),
            (
                "routes:", "timeouts: {idel: 1s}\nroutes:",
                "3:12: unknown key 'idel'; did you mean 'idle'?"
            ),
            (
                "routes:", "headers: {via: 'a b'}\nroutes:",
                "3:16: a name of letters, digits, . - and _ is needed, not 'a b'"
            ),
        ] as [(String, String, String)])
    func wrongFiles(part: String, other: String, error: String) {
        let text = least.replacing(part, with: other)
        #expect(errors(text).joined(separator: "\n") == error)
    }
}
