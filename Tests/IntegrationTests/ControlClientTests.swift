// The commands that ask a control plane, and the control plane, both as processes.

import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// What a command came to.
private struct Said: Equatable {
    var code: ProcessEnd?
    var lines: [String]
    var errors: [String]
}

@Suite struct ControlClientTests {
    let scratch: Scratch
    let control: RunningControl

    init() throws {
        scratch = try Scratch()
        control = try RunningControl(data: scratch.path("data"))
    }

    private var whom: [String] {
        ["--server", "http://\(control.address)", "--token-file", "\(control.data)/token"]
    }

    private func start(_ words: [String], errors: String = "watch") throws -> Process {
        try Process(
            ProcessCommand(
                name: "control", program: Program.meshbench(),
                arguments: ["control"] + words + whom, output: .pipe,
                errorLog: scratch.path(errors)))
    }

    private func run(_ words: String...) throws -> Said {
        let errors = "\(UUID())"
        let process = try start(words, errors: errors)
        var lines: [String] = []
        while let line = try Program.nextLine(of: process) {
            lines.append(String(decoding: line, as: UTF8.self))
        }
        let end = process.wait(until: Clock.now() + RawConnection.patience)
        return Said(code: end, lines: lines, errors: tail(of: scratch.path(errors), lines: 20))
    }

    /// The examples of docs/MESH.md, a file each, in a folder.
    private func examples() throws -> (folder: String, count: Int) {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(
            contentsOfFile: root.appending(path: "docs/MESH.md").path, encoding: .utf8)
        let folder = scratch.path("mesh")
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        var count = 0
        for (index, part) in text.split(separator: "```yaml\n").dropFirst().enumerated() {
            let example = part.prefix { $0 != "`" }
            count += example.split(separator: "\n").count { $0.hasPrefix("kind:") }
            try String(example).write(
                toFile: "\(folder)/\(index).yaml", atomically: true, encoding: .utf8)
        }
        return (folder, count)
    }

    @Test func theLifeOfAMesh() throws {
        let (folder, count) = try examples()
        try #require(count > 10)
        let watch = try start(["watch", "--after", "0"])
        let dry = try run("apply", folder, "--dry-run")
        #expect(dry.lines.last == "\(count) created; nothing was changed (--dry-run)", "\(dry)")
        let applied = try run("apply", folder)
        #expect(applied.code == .exited(0), "\(applied)")
        #expect(applied.lines.count == count + 1)
        #expect(applied.lines.last == "\(count) created; revision 1")
        #expect(try run("apply", folder, "--prune").lines == ["\(count) unchanged; revision 1"])

        #expect(try run("get").lines.count == count + 1)
        #expect(
            try run("services").lines == [
                "NAMESPACE  NAME        PROTOCOL  MTLS    HEALTHY  ZONES",
                "data       db          tcp       strict  0/0      -",
                "shop       cart        http2     strict  3/3      a, b, c",
                "shop       cart-next   http2     strict  0/0      -",
                "shop       cart-trial  http1     strict  0/0      -",
                "shop       limits      http2     strict  0/0      -",
                "shop       web         http1     strict  0/0      -",
            ])
        let one = try run("get", "endpoint", "shop/cart-2").lines.joined(separator: "\n")
        #expect(one.contains("\"address\": \"127.0.0.1:9002\""))
        try one.write(toFile: scratch.path("one.yaml"), atomically: true, encoding: .utf8)
        #expect(try run("apply", scratch.path("one.yaml")).lines == ["1 unchanged; revision 1"])

        let deleted = try run("delete", "endpoint", "cart-2", "--namespace", "shop")
        #expect(deleted.lines == ["deleted  endpoints/shop/cart-2; revision 2"])
        #expect(try run("get", "endpoint", "shop/cart-2").code == .exited(1))
        let status = try run("status").lines
        #expect(status.contains("revision  2"), "\(status)")
        #expect(status.contains("watches   1"), "\(status)")

        var seen: [String] = []
        while seen.count <= count, let line = try Program.nextLine(of: watch) {
            seen.append(String(decoding: line, as: UTF8.self))
        }
        #expect(seen.count { $0.hasPrefix("1  put  ") } == count)
        #expect(seen.last == "2  delete  endpoints/shop/cart-2")
        watch.send(SIGINT)
        #expect(watch.wait(until: Clock.now() + RawConnection.patience) == .exited(0))
    }

    @Test func whatIsRefused() throws {
        let (folder, _) = try examples()
        #expect(try run("apply", folder).code == .exited(0))
        let path = scratch.path("route.yaml")
        try "kind: route\nname: r\nnamespace: shop\nto:\n  - web\n  - crat\n".write(
            toFile: path, atomically: true, encoding: .utf8)
        let wrong = try run("apply", path)
        #expect(wrong.code == .exited(65) && wrong.lines.isEmpty)
        #expect(
            wrong.errors == ["\(path):6:5: unknown service 'crat'; did you mean 'cart'?"])
        let needed = try run("delete", "service", "shop/cart")
        #expect(needed.code == .exited(65), "\(needed)")
        #expect(needed.errors.contains { $0.hasPrefix("endpoint shop/cart-1: service: ") })
        #expect(try run("status").lines.contains("revision  1"))
        #expect(try run("get", "servces").code == .exited(64))
        try "0123456789abcdef0123456789abcdef".write(
            toFile: scratch.path("other"), atomically: true, encoding: .utf8)
        let stranger = try Program.run(
            Program.meshbench(),
            ["control", "get", "--server", whom[1], "--token-file", scratch.path("other")])
        #expect(stranger.end == .exited(1) && stranger.lines.isEmpty)
        let early = try run("watch", "--after", "99")
        #expect(early.code == .exited(1), "\(early)")
        #expect(early.errors.contains { $0.contains("(status 410)") })
    }

    /// Whoever watches is told that nothing more will come.
    @Test func aControlPlaneThatStops() throws {
        let watch = try start(["watch", "--json", "--after", "0"])
        #expect(try run("apply", examples().folder).code == .exited(0))
        let line = try #require(try Program.nextLine(of: watch))
        #expect(String(decoding: line, as: UTF8.self).hasPrefix("{\"revision\":1,\"changes\":["))
        control.process.send(SIGTERM)
        #expect(watch.wait(until: Clock.now() + RawConnection.patience) == .exited(1))
        let after = try run("status")
        #expect(after.code == .exited(1))
        #expect(after.errors.last?.contains("cannot connect to \(control.address)") == true)
    }
}
