import Support
import Testing

@testable import Base

@Suite struct RegexTests {
    private static func table(_ pattern: String, findsStates: Bool = true) throws -> RegexTable {
        var builder = RegexTable.Builder(findsStates: findsStates)
        _ = builder.add(try LinearRegex(pattern))
        return RegexTable(builder)
    }

    private static func fits(_ pattern: String, _ text: String) throws -> Bool {
        let states = try table(pattern)
        let threads = try table(pattern, findsStates: false)
        let tabled = (states.tabled, threads.tabled)
        #expect(tabled == (1, 0))
        return Array(text.utf8).withBytes { bytes in
            let fits = (states.matches(0, bytes), threads.matches(0, bytes))
            #expect(fits.0 == fits.1, "\(pattern) on \(text)")
            return fits.0
        }
    }

    @Test(
        arguments: [
            ("/users/[0-9]+", "/users/17", true), ("/users/[0-9]+", "/users/", false),
            ("/users/[0-9]+", "/users/17/x", false), ("a|bc", "bc", true), ("a|bc", "ab", false),
            ("(a|b)*c", "ababc", true), ("", "", true), ("", "a", false), ("a{2,3}", "aa", true),
            ("a{2,3}", "aaaa", false), ("a{2,}", "aaaaa", true), ("a{0}", "", true),
            ("(?i)abc", "aBC", true), ("(?i:a)b", "AB", false), ("(?i)a(?-i)b", "AB", false),
            (".*", "a\nb", false), ("(?s).*", "a\nb", true), (#"\d+\.\d+"#, "1.5", true),
            (#"\d+\.\d+"#, "105", false), ("[^/]+", "a/b", false), ("[[:alpha:]_]+", "a_Z", true),
            ("[[:^digit:]]+", "a1", false), ("[]a]+", "]a]", true), ("[a-]+", "a-", true),
            ("[^]]", "]", false), ("^/a$", "/a", true), (#"\A/a\z"#, "/a", true),
            ("a^b", "ab", false),
            ("(^a|b)+", "abb", true), ("(^a|b)+", "aba", false), ("a$*b", "ab", true),
            (#"\x41\x{42}"#, "AB", true), ("é+", "éé", true), ("é+", "é\u{e8}", false),
            ("a+?b", "aab", true), ("(?P<n>a)b", "ab", true), ("(?:ab)+", "abab", true),
            (#"[\w-]+"#, "a-b_9", true), (#"\W"#, "/", true), ("a*$^", "", true),
            ("a*$^", "a", false),
        ])
    func wholeTextsFit(_ pattern: String, _ text: String, _ fits: Bool) throws {
        #expect(try Self.fits(pattern, text) == fits, "\(pattern) on \(text)")
    }

    @Test(
        arguments: [
            ("(a", 1), ("a)", 2), ("*a", 1), ("a**", 3), ("[a", 1), ("[b-a]", 2), ("a\\", 2),
            (#"(a)\1"#, 4), ("(?=a)", 1), ("(?<!a)b", 1), (#"\bfoo"#, 1), ("a{3,2}", 2),
            ("a{1001}", 2), ("{", 1), ("a{x", 2), ("(?x)a", 3), ("[é]", 2), ("[[:nope:]]", 2),
            (#"\pL"#, 1), (#"\x{100}"#, 1), ("((a{100}){100}){100}", 1),
            ("(?:(?:(?:(?:){1000}){1000}){1000}){1000}", 1),
            ("(?:(?:(?:a{0}){1000}){1000}){1000}", 1),
            (String(repeating: "(", count: 70), 65), (String(repeating: "a", count: 1025), 1),
        ])
    func othersAreRefusedWithTheirPlace(_ pattern: String, _ place: Int) {
        let error = #expect(throws: RegexError.self) { try LinearRegex(pattern) }
        #expect(error?.offset == place - 1, "\(pattern): \(error as Any)")
    }

    @Test(
        arguments: [
            ("/a/b", "/a/b"), ("/a/[0-9]", "/a/"), ("(/a)b", "/ab"), ("/a|/b", ""), ("a*", ""),
            ("^/a.", "/a"), ("/x{3}", "/xxx"), ("(?i)/a", "/"), ("a+", "a"),
        ])
    func whatAllTextsBeginWithIsKnown(_ pattern: String, _ prefix: String) throws {
        #expect(try LinearRegex(pattern).literalPrefix == Array(prefix.utf8))
    }

    private static func find(_ pattern: String, _ text: String) throws -> [String?]? {
        let table = try table(pattern)
        return Array(text.utf8).withBytes { bytes in
            guard table.find(0, bytes, from: 0) else { return nil }
            return (0...2).map { table.group($0).map { bytes[$0].text } }
        }
    }

    /// As RE2, and Python's `re`, prefer them.
    @Test(
        arguments: [
            ("/v([0-9]+)/(.*)", "/v2/a/b", ["/v2/a/b", "2", "a/b"]),
            ("(a|ab)(c|bcd)", "abcd", ["abcd", "a", "bcd"]), ("a*?b", "xaab", ["aab", nil, nil]),
            ("(a*)(a*)", "aa", ["aa", "aa", ""]), ("(a*?)(a*)", "aa", ["aa", "", "aa"]),
            ("(a)|(b)", "b", ["b", nil, "b"]), ("(ab|a)(b?)", "ab", ["ab", "ab", ""]),
            ("x", "abc", nil), ("b$", "ab", ["b", nil, nil]), ("^b", "ab", nil),
            ("(a+|b)+", "aab", ["aab", "b", nil]),
        ] as [(String, String, [String?]?)])
    func theFirstPartIsFoundWithItsGroups(
        _ pattern: String, _ text: String, _ groups: [String?]?
    ) throws {
        #expect(try Self.find(pattern, text) == groups, "\(pattern) on \(text)")
    }

    @Test func substitutionsNameGroups() throws {
        #expect(
            try RegexSubstitution(#"/v\1/\\\2"#, groups: 2).parts
                == [.text(Array("/v".utf8)), .group(1), .text(Array(#"/\"#.utf8)), .group(2)])
        for text in [#"\3"#, #"\x"#, #"\"#] {
            #expect(throws: RegexError.self) { try RegexSubstitution(text, groups: 2) }
        }
    }

    /// What takes ages where it is tried one way after the other.
    @Test(arguments: ["(a+)+b", "(a|a)*b", "(a*)*b", "(.*)(.*)(.*)(.*)b", "(a?){30}a{30}b"])
    func theStepsOfHardTextsAreInProportion(_ pattern: String) throws {
        let regex = try LinearRegex(pattern)
        let table = try Self.table(pattern, findsStates: false)
        for count in [100, 1000, 10_000] {
            let before = table.steps
            let text = Array(repeating: UInt8(ascii: "a"), count: count)
            let fits = text.withBytes { table.matches(0, $0) }
            #expect(!fits)
            // Each instruction is come to from two others at most, for each byte.
            let steps = table.steps - before
            #expect(steps <= 3 * regex.program.count * (count + 1))
        }
    }

    @Test func whatHasTooManyStatesIsRunByThreads() throws {
        // Whether the twelfth byte from the end is an a: 2^12 states.
        let table = try Self.table("(a|b)*a(a|b){11}")
        let tabled = table.tabled
        #expect(tabled == 0)
        let fits = ["abbbbbbbbbbb", "bbbbbbbbbbbb"].map { text in
            Array(text.utf8).withBytes { table.matches(0, $0) }
        }
        #expect(fits == [true, false])
    }

    @Test func expressionsFitWhatTryingEverythingFits() {
        let budget = FuzzBudget.current(seed: 11, steps: 3000)
        if let failure = RegexFuzz.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("expressionsFitWhatTryingEverythingFits"))")
        }
    }
}

enum RegexFuzz {
    /// - Returns: what is wrong; nil: nothing.
    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        for _ in 0..<steps {
            let pattern = pattern(3, &random)
            var parser = RegexParser(pattern)
            guard let node = try? parser.parse() else {
                return "refused: \(pattern)"
            }
            // One that is too large is refused, which the parser cannot know.
            guard let regex = try? LinearRegex(pattern) else { continue }
            let tables = [true, false].map { finds in
                var builder = RegexTable.Builder(findsStates: finds)
                _ = builder.add(regex)
                return Tables(builder)
            }
            for _ in 0..<8 {
                let text = (0..<random.below(9)).map { _ in
                    Array("aab/1\n".utf8)[random.below(6)]
                }
                guard let expected = RegexModel.fits(node, text) else { continue }
                for table in tables where table.fits(text) != expected {
                    return "\(pattern) on \(text): not \(expected)"
                }
                if expected, !text.starts(with: regex.literalPrefix) {
                    return "\(pattern): \(text) does not begin with \(regex.literalPrefix)"
                }
            }
        }
        return nil
    }

    /// A table that stands in an array.
    private final class Tables {
        private let table: RegexTable

        init(_ builder: RegexTable.Builder) { table = RegexTable(builder) }

        func fits(_ text: [UInt8]) -> Bool { text.withBytes { table.matches(0, $0) } }
    }

    private static func pattern(_ depth: Int, _ random: inout SeededRandom) -> String {
        let atoms = ["a", "b", "/", "1", ".", "[ab]", "[^a]", #"\d"#, #"\w"#, "^", "$", "(?s:.)"]
        guard depth > 0 else { return atoms[random.below(atoms.count)] }
        switch random.below(6) {
        case 0: return "(" + pattern(depth - 1, &random) + "|" + pattern(depth - 1, &random) + ")"
        case 1:
            let counts = ["*", "+", "?", "*?", "{2}", "{0,2}", "{1,}", "+?", "{3,4}"]
            return "(?:" + pattern(depth - 1, &random) + ")" + counts[random.below(counts.count)]
        case 2: return "(" + pattern(depth - 1, &random) + ")"
        default: return pattern(depth - 1, &random) + pattern(depth - 1, &random)
        }
    }
}
