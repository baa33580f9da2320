// Heads as they go out: the start line anew, then the fields as they came, in whole runs of lines,
// without those that concern one connection only (RFC 9110, 7.6.1), then what this proxy adds.

import Base
import Model
import Wire

/// The additions and removals that a configuration asks for, with their bytes at hand. It is never
/// copied: a copy for each head would count the references of all that it holds.
struct HeadWriter: ~Copyable {
    let policy: HeaderPolicy
    /// What stands behind the version in `via`.
    private let pseudonym: [UInt8]

    init(_ policy: HeaderPolicy) {
        self.policy = policy
        pseudonym = Array(" \(policy.via ?? "")".utf8)
    }

    /// Bytes that a head may grow by. Bound: the longest additions together are a host of 261
    /// bytes, a pseudonym of 64, an address of 46, an identifier of 36, and the names of those and
    /// of `te`, `max-forwards`, `date`, `connection` and what is said of attempts: less than 900.
    static let growth = 1024

    /// Writes a request's head.
    /// - Parameters:
    ///   - client: the client's address as text; empty: unknown.
    ///   - passesUpgrade: whether the other protocol that the request asks for is asked for too.
    func write(
        request head: borrowing Head, _ bytes: Bytes, _ edit: HeadEdit,
        _ actions: borrowing RouteActions, client: Bytes, passesUpgrade: Bool,
        cameByHTTP2: Bool, attempt: AttemptFields, random: inout SeededRandom,
        to writer: inout ByteWriter
    ) {
        writer.append(bytes[head.method])
        writer.append(UInt8(ascii: " "))
        if let path = edit.path {
            writer.append(path)
            writer.append(edit.query)
        } else {
            writePath(head, bytes, to: &writer)
        }
        writer.append(" HTTP/1.1\r\n")
        let changesHost = edit.host != nil || edit.marksHost
        if changesHost {
            writer.append("host: ")
            edit.writeHost(bytes[head.authority], to: &writer)
            writer.append("\r\n")
        } else if head.hostField < 0 {
            // HTTP/1.0 without a host: the empty one is what RFC 9112, 3.2, prescribes.
            writer.append("host: ")
            writer.append(bytes[head.authority])
            writer.append("\r\n")
        }
        let appendsForwarded =
            policy.forwardedFor && client.count > 0
            && actions.leaves("x-forwarded-for", edit.fields)
        let maxForwards = head.maxForwards(bytes)
        var hasID = false
        copyFields(head, bytes, edit.fields, actions, to: &writer) { field, _ in
            switch field.name {
            case .host where changesHost: return false
            case .forwardedFor where appendsForwarded: return false
            case .maxForwards where maxForwards != nil: return false
            case .requestID:
                hasID = true
                return true
            case .envoy:
                return !isConsumed(field, bytes, rewrites: edit.path != nil, attempt)
            default: return true
            }
        }
        write(attempt, to: &writer)
        if let maxForwards {
            writer.append("max-forwards: ")
            writer.append(decimal: UInt64(maxForwards - 1))
            writer.append("\r\n")
        }
        if appendsForwarded {
            writer.append("x-forwarded-for: ")
            // One field instead of several: the order of the addresses is what they mean.
            for i in 0..<head.fieldCount where head.fields[i].name == .forwardedFor {
                let field = head.fields[i]
                let value = bytes[field.valueRange]
                guard value.count > 0, !isHopByHop(field, head, bytes) else { continue }
                writer.append(value)
                writer.append(", ")
            }
            writer.append(client)
            writer.append("\r\n")
        }
        if policy.requestID && !hasID && actions.leaves("x-request-id", edit.fields) {
            writer.append("x-request-id: ")
            writeID(&random, to: &writer)
            writer.append("\r\n")
        }
        if edit.path != nil {
            writer.append("x-envoy-original-path: ")
            writePath(head, bytes, to: &writer)
            writer.append("\r\n")
        }
        writeAdded(edit, actions, to: &writer)
        writeVia(head, cameByHTTP2: cameByHTTP2, to: &writer)
        if head.framing == .chunked { writer.append("transfer-encoding: chunked\r\n") }
        if head.acceptsTrailers(bytes) { writer.append("te: trailers\r\nconnection: te\r\n") }
        if passesUpgrade { writeUpgrade(head, bytes, to: &writer) }
        writer.append("\r\n")
    }

    private func writeAdded(
        _ edit: HeadEdit, _ actions: borrowing RouteActions, to writer: inout ByteWriter
    ) {
        for i in edit.fields.adds.indices {
            writer.append(actions.bytes(actions.adds[i].name))
            writer.append(": ")
            writer.append(actions.bytes(actions.adds[i].value))
            writer.append("\r\n")
        }
    }

    /// With the version that the message came in (RFC 9110, 7.6.3).
    private func writeVia(
        _ head: borrowing Head, cameByHTTP2: Bool, to writer: inout ByteWriter
    ) {
        guard policy.via != nil else { return }
        writer.append("via: ")
        writeViaValue(head, cameByHTTP2: cameByHTTP2, to: &writer)
        writer.append("\r\n")
    }

    func writeViaValue(_ head: borrowing Head, cameByHTTP2: Bool, to writer: inout ByteWriter) {
        if cameByHTTP2 {
            writer.append("2")
        } else {
            writer.append("1.")
            writer.append(UInt8(ascii: "0") + head.minorVersion)
        }
        pseudonym.withBytes { writer.append($0) }
    }

    /// The target in origin form; an absolute one may have had no path (RFC 9112, 3.2.1 and 3.2.4).
    @inline(__always)
    private func writePath(
        _ head: borrowing Head, _ bytes: Bytes, to writer: inout ByteWriter
    ) {
        let path = bytes[head.path]
        if path.count == 0 {
            writer.append(bytes[head.method] == "OPTIONS" ? "*" : "/")
        } else if path[0] == UInt8(ascii: "?") {
            writer.append(UInt8(ascii: "/"))
        }
        writer.append(path)
    }

    /// How an answer is delimited on the client's connection.
    enum AnswerFraming {
        /// As the upstream said: its length, or nothing.
        case same
        case chunked
        /// By a length of zero, of which nothing was said.
        case empty
        /// By the end of the connection; a length, if there was one, is dropped.
        case untilClose
    }

    /// Writes an answer's head.
    /// - Parameters:
    ///   - keepAlive: whether the client's connection serves another request afterwards.
    ///   - accept: the `sec-websocket-accept` of a WebSocket that goes on by HTTP/2.
    ///   - date: for a final answer that came without one.
    func write(
        response head: borrowing Head, _ bytes: Bytes, _ edit: HeadEdit,
        _ actions: borrowing RouteActions, framing: AnswerFraming, keepAlive: Bool,
        clientMinorVersion: UInt8, switchesProtocol: Bool, accept: String?, cameByHTTP2: Bool,
        date: borrowing DateLine, attempt: AttemptFields, to writer: inout ByteWriter
    ) {
        writer.append("HTTP/1.1 ")
        writer.append(decimal: UInt64(head.status))
        writer.append(UInt8(ascii: " "))
        writer.append(bytes[head.reason])
        writer.append("\r\n")
        let dropsLength =
            head.status == 204 || head.status < 200 || framing == .chunked || framing == .untilClose
        let changes = head.status < 200 ? RouteActions.Edit() : edit.fields
        var hasDate = head.status < 200 || !actions.leaves("date", changes)
        copyFields(head, bytes, changes, actions, to: &writer) { field, _ in
            if field.name == .date { hasDate = true }
            if field.name == .envoy { return !isReplaced(field, bytes, attempt) }
            return !(field.name == .contentLength && dropsLength)
        }
        write(attempt, to: &writer)
        if !hasDate { date.append(to: &writer) }
        if head.status >= 200 {
            writeAdded(edit, actions, to: &writer)
            edit.limit.write(to: &writer)
        }
        writeVia(head, cameByHTTP2: cameByHTTP2, to: &writer)
        if framing == .chunked { writer.append("transfer-encoding: chunked\r\n") }
        if framing == .empty { writer.append("content-length: 0\r\n") }
        if switchesProtocol {
            writeUpgrade(head, bytes, to: &writer)
            if let accept {
                writer.append("sec-websocket-accept: ")
                writer.append(text: accept)
                writer.append("\r\n")
            }
        } else if head.status >= 200 {
            if !keepAlive {
                writer.append("connection: close\r\n")
            } else if clientMinorVersion == 0 {
                writer.append("connection: keep-alive\r\n")
            }
        }
        writer.append("\r\n")
    }

    /// Copies the fields that go on, in runs as long as possible.
    @inline(__always)
    private func copyFields(
        _ head: borrowing Head, _ bytes: Bytes, _ edit: RouteActions.Edit,
        _ actions: borrowing RouteActions, to writer: inout ByteWriter,
        keep: (Field, Int) -> Bool
    ) {
        var runStart = 0
        var runEnd = 0
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            if isHopByHop(field, head, bytes)
                || !edit.drops.isEmpty && actions.drops(bytes[field.nameRange], edit)
                || !keep(field, i)
            {
                if runEnd > runStart { writer.append(bytes[runStart..<runEnd]) }
                runEnd = 0
                runStart = 0
            } else {
                if runEnd == 0 { runStart = Int(field.start) }
                runEnd = Int(field.end)
            }
        }
        if runEnd > runStart { writer.append(bytes[runStart..<runEnd]) }
    }

    func isHopByHop(_ field: Field, _ head: borrowing Head, _ bytes: Bytes) -> Bool {
        switch field.name {
        case .connection, .transferEncoding, .keepAlive, .proxyConnection, .upgrade, .te:
            return true
        default: break
        }
        guard head.namesMoreHopFields else { return false }
        for i in 0..<head.fieldCount where head.fields[i].name == .connection {
            if TokenList(bytes[head.fields[i].valueRange]).contains(bytes[field.nameRange]) {
                return true
            }
        }
        return false
    }

    private func writeUpgrade(_ head: borrowing Head, _ bytes: Bytes, to writer: inout ByteWriter) {
        writer.append("connection: upgrade\r\n")
        for i in 0..<head.fieldCount where head.fields[i].name == .upgrade {
            let field = head.fields[i]
            writer.append(bytes[Int(field.start)..<Int(field.end)])
        }
    }

    /// A random identifier in the form of a version 4 UUID (RFC 9562, 5.4).
    func writeID(_ random: inout SeededRandom, to writer: inout ByteWriter) {
        let a = random.next()
        let b = random.next()
        writer.append(hex: a >> 32, digits: 8)
        writer.append(UInt8(ascii: "-"))
        writer.append(hex: a >> 16, digits: 4)
        writer.append(UInt8(ascii: "-"))
        writer.append(hex: (a & 0x0FFF) | 0x4000, digits: 4)
        writer.append(UInt8(ascii: "-"))
        writer.append(hex: (b >> 48 & 0x3FFF) | 0x8000, digits: 4)
        writer.append(UInt8(ascii: "-"))
        writer.append(hex: b, digits: 12)
    }
}
