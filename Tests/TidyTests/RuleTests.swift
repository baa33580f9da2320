// Planted violations: each rule must catch what it is there for, and let pass what only looks like
// it.

import Testing

private func source(_ text: String, path: String = "Sources/ProxyCore/X.swift") -> SourceText {
    SourceText(path: path, text: text)
}

@Suite struct RuleTests {
    @Test(arguments: [
        ("import Base", []),
        ("public import Wire\nimport Glibc", []),
        ("import Posix", ["ProxyCore may not import Posix"]),
        ("public import LoadCore", ["ProxyCore may not import LoadCore"]),
        ("@testable import Runtime", ["ProxyCore may not import Runtime"]),
        ("import struct Foundation.Data", ["ProxyCore may not import Foundation"]),
        ("import FoundationEssentials", ["ProxyCore may not import FoundationEssentials"]),
        ("import Base; import Rig", ["ProxyCore may not import Rig"]),
        ("// import Posix", []),
        ("/* \n import Posix \n */", []),
        ("let text = \"\"\"\n    import Posix\n    \"\"\"", []),
    ])
    func imports(text: String, expected: [String]) {
        #expect(importViolations(source(text)).map(\.what) == expected)
    }

    @Test func aModuleOutsideTheTableIsRefused() {
        let file = source("import Base", path: "Sources/Novel/X.swift")
        #expect(importViolations(file).map(\.what) == ["module Novel is not in the table"])
    }

    @Test func packageTargetsAreRead() {
        let text = """
            .target(name: "CShims"),
            .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
            module("Model", ["Base"]),
            module(
                "Wire", ["Base", "CShims"]),
            .executableTarget(
                name: "tool",
                dependencies: ["Model"],
                swiftSettings: settings),
            .target(name: "Support", dependencies: ["Base"], path: "Tests/Support"),
            tests("BaseTests", ["Base"]),
            """
        #expect(
            targets(ofPackage: text) == [
                "CShims": [], "CZlib": [], "Model": ["Base"], "Wire": ["Base", "CShims"],
                "tool": ["Model"],
            ])
    }

    @Test func strings() {
        #expect(source("a \"b // c\" d // e").code == "a \"      \" d     ")
        #expect(source("\"\\(x + \"y\")z\"").code == "\"\\(x + \" \") \"")
        #expect(source("#\"a\"b\"# c").code == "#\"   \"# c")
        #expect(source("/* a /* b */ c */ d").code == "                  d")
    }

    @Test func longLinesAndFiles() {
        let line = String(repeating: "a", count: 101)
        #expect(sizeViolations(source("x\n\(line)\n")).map(\.line) == [2])
        #expect(sizeViolations(source(String(line.dropLast()))) == [])
        #expect(sizeViolations(source(String(repeating: "a\n", count: 500))) == [])
        #expect(sizeViolations(source(String(repeating: "a\n", count: 501))).map(\.line) == [501])
    }

    @Test func functionsAreMeasuredFromBraceToBrace() {
        let text = """
            protocol P {
                func required() -> Int
                init(x: Int)
            }
            func short() { print("}") }
            struct S {
                init(a: [Int] = [1, 2]) {
                    // }
                    self.init(b: 1)
                }
                static func == (a: S, b: S) -> Bool {
                    true
                }
                func wrapped<T>(
                    _ t: T
                ) throws -> [T]
                where T: P
                {
                    func inner() {
                    }
                }
                deinit {
                }
            }
            """
        #expect(
            functions(in: source(text)) == [
                .init(name: "short", line: 5, lines: 1), .init(name: "init", line: 7, lines: 4),
                .init(name: "", line: 11, lines: 3), .init(name: "wrapped", line: 14, lines: 4),
                .init(name: "inner", line: 19, lines: 2),
                .init(name: "deinit", line: 22, lines: 2),
            ])
    }

    @Test(arguments: [(93, 0), (94, 1)])
    func longFunctions(statements: Int, violations: Int) {
        let body = String(repeating: "    x()\n", count: statements)
        #expect(functionViolations(source("func f() {\n\(body)}\n")).count == violations)
    }

    @Test(arguments: [
        ("let x = try! f()", 1), ("let x = 1 // try! f()", 0), ("fatalError(\"no\")", 1),
        ("print(\"fatalError(\")", 0), ("// TO" + "DO later", 1), ("\"/ro" + "ot/x\"", 1),
        ("let path = \"tests/\"", 0),
    ])
    func bannedWords(text: String, violations: Int) {
        #expect(wordingViolations(source(text)).count == violations)
    }

    @Test func testsMayCrash() {
        #expect(wordingViolations(source("try! f()", path: "Tests/A/X.swift")) == [])
    }

    @Test(arguments: [
        ("struct PoolManager {", 1), ("enum TimeUtil {", 1), ("final class SocketImpl: P {", 1),
        ("struct Manageress {", 0), ("let x = PoolManager()", 0), ("// struct AHelper", 0),
    ])
    func names(text: String, violations: Int) {
        #expect(namingViolations(source(text)).count == violations)
    }

    @Test(arguments: [
        ("# One\n\ntext\n", 0), ("text\n", 1), ("\n# Late\n", 1), ("# One\n# Two\n", 1),
        ("# One\n```sh\n# a comment\n```\n", 0), ("# One\n\n    # code\n", 0), ("## Low\n", 1),
    ])
    func titles(text: String, violations: Int) {
        #expect(titleViolations(source(text, path: "docs/A.md")).count == violations)
    }

    @Test(arguments: [
        ("# 1. One\n\n*2026-11-29*\n", 0), ("# 1. One\n\n*2026-11-29; but*\n", 0),
        ("# 1. One\n\n## Context\n", 1), ("# 1. One\n", 1), ("# 1. Two\n\n*2026-11-29*\n", 1),
        ("# 1. Two\n\nLate\n", 2),
    ])
    func decisions(text: String, violations: Int) {
        let index = source("# D\n\n| 1 | [One](0001-one.md) |\n", path: "docs/decisions/README.md")
        let page = source(text, path: "docs/decisions/0001-one.md")
        #expect(decisionViolations(page, index: index).count == violations)
    }

    @Test(arguments: [
        ("[b](B.md)", 0), ("[b](sub/C.md)", 0), ("[r](../README.md#how-to-read-it)", 0),
        ("[self](#one)", 0), ("[web](https://example.org/x)", 0), ("[folder](sub)", 0),
        ("`[code](none.md)`", 0), ("[gone](none.md)", 1), ("[no](B.md#nowhere)", 1),
        ("[out](../../etc/passwd)", 1), ("![image](none.png)", 1), ("[a](B.md) [c](C.md)", 1),
    ])
    func links(text: String, violations: Int) {
        let page = source("# One\n\n\(text)\n", path: "docs/A.md")
        let pages = [
            page, source("# B\n", path: "docs/B.md"), source("# C\n", path: "docs/sub/C.md"),
            source("# R\n\n## How to read it?\n", path: "README.md"),
        ]
        let tree = [String: SourceText](uniqueKeysWithValues: pages.map { ($0.path, $0) })
        let found = linkViolations(page, in: tree, folders: ["docs", "docs/sub"])
        #expect(found.count == violations, "\(found)")
    }

    @Test(arguments: [
        ("open", 0), ("scenario `one`", 0), ("`ATests.OneTests`, open: more", 0), ("", 1),
        ("scenario `two`", 1), ("`ATests.TwoTests`", 1), ("`OneTests`", 1),
        ("scenario `one`, `BTests.OneTests`", 1),
    ])
    func proofs(cell: String, violations: Int) {
        let page = source("# S\n\n| 1 | `a` | A | x | 1 | `k` | \(cell) |\n", path: "docs/S.md")
        let files = [
            page, source("name: one\n", path: "scenarios/resilience/one.yaml"),
            source("struct OneTests {}\n", path: "Tests/ATests/One.swift"),
        ]
        let tree = [String: SourceText](uniqueKeysWithValues: files.map { ($0.path, $0) })
        #expect(semanticsRows(page).count == 1)
        let found = semanticsViolations(page, in: tree)
        #expect(found.count == violations, "\(found)")
    }

    @Test(arguments: [
        ("results/.gitkeep", false), ("results/quickstart/result.json", true),
        (".build/release/meshbench", true), ("scripts/__pycache__/a.pyc", true),
        ("Sources/CShims/shims.o", true), ("Tests/Fixtures/report.html", false),
        ("Package.resolved", true), ("Sources/Base/Time.swift", false),
    ])
    func generated(path: String, expected: Bool) {
        #expect(isGenerated(path) == expected)
    }
}
