import FoundationEssentials
import Model
import Scenario
import Support
import Testing

/// Declarations whose mesh is elsewhere.
@Suite struct MeshExcerptTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func write(_ text: String, _ name: String) throws -> String {
        let path = scratch.path(name)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// What it refers to may be elsewhere; what it has wrong by itself may not.
    @Test func eachMustBeRightByItself() throws {
        let route = "kind: route\nname: r\nto: [cart]\n"
        let path = try write(route, "a.yaml")
        #expect(try MeshExcerpt(paths: [path]).declarations.map(\.key.path) == ["routes/default/r"])
        let wrong = try write(
            "kind: route\nname: r\nto: [{service: cart, weight: 0}]\n---\nkind: service\n",
            "b.yaml")
        let error = #expect(throws: MeshFilesError.self) { _ = try MeshExcerpt(paths: [wrong]) }
        #expect(error?.findings.map { $0.place?.line } == [3, 5])
        #expect(error?.isUnreadable == false)
        let absent = #expect(throws: MeshFilesError.self) {
            _ = try MeshExcerpt(paths: [path, scratch.path("c.yaml")])
        }
        #expect(absent?.isUnreadable == true)
        let twice = #expect(throws: MeshFilesError.self) {
            _ = try MeshExcerpt(paths: [path, write(route, "d.yaml")])
        }
        #expect(twice?.description.hasPrefix("\(scratch.path("d.yaml")):2:7: ") == true)
    }

    /// In the order of files and places, those of other declarations last.
    @Test func problemsFindTheirPlaces() throws {
        let first = try write("kind: service\nname: web\n", "a.yaml")
        let second = try write(
            "- {kind: service, name: db}\n- kind: route\n  name: r\n  to:\n    - web\n    - crat\n",
            "b.yaml")
        let excerpt = try MeshExcerpt(paths: [second, first])
        func problem(_ key: String, _ path: [String]) throws -> MeshProblem {
            MeshProblem(key: try #require(MeshKey(path: key)), path: path, "no")
        }
        let findings = excerpt.findings(of: [
            try problem("services/default/other", ["name"]),
            try problem("services/default/web", []),
            try problem("routes/default/r", ["to", "1", "service"]),
            try problem("routes/default/r", ["to", "7"]),
        ])
        #expect(
            findings.text == """
                \(second):5:5: no
                \(second):6:7: no
                \(first):1:1: no
                service default/other: name: no
                """)
    }

    /// What people are shown of a declaration can be declared as it is.
    @Test func theTextReadsBack() throws {
        for (index, text) in try meshExamples().enumerated() {
            let excerpt = try MeshExcerpt(paths: [write(text, "\(index).yaml")])
            #expect(!excerpt.declarations.isEmpty)
            for declaration in excerpt.declarations {
                let again = try MeshDeclaration(text: declaration.text, file: "f")
                #expect(again == declaration)
            }
        }
    }
}
