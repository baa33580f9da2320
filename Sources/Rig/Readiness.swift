import Base
import Glibc
import Model
import Posix

extension CommandPlan.Readiness {
    /// Whether a server on this machine's `port` is ready now. Takes at most some two seconds.
    func holds(port: UInt16) -> Bool {
        guard let socket = connect(to: port) else { return false }
        defer { Socket.close(socket) }
        switch self {
        case .tcp: return true
        case .http(let path):
            let request =
                "GET \(path) HTTP/1.1\r\nhost: 127.0.0.1:\(port)\r\nconnection: close\r\n\r\n"
            let answer = exchange(Array(request.utf8), on: socket)
            return status(answer).map { $0 < 400 } ?? false
        }
    }
}

/// The status of `HTTP/1.1 200 OK`: the digits after the first space. The words after it may be
/// missing, with the space before them.
func status(_ answer: [UInt8]) -> Int? {
    guard answer.starts(with: Array("HTTP/".utf8)) else { return nil }
    let rest = answer.prefix(64).drop { $0 != UInt8(ascii: " ") }.dropFirst()
    let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    return Int(String(decoding: digits, as: UTF8.self))
}

/// A connection with a limit on sending; nil if it was refused.
private func connect(to port: UInt16) -> Int32? {
    guard let socket = try? Socket.connect(to: .loopback(port: port)) else { return nil }
    // To this machine, a connection is settled within the call itself.
    guard Socket.error(of: socket) == 0, (try? Socket.peerAddress(of: socket)) != nil else {
        Socket.close(socket)
        return nil
    }
    _ = fcntl(socket, F_SETFL, 0)
    var limit = timeval(tv_sec: 1, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    unsafe setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    return socket
}

/// Sends `request` and reads the first bytes of the answer, enough for the status line of any
/// server that is ready.
private func exchange(_ request: [UInt8], on socket: Int32) -> [UInt8] {
    // One for all that is read: a server that sends a byte a second is not ready.
    let deadline = Clock.now() + .seconds(1)
    guard unsafe send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count
    else { return [] }
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 256)
    while answer.count < 12, waitReadable([socket], for: deadline - Clock.now()) == [true] {
        let count = unsafe recv(socket, &buffer, buffer.count, 0)
        if count <= 0 { break }
        answer += buffer[..<count]
    }
    return answer
}
