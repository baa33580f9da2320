// The report in a real browser: what a parser of our own accepts, a browser may still complain of.

import FoundationEssentials
import Glibc
import Testing

@testable import Report

@Suite("report.html in headless Chromium", .serialized)
struct BrowserTests {
    @Test(
        "Renders without a word on the console", .timeLimit(.minutes(1)),
        arguments: [SampleVariant.whole, .invalid, .hostile])
    func quiet(variant: SampleVariant) throws {
        let page = variant.result.reportHTML()
        let run = try render(page, named: variant.rawValue)
        #expect(run.console.isEmpty, "\(run.console)")
        // The script ran to its end: it has added the tip, and taken the titles of points into it.
        #expect(run.document.contains("class=\"tip\""))
        let points = page.ranges(of: "class=\"pt ").count
        #expect(points > 0)
        #expect(run.document.ranges(of: "data-tip=\"").count == points)
        #expect(!run.document.contains("alert(1)</script>"))
    }

    @Test("A page that complains is noticed: the test above can fail", .timeLimit(.minutes(1)))
    func noisy() throws {
        let page = SampleVariant.oneRound.result.reportHTML().replacing(
            "\"use strict\";", with: "\"use strict\"; console.error('ouch'); undefinedName();")
        let run = try render(page, named: "noisy")
        #expect(run.console.contains { $0.contains("ouch") })
        #expect(run.console.contains { $0.contains("undefinedName") })
    }

    @Test("Arrow keys walk along a chart's points and show their figures", .timeLimit(.minutes(1)))
    func keyboard() throws {
        // Twice right: the second point of the first chart.
        let press = """
            <script>
            var chart = document.querySelector("svg.chart");
            chart.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
            chart.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
            </script></body>
            """
        let page = SampleVariant.oneRound.result.reportHTML().replacing("</body>", with: press)
        let run = try render(page, named: "keyboard")
        #expect(run.console.isEmpty, "\(run.console)")
        let tip = try #require(run.document.firstMatch(of: /class="tip on"[^>]*>([^<]*)</))
        #expect(tip.1.hasPrefix("direct, p90: "), "\(tip.1)")
        #expect(run.document.ranges(of: " shown\"").count == 1)
    }

    @Test("The network is forbidden by the page itself", .timeLimit(.minutes(1)))
    func sealed() throws {
        let page = SampleVariant.oneRound.result.reportHTML().replacing(
            "\"use strict\";",
            with: "\"use strict\"; new Image().src = 'http://127.0.0.1:9/x.png';")
        let run = try render(page, named: "sealed")
        #expect(run.console.contains { $0.contains("Content Security Policy") })
    }

    @Test("Follows a dark system, and paper is light", .timeLimit(.minutes(1)))
    func darkAndPaper() throws {
        // What the browser makes of the colours, written where the document shows it.
        let page = SampleVariant.oneRound.result.reportHTML().replacing(
            "</body>",
            with: """
                <script>document.body.dataset.ground =
                getComputedStyle(document.body).backgroundColor;</script></body>
                """)
        let light = try render(page, named: "light")
        let dark = try render(
            page, named: "dark", flags: ["--blink-settings=preferredColorScheme=0"])
        #expect(light.document.contains("data-ground=\"rgb(255, 255, 255)\""))
        #expect(dark.document.contains("data-ground=\"rgb(20, 23, 26)\""))
        #expect(light.console.isEmpty && dark.console.isEmpty)
        let file = FileManager.default.temporaryDirectory
            .appending(path: "meshbench-report-\(getpid()).pdf")
        defer { try? FileManager.default.removeItem(at: file) }
        let paper = try render(
            page, named: "paper", flags: ["--print-to-pdf=" + file.path], dumps: false)
        #expect(paper.console.isEmpty, "\(paper.console)")
        let bytes = try Data(contentsOf: file)
        #expect(bytes.starts(with: Array("%PDF-".utf8)) && bytes.count > 20_000)
    }

    struct Rendering {
        var document: String
        /// Lines that the page or the browser wrote to the console.
        var console: [String]
    }

    /// Loads a page and returns the document as it is after its script ran.
    private func render(
        _ page: String, named name: String, flags: [String] = [], dumps: Bool = true
    ) throws -> Rendering {
        let browser = try #require(
            findOnPath(["chromium", "chromium-browser", "google-chrome"]),
            "no Chromium on PATH: scripts/test installs it (apt-get install chromium)")
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "meshbench-report-\(getpid())-" + name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "report.html")
        let log = folder.appending(path: "log")
        let profile = folder.appending(path: "profile")
        try Data(page.utf8).write(to: file)
        let words =
            [
                "timeout", "30", browser, "--headless", "--no-sandbox", "--disable-gpu",
                "--user-data-dir=" + profile.path, "--enable-logging=stderr",
            ] + flags + (dumps ? ["--dump-dom"] : []) + ["file://" + file.path]
        let command = words.map(shellQuoted).joined(separator: " ")
        let document = try output(of: command + " 2>" + shellQuoted(log.path))
        #expect(!dumps || document.contains("</html>"), "Chromium rendered nothing")
        let lines = String(decoding: try Data(contentsOf: log), as: UTF8.self)
            .split(separator: "\n").map(String.init)
        return Rendering(document: document, console: lines.filter { $0.contains("CONSOLE") })
    }

    private func findOnPath(_ names: [String]) -> String? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        for name in names {
            for folder in folders {
                let path = folder + "/" + name
                if FileManager.default.isExecutableFile(atPath: String(path)) {
                    return String(path)
                }
            }
        }
        return nil
    }

    /// Standard output of a shell command.
    private func output(of command: String) throws -> String {
        let stream = unsafe popen(command, "r")
        guard let pipe = unsafe stream else {
            Issue.record("no pipe to \(command)")
            return ""
        }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { buffer in
                unsafe fread(buffer.baseAddress, 1, buffer.count, pipe)
            }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        #expect(unsafe pclose(pipe) == 0, "\(command) failed")
        return String(decoding: bytes, as: UTF8.self)
    }
}
