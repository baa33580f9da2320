public import Base

extension Head {
    /// Parses an answer's head at the start of `bytes`.
    /// - Parameter toHead: it answers a HEAD request, so it has no body whatever it says (RFC 9112,
    ///   6.3).
    public mutating func parseResponse(_ bytes: Bytes, toHead: Bool) -> HeadParse {
        do throws(HeadError) {
            let complete = try response(
                bytes[0..<min(bytes.count, limits.headBytes)], toHead: toHead)
            if complete { return .complete }
            return bytes.count >= limits.headBytes ? .invalid(.headTooLarge) : .incomplete
        } catch {
            return .invalid(error)
        }
    }

    private mutating func response(_ bytes: Bytes, toHead: Bool) throws(HeadError) -> Bool {
        guard let fieldsStart = try statusLine(bytes) else { return false }
        guard let end = try parseFields(bytes, from: fieldsStart, isRequest: false) else {
            return false
        }
        length = end
        if toHead || status < 200 || status == 204 || status == 304 { framing = .none }
        // Nothing tells where such a body ends but the end of the connection.
        if framing == .untilClose { keepAlive = false }
        return true
    }

    /// `HTTP/1.x SP 3DIGIT [SP reason] CRLF`. Returns where the fields begin.
    private mutating func statusLine(_ bytes: Bytes) throws(HeadError) -> Int? {
        // Refused at the first wrong byte, so that pieces are judged as the whole is.
        guard try version(bytes, at: 0) else { return nil }
        for i in 8..<min(bytes.count, 12) {
            guard i == 8 ? bytes[i] == Ascii.space : Grammar.isDigit(bytes[i]) else {
                throw .badStatusLine
            }
        }
        guard bytes.count >= 12 else { return nil }
        status = Int(bytes[9] - 0x30) * 100 + Int(bytes[10] - 0x30) * 10 + Int(bytes[11] - 0x30)
        guard status >= 100, status <= 599 else { throw .badStatusLine }
        var i = 12
        guard i < bytes.count else { return nil }
        if bytes[i] == Ascii.space {
            i += 1
        } else if bytes[i] != Ascii.cr {
            throw bytes[i] == Ascii.lf ? .bareLF : .badStatusLine
        }
        let reasonStart = i
        while i < bytes.count, Grammar.isFieldValue(bytes[i]) { i &+= 1 }
        guard i < bytes.count else { return nil }
        guard bytes[i] == Ascii.cr else { throw bytes[i] == Ascii.lf ? .bareLF : .badStatusLine }
        guard i + 1 < bytes.count else { return nil }
        guard bytes[i + 1] == Ascii.lf else { throw .bareCR }
        reason = reasonStart..<i
        return i + 2
    }
}
