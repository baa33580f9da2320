// What the tests of this module share: a small valid scenario, and errors as a user sees them.

import Glibc
import Scenario
import Testing

/// The least that is a scenario; tests append to it or replace a line of it.
let minimal = """
    name: small
    services:
      - name: echo
    load:
      - name: main
        to: echo
        rate: 100/s
    phases:
      - name: base
        for: 2s

    """

/// Every error as a user sees it, without the name of the file; empty: the scenario is valid.
func errors(_ text: String, _ overrides: [String] = []) -> [String] {
    do throws(ScenarioError) {
        _ = try ScenarioFile(text: text, file: "f", overrides: overrides)
        return []
    } catch {
        return error.description.split(separator: "\n").map { line in
            line.hasPrefix("f:") ? String(line.dropFirst(2)) : String(line)
        }
    }
}

/// A scenario that must be valid.
func scenario(_ text: String, _ overrides: [String] = []) throws -> ScenarioFile {
    try ScenarioFile(text: text, file: "f", overrides: overrides)
}

/// The root of the package, from the place of this file.
let packageRoot = String(#filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" })

/// A file of the package that cannot be opened.
struct MissingFile: Error { var path: String }

/// A text file of the package.
func packageText(_ path: String) throws -> String {
    guard let file = unsafe fopen("\(packageRoot)/\(path)", "r") else {
        throw MissingFile(path: path)
    }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = unsafe fread(&chunk, 1, chunk.count, file)
        guard count > 0 else { break }
        bytes += chunk[..<count]
    }
    return try #require(String(validating: bytes, as: UTF8.self))
}

/// Holds a text against a file of the package. With MESHBENCH_RECORD=1 the file is written instead:
/// look at the difference before you commit it.
func expectGolden(
    _ text: String, _ path: String, _ location: SourceLocation = #_sourceLocation
) throws {
    if unsafe getenv("MESHBENCH_RECORD") != nil {
        guard let file = unsafe fopen("\(packageRoot)/\(path)", "w") else {
            throw MissingFile(path: path)
        }
        unsafe fputs(text, file)
        unsafe fclose(file)
        return
    }
    let golden = try packageText(path)
    #expect(
        text == golden, "\(path) is stale: MESHBENCH_RECORD=1 swift test", sourceLocation: location)
}

let shipped = [
    "scenarios/quickstart.yaml", "scenarios/istio-reference-point.yaml",
    "scenarios/real-backend.yaml", "scenarios/rates.yaml", "scenarios/control-plane-ha.yaml",
    "scenarios/envoy-in-the-mesh.yaml",
]
