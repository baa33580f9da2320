import Base
import Model
import Scenario
import Support
import Testing

// Two twins. Random declarations within the limits: none has a problem of its own, and their text
// reads back as the same. And random damage to texts of declarations: whatever comes out, it is
// read or refused with at least one error, at places that exist, within bounds; what is read is the
// same when its JSON is read again.

/// Writes and reads so many random declarations, all from one seed.
func fuzzMeshValues(_ budget: FuzzBudget) throws {
    var random = SeededRandom(seed: budget.seed)
    for step in 0..<budget.steps {
        let value = MeshDeclaration.random(&random)
        let again = "at step \(step). Again: \(budget.rerun("MeshValueFuzz"))"
        #expect(value.problems == [], "\(again)\n\(value)")
        do throws(MeshFilesError) {
            let read = try MeshDeclaration(text: value.json, file: "f")
            #expect(read == value, "\(again)\n\(value.json)")
            #expect(read.json == value.json, "\(again)")
        } catch {
            Issue.record("\(error.description)\n\(again)\n\(value.json)")
        }
    }
}

/// Reads so many damaged meshes, all from one seed.
func fuzzMeshFiles(_ budget: FuzzBudget) throws {
    var random = SeededRandom(seed: budget.seed)
    let examples = try meshExamples()
    let corpus = examples.map(Array.init)
    // Onto the undamaged mesh, so that much is accepted.
    var before = MeshState()
    for text in examples {
        before = try MeshFiles(texts: [.init(file: "f", text)], onto: before).state
    }
    var accepted = 0
    for step in 0..<budget.steps {
        let texts = (0...random.below(3)).map { number in
            let text = damaged(corpus[random.below(corpus.count)], &random)
            return MeshFiles.Text(file: "\(number)", text)
        }
        func fail(_ why: String) {
            Issue.record(
                """
                \(why) at step \(step). Again: \(budget.rerun("MeshFuzz"))
                \(texts.map(\.text).joined(separator: "\n#####\n"))
                """)
        }
        do throws(MeshFilesError) {
            let files = try MeshFiles(texts: texts, onto: before)
            accepted += 1
            if !files.state.check().isEmpty { fail("accepted with problems") }
            let json = files.declarations.map { "---\n\($0.json)\n" }.joined()
            let again = try MeshFiles(texts: [.init(file: "json", json)], onto: before)
            if again.declarations != files.declarations { fail("the JSON differs") }
        } catch {
            if error.findings.isEmpty { fail("refused without a reason") }
            if error.findings.count > Limits.diagnostics { fail("too many errors") }
            for finding in error.findings where finding.file != nil {
                guard let number = finding.file.flatMap({ Int($0) }), let place = finding.place
                else {
                    fail("an error without a place: \(error.description)")
                    continue
                }
                let lines = texts[number].text
                    .split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
                if place.line > lines.count + 1 || place.source != .file {
                    fail("an error nowhere: \(error.description)")
                }
            }
        }
    }
    #expect(accepted * 20 > budget.steps, "of \(budget.steps) only \(accepted) accepted")
}

/// Every example of docs/MESH.md.
func meshExamples() throws -> [String] {
    try packageText("docs/MESH.md").split(separator: "```yaml\n").dropFirst().compactMap {
        $0.split(separator: "\n```").first.map { $0 + "\n" }
    }
}

private func damaged(_ text: [Character], _ random: inout SeededRandom) -> String {
    var characters = text
    for _ in 0..<random.below(5) {
        let at = random.below(characters.count + 1)
        switch random.below(5) {
        case 0: characters.removeSubrange(at..<min(at + random.below(20), characters.count))
        case 1: characters.insert(contentsOf: words[random.below(words.count)], at: at)
        case 2 where at < characters.count:
            characters[at] = Character(UnicodeScalar(UInt8(random.below(256))))
        case 3:
            let from = random.below(characters.count + 1)
            let piece = characters[from..<min(from + random.below(100), characters.count)]
            characters.insert(contentsOf: Array(piece), at: at)
        default:
            // A word takes the place of a value.
            guard let colon = characters[at...].firstIndex(of: ":") else { continue }
            let end = characters[colon...].firstIndex { $0.isNewline || $0 == "," }
            characters.replaceSubrange(
                colon..<(end ?? characters.count), with: ": " + words[random.below(words.count)])
        }
    }
    return String(characters)
}

private let words = [
    "\n---\n", "...\n", "- ", "[", "]", "{}", "[{}]", "&a ", "*a", "null", "~", "''", "\"", "\t",
    "kind: route\n", "name: cart\n", "cart", "shop/cart", "*", "*/*", "*/cart", "/", "a/b/c",
    "strict", "tcp", "off", "0", "-1", "1000001", "99999999999999999999", "0s", "1h", "1ns",
    "127.0.0.1:80", "[::1]:0", "spiffe://", "spiffe://meshbench.test/x", "*/sa/web", "**",
    "http: /a?b", "{present: true}", "{present: false}", "{X-A: b, x-a: c}", "é", "\u{0}",
    "\u{85}", "\u{2028}", String(repeating: "a", count: 64),
]

@Suite struct MeshFuzzTests {
    @Test func damagedDeclarations() throws { try fuzzMeshFiles(.current(steps: 1500)) }
}

@Suite struct MeshValueFuzzTests {
    @Test func randomDeclarations() throws { try fuzzMeshValues(.current(steps: 1500)) }
}

// MARK: - Random values

extension MeshDeclaration {
    fileprivate static func random(_ random: inout SeededRandom) -> MeshDeclaration {
        let (name, namespace) = (random.label(), random.label())
        switch random.below(5) {
        case 0:
            let speech = random.one(of: MeshService.Speech.allCases)
            return .service(
                .init(
                    name, in: namespace, speech: speech,
                    mtls: random.one(of: MeshService.MutualTLS.allCases),
                    identity: random.maybe {
                        SPIFFEID(MeshName($0.label(), in: $0.label()), trustDomain: $0.label())
                    } ?? nil,
                    health: random.maybe { $0.health(speech) },
                    calls: random.maybe { $0.list(0...5) { $0.target() } }))
        case 1:
            return .endpoint(
                .init(
                    name, in: namespace, service: random.label(),
                    address: random.one(of: ["127.0.0.1:1", "[::1]:65535", "[fe80::1]:80"]),
                    zone: random.maybe { $0.label() },
                    weight: 1 + random.below(MeshLimits.weight),
                    health: random.one(of: MeshEndpoint.Health.allCases)))
        case 2: return .route(random.route(name, namespace))
        case 3:
            return .policy(
                .init(
                    name, in: namespace, targets: random.list(1...5) { $0.target() },
                    timeouts: .init(
                        connect: random.maybe { $0.span(MeshLimits.connectTimeout) },
                        request: random.span(MeshLimits.timeout),
                        idle: random.maybe { $0.span(MeshLimits.positiveTimeout) }),
                    breaker: .init(
                        connections: random.maybe { 1 + $0.below(MeshLimits.connections) },
                        pending: random.maybe { $0.below(MeshLimits.connections + 1) })))
        default:
            let action = random.one(of: MeshAuthorization.Action.allCases)
            return .authorization(
                .init(
                    name, in: namespace, action, targets: random.list(1...5) { $0.target() },
                    rules: random.list((action == .deny ? 1 : 0)...4) { $0.rule() }))
        }
    }
}

extension SeededRandom {
    fileprivate mutating func one<Item>(of items: [Item]) -> Item { items[below(items.count)] }

    fileprivate mutating func maybe<Item>(_ make: (inout SeededRandom) -> Item) -> Item? {
        below(2) == 0 ? nil : make(&self)
    }

    fileprivate mutating func list<Item>(
        _ count: ClosedRange<Int>, _ make: (inout SeededRandom) -> Item
    ) -> [Item] {
        (0..<(count.lowerBound + below(count.count))).map { _ in make(&self) }
    }

    fileprivate mutating func text(_ letters: String, _ count: ClosedRange<Int>) -> String {
        let letters = Array(letters)
        return String(list(count) { $0.one(of: letters) })
    }

    fileprivate mutating func label() -> String {
        let ends = "abcxyz0189"
        if below(20) == 0 { return one(of: ["null", "true", "1e3", "0x10", "no"]) }
        return text(ends, 1...1)
            + (below(2) == 0 ? "" : text(ends + "-", 0...61) + text(ends, 1...1))
    }

    fileprivate mutating func target() -> MeshName {
        switch below(4) {
        case 0: MeshName("*", in: "*")
        case 1: MeshName("*", in: label())
        default: MeshName(label(), in: label())
        }
    }

    fileprivate mutating func span(_ range: ClosedRange<Duration>) -> Duration {
        let units: [Int64] = [1, 1000, 1_000_000, 1_000_000_000]
        let span = Duration(nanoseconds: Int64(below(100_000)) * one(of: units))
        return min(max(span, range.lowerBound), range.upperBound)
    }

    fileprivate mutating func health(_ speech: MeshService.Speech) -> MeshHealthCheck {
        var probes: [MeshHealthCheck.Probe] = [.tcp, .http(path: path())]
        if speech == .http2 { probes.append(.grpc(service: text("ab./ é\"\\\n🙂", 0...9))) }
        let timeout = span(Duration.milliseconds(1)...Duration.seconds(3600))
        return .init(
            one(of: probes), interval: max(timeout, span(MeshLimits.healthInterval)),
            timeout: timeout, healthyThreshold: 1 + below(100), unhealthyThreshold: 1 + below(100))
    }

    fileprivate mutating func path() -> String {
        "/" + text("abZ09-._~%20/:@!$&'()*+,;=\"{}", 0...9)
    }

    /// One that servers read in one way only.
    fileprivate mutating func rulePath() -> String {
        "/" + text("abZ09-_~:@!$&'()*+,=\"{}", 1...5) + one(of: ["", "/", "%20", "/a.b"])
    }

    fileprivate mutating func methods() -> [String] {
        list(0...3) { $0.one(of: ["GET", "PUT", "NO", "NULL"]) }
    }

    fileprivate mutating func headers() -> [ProxyConfiguration.HeaderMatch] {
        let names = Set(list(0...3) { $0.text("abx-_.!#$%&'*+^`|~0", 1...5) })
        return names.sorted().map { name in
            .init(
                name: name,
                value: maybe { random in
                    random.text("a:'\"\\{}[]é🙂\u{A0}#*&!\u{FEFF}", 0...5)
                        .trimming(while: \.isWhitespace)
                })
        }
    }

    fileprivate mutating func route(_ name: String, _ namespace: String) -> MeshRoute {
        var services: Set<MeshName> = []
        var destinations = list(1...4) { random in
            MeshRoute.Destination(
                .init(random.label(), in: random.label()),
                weight: random.below(MeshLimits.weight + 1))
        }
        .filter { services.insert($0.service).inserted }
        destinations[0].weight = 1
        return .init(
            name, in: namespace,
            hosts: list(0...3) { $0.one(of: ["a", "*.b.c", "1.2.3.4", "[::1]", "null", "_x.y"]) },
            matches: list(1...4) { random in
                let path = random.path()
                return .init(
                    path: random.below(2) == 0 ? .exact(path) : .prefix(path),
                    methods: random.methods(), headers: random.headers())
            },
            destinations: destinations, timeout: maybe { $0.span(MeshLimits.timeout) })
    }

    fileprivate mutating func rule() -> MeshAuthorization.Rule {
        let patterns = [
            "*", "*/x", "spiffe://a/*", "spif*", "spiffe://a.b/c", "spiffe://a/ns/b/sa/c",
        ]
        let identities = list(0...3) { $0.one(of: patterns) }
        return .init(
            identities: identities.compactMap(IdentityPattern.init(rawValue:)),
            namespaces: identities.isEmpty ? list(0...2) { $0.label() } : [], methods: methods(),
            paths: list(0...2) { $0.rulePath() }, prefixes: list(0...2) { $0.rulePath() },
            headers: headers(), ports: list(0...3) { 1 + $0.below(65_535) })
    }
}

extension String {
    /// Without what `condition` holds for at either end.
    fileprivate func trimming(while condition: (Character) -> Bool) -> String {
        String(
            String(drop(while: condition).reversed()).drop(while: condition).reversed())
    }
}
