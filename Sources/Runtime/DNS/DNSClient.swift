// Questions of ours to a DNS server, one at a time, for a thread that has nothing else to do.

import Base
import Glibc
import Posix
import Wire

/// Asks a DNS server, and waits.
@safe
final class DNSClient {
    private let server: SocketAddress
    private let reactor: Reactor
    // Safety: owned from `init` to `deinit`; views of it live within one call.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: DNSMessage.byteLimit, alignment: 64)

    private static let wakeupToken: UInt64 = 0
    private static let socketToken: UInt64 = 1

    /// - Parameter wakeup: once it is readable nothing is waited for any more.
    init(_ server: SocketAddress, wakeup: Int32) throws(SystemError) {
        self.server = server
        reactor = try Reactor()
        try reactor.add(reading: wakeup, token: Self.wakeupToken)
    }

    deinit { unsafe memory.deallocate() }

    /// The answer to a question, over TCP where it is too long for UDP; nil: there was none.
    func ask(_ question: DNSQuestion, within patience: Duration) -> DNSMessage? {
        let deadline = Clock.now() + patience
        guard let answer = ask(question, overTCP: false, until: deadline) else { return nil }
        guard answer.header.isTruncated else { return answer }
        return ask(question, overTCP: true, until: deadline)
    }

    /// - Returns: false: it was woken.
    func sleep(until deadline: Instant) -> Bool { wait(until: deadline) == .timedOut }

    private enum Event: Equatable {
        case ready
        case timedOut
        case woken
    }

    private func wait(until deadline: Instant) -> Event {
        while true {
            let now = Clock.now()
            guard now < deadline else { return .timedOut }
            let count = reactor.wait(until: deadline, now: now)
            for index in 0..<count where reactor.ready(index).token == Self.wakeupToken {
                return .woken
            }
            if count > 0 { return .ready }
        }
    }

    private func ask(
        _ question: DNSQuestion, overTCP: Bool, until deadline: Instant
    ) -> DNSMessage? {
        var query = DNSMessage(
            id: UInt16.random(in: 0...UInt16.max), question, recursionDesired: true)
        query.extension = DNSExtension(payload: UInt16(DNSMessage.usualPayload))
        let bytes = query.encoded()
        guard let socket = connect(overTCP: overTCP) else { return nil }
        defer { Socket.close(socket) }
        var output =
            overTCP ? [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes : bytes
        var input: [UInt8] = []
        // Bound: the deadline; over TCP, a message behind its length.
        while input.count < 2 + DNSMessage.byteLimit {
            if !output.isEmpty {
                switch output.withBytes({ Socket.send(socket, $0) }) {
                case .bytes(let count): output.removeFirst(count)
                case .wouldBlock: break
                case .closed, .failed: return nil
                }
            }
            switch unsafe Socket.receive(socket, into: memory) {
            case .wouldBlock:
                guard wait(until: deadline) == .ready else { return nil }
            case .failed: return nil
            case .closed:
                // Over UDP it was a datagram without bytes.
                if overTCP { return nil }
            case .bytes(let count):
                let part = unsafe Array(memory[..<count])
                if !overTCP {
                    if let answer = answer(part, to: query) { return answer }
                    continue
                }
                input += part
                guard input.count >= 2 else { continue }
                let length = Int(input[0]) << 8 | Int(input[1])
                if input.count >= 2 + length {
                    return answer(Array(input[2..<2 + length]), to: query)
                }
            }
        }
        return nil
    }

    private func connect(overTCP: Bool) -> Int32? {
        do throws(SystemError) {
            let socket = try overTCP ? Socket.connect(to: server) : Datagram.connect(to: server)
            do throws(SystemError) {
                try reactor.add(socket, token: Self.socketToken)
            } catch {
                Socket.close(socket)
                return nil
            }
            return socket
        } catch {
            return nil
        }
    }

    private func answer(_ bytes: [UInt8], to query: DNSMessage) -> DNSMessage? {
        do throws(DNSError) {
            let answer = try DNSMessage(bytes)
            let isOurs =
                answer.header.isResponse && answer.header.id == query.header.id
                && answer.questions == query.questions
            return isOurs ? answer : nil
        } catch {
            return nil
        }
    }
}
