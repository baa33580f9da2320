// The heads of HTTP/2, made into the text of HTTP/1.1. Whatever a message came as, it is read by
// one parser (`Head`) under one grammar, and forwarded by one writer: what HTTP/1.1 would refuse
// cannot come in by way of HTTP/2 (RFC 9113, 10.3).
//
// Pseudo-fields come first, so the fields' lines are written behind a gap, and the start line is
// then put right before them: nothing is moved.

public import Base

/// Collects one header block at a time. The blocks of a connection never mix (RFC 9113, 4.3), but a
/// block may come in pieces: one that is in the middle of a block is for one connection.
@safe
public final class HeadAssembler {
    /// What a header block came to.
    @frozen
    public enum Assembled {
        /// The head of a request or an answer.
        case head(Bytes)
        /// Lines of fields behind a body.
        case trailers(Bytes)
        /// To be answered with the error's status, or reset.
        case invalid(HeadError)
    }

    private enum Pseudo: Int, CaseIterable {
        case method, scheme, authority, path, `protocol`, status
    }

    // Safety: allocated in `init`, freed in `deinit`, written through `ByteWriter`s only.
    private let text: UnsafeMutableRawBufferPointer
    private let values: UnsafeMutableRawBufferPointer
    private let cookie: UnsafeMutableRawBufferPointer
    private let gap: Int
    private let listLimit: Int

    private var textEnd = 0
    private var valuesEnd = 0
    private var cookieEnd = 0
    private var pseudo: [Range<Int>?]
    private var listBytes = 0
    private var error: HeadError?
    private var hasLength = false
    private var hasHost = false
    private var hasKey = false
    /// A field that has no place behind a body (RFC 9110, 6.5.1).
    private var framesOrRoutes = false

    /// How far beyond its limit a header list is unpacked before the connection is given up.
    static let patience = 8

    public init(_ limits: HeadLimits) {
        // The start line and `host`: a method of 32 bytes, the target, a host of 261.
        gap = limits.targetBytes + 512
        listLimit = limits.headBytes
        unsafe text = .allocate(byteCount: gap + limits.headBytes + 512, alignment: 16)
        unsafe values = .allocate(byteCount: gap, alignment: 16)
        unsafe cookie = .allocate(byteCount: limits.headBytes, alignment: 16)
        pseudo = [Range<Int>?](repeating: nil, count: Pseudo.allCases.count)
    }

    deinit {
        unsafe text.deallocate()
        unsafe values.deallocate()
        unsafe cookie.deallocate()
    }

    /// A header block begins.
    public func begin() {
        textEnd = gap
        valuesEnd = 0
        cookieEnd = 0
        for i in pseudo.indices { pseudo[i] = nil }
        listBytes = 0
        error = nil
        hasLength = false
        hasHost = false
        hasKey = false
        framesOrRoutes = false
    }

    /// Takes one field.
    /// - Returns: false: the block is so far beyond its limit that nothing more is worth doing for
    ///   this peer.
    public func add(_ name: Bytes, _ value: Bytes) -> Bool {
        // RFC 9113, 6.5.2: what an entry counts for.
        listBytes += name.count + value.count + 32
        guard listBytes <= listLimit else {
            error = error ?? .headTooLarge
            return listBytes <= listLimit * Self.patience
        }
        if name.count > 0, name[0] == UInt8(ascii: ":") {
            keep(name, value)
        } else {
            addRegular(name, value)
        }
        return true
    }

    private func keep(_ name: Bytes, _ value: Bytes) {
        let kind: Pseudo
        switch name.count {
        case 5 where name == ":path": kind = .path
        case 7 where name == ":method": kind = .method
        case 7 where name == ":scheme": kind = .scheme
        case 7 where name == ":status": kind = .status
        case 9 where name == ":protocol": kind = .protocol
        case 10 where name == ":authority": kind = .authority
        default:
            error = error ?? .badFieldName
            return
        }
        var out = unsafe ByteWriter(values, count: valuesEnd)
        out.append(value)
        guard !out.overflowed else {
            error = error ?? (kind == .path ? .targetTooLong : .headTooLarge)
            return
        }
        pseudo[kind.rawValue] = valuesEnd..<out.count
        valuesEnd = out.count
    }

    private func addRegular(_ name: Bytes, _ value: Bytes) {
        switch name.count {
        case 2 where name == "te": framesOrRoutes = true
        case 4 where name == "host": return addHost(value)
        case 6 where name == "cookie": return addCookie(value)
        case 6 where name == "expect": framesOrRoutes = true
        case 7 where name == "trailer": framesOrRoutes = true
        case 14 where name == "content-length": hasLength = true
        case 17 where name == "sec-websocket-key": hasKey = true
        default: break
        }
        line(name, value)
    }

    private func line(_ name: Bytes, _ value: Bytes) {
        var out = unsafe ByteWriter(text, count: textEnd)
        out.append(name)
        out.append(": ")
        out.append(value)
        out.append("\r\n")
        guard !out.overflowed else {
            error = error ?? .headTooLarge
            return
        }
        textEnd = out.count
    }

    /// `host` beside `:authority` must say the same (RFC 9113, 8.3.1); alone it stands for it.
    private func addHost(_ value: Bytes) {
        guard !hasHost else {
            error = error ?? .severalHosts
            return
        }
        hasHost = true
        guard let authority = self.value(.authority) else {
            return keep(Bytes(":authority"), value)
        }
        if authority != value { error = error ?? .conflictingHost }
    }

    /// Crumbs of a cookie are one field in HTTP/1.1 (RFC 9113, 8.2.3).
    private func addCookie(_ value: Bytes) {
        var out = unsafe ByteWriter(cookie, count: cookieEnd)
        if cookieEnd > 0 { out.append("; ") }
        out.append(value)
        guard !out.overflowed else {
            error = error ?? .headTooLarge
            return
        }
        cookieEnd = out.count
    }

    private func value(_ kind: Pseudo) -> Bytes? {
        pseudo[kind.rawValue].map { unsafe Bytes(UnsafeRawBufferPointer(rebasing: values[$0])) }
    }

    // MARK: The end of a block

    /// The block as text, valid until the next one begins.
    /// - Parameters:
    ///   - endsStream: no body follows.
    ///   - bodyless: it answers a HEAD request, so it has no body whatever it says.
    ///   - random: for the key of a WebSocket that may go on by HTTP/1.1.
    ///   - switches: it answers a request for another protocol, which 200 grants (RFC 8441, 5).
    public func finish(
        endsStream: Bool, bodyless: Bool, random: (UInt64, UInt64), switches: StaticString?
    ) -> Assembled {
        if let error { return .invalid(error) }
        if cookieEnd > 0 {
            line(
                Bytes("cookie"),
                unsafe Bytes(UnsafeRawBufferPointer(rebasing: cookie[..<cookieEnd])))
        }
        if let status = value(.status) {
            return answer(
                status, endsStream: endsStream, bodyless: bodyless, switches: switches)
        }
        if let method = value(.method) {
            return request(method, endsStream: endsStream, random: random)
        }
        if hasHost || hasLength || framesOrRoutes { return .invalid(.badTrailer) }
        return .trailers(unsafe Bytes(UnsafeRawBufferPointer(rebasing: text[gap..<textEnd])))
    }

    private func request(
        _ method: Bytes, endsStream: Bool, random: (UInt64, UInt64)
    ) -> Assembled {
        guard let authority = value(.authority) else { return .invalid(.missingHost) }
        var target = value(.path)
        var method = method
        if method == "CONNECT" {
            // What follows has no length (RFC 9113, 8.5): HTTP/1.1 would take it for one of a body.
            if hasLength { return .invalid(.badContentLength) }
            if let name = value(.protocol) {
                // RFC 8441, 4, is RFC 9110's upgrade in other words.
                method = Bytes("GET")
                line(Bytes("connection"), Bytes("upgrade"))
                line(Bytes("upgrade"), name)
                if name == "websocket", !hasKey { webSocketKey(random) }
            } else {
                target = authority
            }
        } else {
            frame(endsStream: endsStream)
        }
        guard let target, target.count > 0 else { return .invalid(.badTarget) }
        // A target that names a host of its own would be a second authority.
        let named = method == "CONNECT" || target[0] == UInt8(ascii: "/") || target == "*"
        guard named else { return .invalid(.badTarget) }
        return complete { out in
            out.append(method)
            out.append(UInt8(ascii: " "))
            out.append(target)
            out.append(" HTTP/1.1\r\nhost: ")
            out.append(authority)
            out.append("\r\n")
        }
    }

    /// A nonce of 16 bytes in base64 (RFC 6455, 4.1), which RFC 8441 does without.
    private func webSocketKey(_ random: (UInt64, UInt64)) {
        var nonce: [UInt8] = []
        for word in [random.0, random.1] {
            for shift in stride(from: 0, to: 64, by: 8) {
                nonce.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        Array(Base64.encode(nonce).utf8).withBytes { line(Bytes("sec-websocket-key"), $0) }
    }

    private func answer(
        _ status: Bytes, endsStream: Bool, bodyless: Bool, switches: StaticString?
    ) -> Assembled {
        if let switches, status == "200" {
            line(Bytes("connection"), Bytes("upgrade"))
            line(Bytes("upgrade"), Bytes(switches))
            return complete { $0.append("HTTP/1.1 101 Switching Protocols\r\n") }
        }
        let isInterim = status.count == 3 && status[0] == UInt8(ascii: "1")
        if !isInterim, !bodyless, status != "204", status != "304" {
            frame(endsStream: endsStream)
        }
        return complete { out in
            out.append("HTTP/1.1 ")
            out.append(status)
            out.append(UInt8(ascii: " "))
            out.append(reasonPhrase(number(status)))
            out.append("\r\n")
        }
    }

    private func number(_ digits: Bytes) -> Int {
        var number = 0
        for i in 0..<min(digits.count, 3) { number = number * 10 + Int(digits[i]) - 0x30 }
        return number
    }

    /// How HTTP/1.1 would delimit the body that follows.
    private func frame(endsStream: Bool) {
        if !endsStream, !hasLength { line(Bytes("transfer-encoding"), Bytes("chunked")) }
    }

    /// Puts the start line before the fields, and an empty one behind them.
    private func complete(_ startLine: (inout ByteWriter) -> Void) -> Assembled {
        if let error { return .invalid(error) }
        var end = unsafe ByteWriter(text, count: textEnd)
        end.append("\r\n")
        // The values stand in memory of their own, so the line can be written twice: to see how
        // long it is, and in its place.
        var probe = unsafe ByteWriter(UnsafeMutableRawBufferPointer(rebasing: text[..<gap]))
        startLine(&probe)
        guard !probe.overflowed else { return .invalid(.targetTooLong) }
        guard !end.overflowed else { return .invalid(.headTooLarge) }
        let start = gap - probe.count
        if start > 0 {
            var out = unsafe ByteWriter(UnsafeMutableRawBufferPointer(rebasing: text[start..<gap]))
            startLine(&out)
        }
        return .head(unsafe Bytes(UnsafeRawBufferPointer(rebasing: text[start..<end.count])))
    }
}

extension Bytes {
    fileprivate static func != (a: Bytes, b: StaticString) -> Bool { !(a == b) }
    fileprivate static func != (a: Bytes, b: Bytes) -> Bool { !(a == b) }
}
