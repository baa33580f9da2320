// A client that takes a message apart by the book and by no code of the program's: what it shares
// with what it tests is the socket.

import Base
import Glibc
import Posix
import Testing

/// One connection to a server on this machine.
final class AppClient {
    let socket: Int32
    private var buffer: [UInt8] = []
    private var isOpen = true

    struct Answer: Equatable {
        var status: Int
        /// In lower case, with the status line.
        var head: String
        var body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }

        func field(_ name: String) -> String? {
            head.split(separator: "\r\n").first { $0.hasPrefix(name + ": ") }
                .map { String($0.dropFirst(name.count + 2)) }
        }
    }

    init(_ address: SocketAddress) throws {
        socket = try Socket.connect(to: address)
        #expect(wait(for: POLLOUT), "no connection")
        try #require(Socket.error(of: socket) == 0)
    }

    /// The other end: the connection that `listener` accepts next.
    init(accepting listener: Int32) throws {
        var poll = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        try #require(unsafe Glibc.poll(&poll, 1, 20_000) > 0, "nobody connected")
        guard case .connection(let accepted, _) = Socket.accept(listener) else {
            throw SystemError("accept")
        }
        socket = accepted
    }

    deinit { if isOpen { Socket.close(socket) } }

    /// A request's head, empty line included.
    func requestHead() -> String? {
        take(through: "\r\n\r\n").map { String(decoding: $0, as: UTF8.self) }
    }

    /// Ends the connection at once, as a client that is killed.
    func reset() {
        Socket.close(socket, reset: true)
        isOpen = false
    }

    func endSending() { Socket.endSending(socket) }

    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let transfer = bytes.withBytes { Socket.send(socket, $0[sent..<bytes.count]) }
            switch transfer {
            case .bytes(let count): sent += count
            case .wouldBlock:
                guard wait(for: POLLOUT) else { return }
            default: return
            }
        }
    }

    /// The next answer; nil where the connection ends before one is complete.
    func answer(toHead: Bool = false) -> Answer? {
        guard let head = take(through: "\r\n\r\n") else { return nil }
        let text = String(decoding: head, as: UTF8.self).lowercased()
        let words = text.split(separator: " ")
        guard words.count > 1, let status = Int(words[1]) else { return nil }
        var answer = Answer(status: status, head: text, body: [])
        if toHead || status < 200 || status == 204 || status == 304 { return answer }
        if answer.field("transfer-encoding") == "chunked" {
            while let line = take(through: "\r\n"),
                let size = Int(String(decoding: line.dropLast(2), as: UTF8.self), radix: 16)
            {
                guard let data = take(size), take(through: "\r\n") == [13, 10] else { return nil }
                if size == 0 { return answer }
                answer.body += data
            }
            return nil
        }
        guard let length = answer.field("content-length").flatMap({ Int($0) }),
            let body = take(length)
        else { return nil }
        answer.body = body
        return answer
    }

    /// Whether the server has ended the connection, with nothing unread before that.
    func isAtEnd() -> Bool { buffer.isEmpty && !receive() && buffer.isEmpty }

    private func take(through mark: String) -> [UInt8]? {
        let mark = Array(mark.utf8)
        var searched = 0
        while true {
            while searched + mark.count <= buffer.count {
                if Array(buffer[searched..<searched + mark.count]) == mark {
                    return take(searched + mark.count)
                }
                searched += 1
            }
            guard receive() else { return nil }
        }
    }

    private func take(_ count: Int) -> [UInt8]? {
        while buffer.count < count {
            guard receive() else { return nil }
        }
        defer { buffer.removeFirst(count) }
        return Array(buffer[0..<count])
    }

    private func receive() -> Bool {
        guard wait(for: POLLIN) else { return false }
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        let transfer = unsafe chunk.withUnsafeMutableBytes {
            unsafe Socket.receive(socket, into: $0)
        }
        guard case .bytes(let count) = transfer else { return false }
        buffer += chunk[0..<count]
        return true
    }

    /// Bound: 20 s, so that a hang is a failure.
    private func wait(for events: Int32) -> Bool {
        var poll = pollfd(fd: socket, events: Int16(events), revents: 0)
        return unsafe Glibc.poll(&poll, 1, 20_000) > 0
    }
}
