// The files in which processes write down what they do and see: read into the book when the turn
// is over, and kept in the results.

import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Report

/// What an access log says of one exchange; see docs/PROXY.md.
struct AccessLine: Decodable {
    var requestID: String?
    var status: Int
    var flags: String
    var details: String
    var attempts: Int
    var cluster: String?
    var durationUs: Int64

    private enum CodingKeys: String, CodingKey {
        case status, flags, details, attempts, cluster
        case requestID = "request_id"
        case durationUs = "duration_us"
    }

    var hasFault: Bool { flags.split(separator: ",").contains { $0 == "FI" || $0 == "DI" } }
}

extension FaultBook {
    /// Lines of a file that are held against the ledger: as many as a generator writes. More are
    /// not looked at, and what would stand in them is not missed.
    static let mostLines = 2_000_000

    /// Reads all of it and draws the conclusions.
    /// - Parameters:
    ///   - outcomes: files in which generators have written what became of each request.
    ///   - mirrored: services that are sent what others were asked for, too.
    mutating func read(
        _ traces: [TraceKind: [String: String]], outcomes: [String], mirrored: Set<String> = []
    ) {
        for (process, path) in (traces[.ledger] ?? [:]).sorted(by: { $0.key < $1.key }) {
            let decoder = JSONDecoder()
            forEachLine(of: path, atMost: Self.mostEntries) { line in
                guard let line = try? decoder.decode(FaultLedgerLine.self, from: line) else {
                    return
                }
                add(line, of: process)
            }
        }
        balance()
        checkJoint()
        let logs = (traces[.access] ?? [:]).mapValues { AccessTrace($0, of: requests) }
        for (process, log) in logs.sorted(by: { $0.key < $1.key })
        where traces[.ledger]?[process] != nil {
            compare(process, with: log)
        }
        compareApplications(logs)
        checkArrivals(logs, besides: mirrored)
        let (ends, isWhole) = ends(in: outcomes)
        for process in (traces[.ledger] ?? [:]).keys.sorted() {
            match(
                process, against: "what the load has seen",
                counts: traces[.access]?[process] == nil, isWhole: isWhole
            ) { id, line in
                guard let told = ends[id] else { return nil }
                // Behind retries the load sees what the last attempt came to.
                guard line.point == .clientEgress, let status = line.abortHTTP else { return true }
                return told == 0 || told == status
            }
        }
    }

    /// What became of the requests that stand in ledgers, by their ids; and whether all files were
    /// looked at to their ends.
    private func ends(in files: [String]) -> ([String: Int], isWhole: Bool) {
        var ends: [String: Int] = [:]
        var isWhole = true
        let wanted = requests
        for file in files {
            var count = 0
            forEachLine(of: file, atMost: Self.mostLines) { line in
                count += 1
                let words = String(decoding: line, as: UTF8.self).split(
                    separator: " ", omittingEmptySubsequences: false)
                guard words.count == 4, let status = Int(words[2]),
                    wanted.contains(String(words[0]))
                else { return }
                ends[String(words[0])] = status
            }
            if count == Self.mostLines { isWhole = false }
        }
        return (ends, isWhole)
    }

    /// Writes what is kept: the ledger, and access logs up to a bound.
    func write(to folder: ResultsFolder) throws(RigError) {
        guard !entries.isEmpty else { return }
        var text: [UInt8] = []
        for entry in entries {
            text += try jsonLine(entry)
            text.append(UInt8(ascii: "\n"))
        }
        text.removeLast()
        try folder.append(text, to: ResultsFolder.ledgerFile)
    }
}

extension ResultsFolder {
    /// The file of what was done on purpose, one line for each thing.
    static let ledgerFile = "ledger.jsonl"
    /// Bytes of the access log of each process of an arm, over all rounds, that are kept.
    static let mostAccessBytes = 16 << 20

    /// Keeps what fits of the access logs of a turn.
    func keepAccessLogs(_ files: [String: String], arm: ArmName) throws(RigError) {
        for (process, path) in files.sorted(by: { $0.key < $1.key }) {
            let kept =
                try folder("access") + "/\(arm.rawValue)-\(fileName(process)).jsonl"
            var room = Self.mostAccessBytes - fileSize(kept)
            var text: [UInt8] = []
            var isCut = false
            forEachLine(of: path, atMost: .max) { line in
                guard room >= line.count + 1 else {
                    isCut = true
                    return
                }
                room -= line.count + 1
                text += line
                text.append(UInt8(ascii: "\n"))
            }
            if isCut { room = 0 }
            if !text.isEmpty { try Rig.write(text, to: kept, flags: O_APPEND) }
        }
    }
}

private func fileSize(_ path: String) -> Int {
    var facts = stat()
    return unsafe stat(path, &facts) == 0 ? Int(facts.st_size) : 0
}

/// Hands out the lines of a file one by one, up to so many; none where there is no such file.
func forEachLine(of path: String, atMost limit: Int, _ body: (Data) -> Void) {
    guard let file = FileManager.default.contents(atPath: path) else { return }
    var count = 0
    for line in file.split(separator: UInt8(ascii: "\n")) where count < limit {
        body(line)
        count += 1
    }
}
