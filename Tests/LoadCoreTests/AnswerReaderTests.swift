import Base
import Model
import Testing

@testable import LoadCore

@Suite struct AnswerReaderTests {
    struct Case: Sendable {
        var bytes: String
        var status: Int32 = 200
        var keepAlive = true
        var flags: UInt32 = 0
        var toHead = false
        /// The answer ends with the connection.
        var untilClose = false
    }

    static let answers = [
        Case(bytes: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        Case(bytes: "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        Case(bytes: "HTTP/1.1 204 No Content\r\n\r\n", status: 204),
        Case(bytes: "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", status: 304),
        Case(bytes: "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", toHead: true),
        Case(
            bytes: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nx: y\r\n\r\n"),
        Case(
            bytes: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"
                + "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok", status: 201),
        Case(
            bytes: "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            keepAlive: false),
        Case(bytes: "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", keepAlive: false),
        Case(
            bytes: "HTTP/1.1 503 Service Unavailable\r\nX-Response-Flags: UF,UH\r\n"
                + "content-length: 1\r\n\r\n!", status: 503,
            flags: 1 << UInt32(ResponseFlag.UF.index) | 1 << UInt32(ResponseFlag.UH.index)),
        Case(
            bytes: "HTTP/1.1 500 Oops\r\nx-response-flags: QQ\r\ncontent-length: 0\r\n\r\n",
            status: 500, flags: 1 << UInt32(AnswerReader.unknownFlag)),
        Case(
            bytes: "HTTP/1.1 200 OK\r\nx-response-flags: UF\r\ncontent-length: 0\r\n\r\n"),
        Case(
            bytes: "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nto the end",
            keepAlive: false, untilClose: true),
    ]

    /// Reads `pieces`; returns how much was used when the answer was complete.
    static func read(_ pieces: [[UInt8]], _ expected: Case, _ state: inout AnswerState)
        -> AnswerProgress
    {
        var reader = AnswerReader(connections: 1, toHead: expected.toHead)
        var used = 0
        for piece in pieces {
            switch piece.withBytes({ reader.read($0, &state) }) {
            case .partial: used += piece.count
            case .complete(let end): return .complete(used: used + end)
            case .malformed: return .malformed
            }
        }
        return .partial
    }

    @Test("An answer is the same however it is cut in two or three", arguments: answers)
    func everyCut(answer: Case) {
        let bytes = Array(answer.bytes.utf8)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let pieces = [
                    Array(bytes[..<first]), Array(bytes[first..<second]), Array(bytes[second...]),
                ]
                var state = AnswerState()
                let progress = Self.read(pieces, answer, &state)
                if answer.untilClose {
                    #expect(progress == .partial && state.stage == .untilClose)
                } else {
                    #expect(progress == .complete(used: bytes.count), "cut \(first), \(second)")
                }
                #expect(state.status == answer.status)
                #expect(state.keepAlive == answer.keepAlive)
                #expect(state.flags == answer.flags)
            }
        }
    }

    @Test("An answer byte by byte", arguments: answers)
    func byteByByte(answer: Case) {
        let bytes = Array(answer.bytes.utf8)
        var state = AnswerState()
        let progress = Self.read(bytes.map { [$0] }, answer, &state)
        #expect(progress == (answer.untilClose ? .partial : .complete(used: bytes.count)))
    }

    @Test("What follows an answer is not part of it", arguments: answers)
    func surplus(answer: Case) {
        if answer.untilClose { return }
        let bytes = Array(answer.bytes.utf8)
        for cut in [0, 1, 20, bytes.count] {
            var state = AnswerState()
            let pieces = [Array(bytes[..<cut]), Array(bytes[cut...]) + Array("HTTP/1.1".utf8)]
            #expect(Self.read(pieces, answer, &state) == .complete(used: bytes.count))
        }
    }

    @Test(
        "What is no answer is malformed, however it is cut",
        arguments: [
            "HTTP/2 200 OK\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\n\n",
        ])
    func malformed(bytes: String) {
        let bytes = Array(bytes.utf8)
        for cut in 0...bytes.count {
            var state = AnswerState()
            let pieces = [Array(bytes[..<cut]), Array(bytes[cut...])]
            #expect(Self.read(pieces, Case(bytes: ""), &state) == .malformed, "cut \(cut)")
        }
    }

    @Test("A head without an end is malformed once it is too long")
    func endlessHead() {
        var state = AnswerState()
        let line = Array("HTTP/1.1 200 OK\r\n".utf8)
        let field = Array("x: \(String(repeating: "y", count: 1000))\r\n".utf8)
        let pieces = [line] + [[UInt8]](repeating: field, count: 100)
        #expect(Self.read(pieces, Case(bytes: ""), &state) == .malformed)
    }
}
