// The tree against the rules. What each rule catches is shown in RuleTests.

import Testing

@Suite struct TreeTests {
    let tree: Tree

    init() throws { tree = try Tree.current.get() }

    private func expectNone(_ violations: [Violation]) {
        #expect(
            violations.isEmpty,
            "\(violations.map(\.description).joined(separator: "\n"))")
    }

    @Test func theTreeIsThere() {
        #expect(tree.files("swift", under: "Sources/").count > 10)
        #expect(tree.files["Package.swift"] != nil)
    }

    @Test func importsGoDownOnly() {
        expectNone(tree.files(".swift", under: "Sources/").flatMap { importViolations($0) })
    }

    @Test func packageFollowsTheTable() throws {
        let package = targets(ofPackage: try #require(tree.files["Package.swift"]).text)
        #expect(Set(package.keys) == Set(Layer.table.keys))
        for (name, dependencies) in package {
            let allowed = Layer.table[name]?.mayImport ?? []
            #expect(
                dependencies.isSubset(of: allowed),
                "\(name) depends on \(dependencies.subtracting(allowed).sorted())")
        }
        let folders = Set(
            tree.files.values.compactMap { file in
                file.path.hasPrefix("Sources/") ? file.module : nil
            })
        #expect(folders == Set(Layer.table.keys))
    }

    @Test func theTableItselfHoldsTheRule() {
        for (name, layer) in Layer.table {
            for other in layer.mayImport {
                #expect((Layer.table[other]?.level ?? .max) < layer.level, "\(name) on \(other)")
            }
        }
        for core in Layer.cores {
            let row = Layer.table[core]
            #expect(row?.mayImport.contains("Posix") == false)
            #expect(row?.mayImport.isDisjoint(with: Layer.cores) == true)
            #expect(row?.system.isEmpty == true)
        }
    }

    @Test func filesLinesAndFunctionsAreShort() {
        let swift = tree.files(".swift")
        let scripts = tree.files.values.filter { $0.path.hasPrefix("scripts/") }
        let c = tree.files(".c") + tree.files(".h")
        expectNone((swift + scripts + c).flatMap { sizeViolations($0) })
        expectNone(swift.flatMap { functionViolations($0) })
    }

    @Test func noBannedWord() {
        expectNone(tree.files("").flatMap { wordingViolations($0) })
        expectNone(tree.files(".swift").flatMap { namingViolations($0) })
    }

    @Test func pagesHaveOneTitleAndLinksThatLead() {
        let pages = tree.files(".md")
        #expect(!pages.isEmpty)
        expectNone(pages.flatMap { titleViolations($0) })
        expectNone(
            pages.flatMap { linkViolations($0, in: tree.files, folders: tree.folders) })
    }

    @Test func decisionsAreDatedAndListed() throws {
        let index = try #require(tree.files["docs/decisions/README.md"])
        let decisions = tree.files(".md", under: "docs/decisions/0")
        #expect(decisions.count > 30)
        expectNone(decisions.flatMap { decisionViolations($0, index: index) })
    }

    @Test func whatTheSemanticsNameIsThere() throws {
        let page = try #require(tree.files["docs/SEMANTICS.md"])
        #expect(semanticsRows(page).count > 30)
        expectNone(semanticsViolations(page, in: tree.files))
    }

    @Test(.enabled(if: Tree.isClone, "an archive has no list of tracked files"))
    func nothingGeneratedIsTracked() throws {
        let tracked = try #require(Tree.tracked(), "git ls-files failed")
        #expect(tracked.contains("Package.swift"))
        #expect(tracked.filter(isGenerated) == [])
    }
}
