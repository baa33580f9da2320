public import Base

extension Head {
    /// Parses a request head at the start of `bytes`.
    public mutating func parseRequest(_ bytes: Bytes) -> HeadParse {
        do throws(HeadError) {
            let complete = try request(bytes[0..<min(bytes.count, limits.headBytes)])
            if complete { return .complete }
            return bytes.count >= limits.headBytes ? .invalid(oversize) : .incomplete
        } catch {
            return .invalid(error)
        }
    }

    /// What to call a head that does not end within its limit.
    private var oversize: HeadError { .headTooLarge }

    private mutating func request(_ bytes: Bytes) throws(HeadError) -> Bool {
        // One empty line before a request is let pass (RFC 9112, 2.2).
        var i = 0
        if bytes.count > 0, bytes[0] == Ascii.cr {
            guard bytes.count > 1 else { return false }
            guard bytes[1] == Ascii.lf else { throw .bareCR }
            i = 2
        }
        guard let line = try requestLine(bytes, from: i) else { return false }
        i = line
        guard let end = try parseFields(bytes, from: i, isRequest: true) else { return false }
        length = end
        try settleAuthority(bytes)
        return true
    }

    /// `method SP target SP HTTP/1.x CRLF`. Returns where the fields begin.
    private mutating func requestLine(_ bytes: Bytes, from start: Int) throws(HeadError) -> Int? {
        var i = start
        while i < bytes.count, Grammar.isToken(bytes[i]) { i &+= 1 }
        // 32: longer than any registered method.
        guard i - start <= 32 else { throw .badMethod }
        guard i < bytes.count else { return nil }
        guard bytes[i] == Ascii.space, i > start else { throw lineError(bytes[i], .badMethod) }
        method = start..<i
        isHead = bytes[method] == "HEAD"
        i &+= 1
        let targetStart = i
        while i < bytes.count, Grammar.isTarget(bytes[i]) { i &+= 1 }
        guard i - targetStart <= limits.targetBytes else { throw .targetTooLong }
        guard i < bytes.count else { return nil }
        guard bytes[i] == Ascii.space, i > targetStart else {
            throw lineError(bytes[i], .badTarget)
        }
        target = targetStart..<i
        i &+= 1
        // `HTTP/1.x` CR LF.
        guard i + 10 <= bytes.count else {
            // Refuse early what can no longer become a version.
            let prefix = Bytes("HTTP/")
            for j in 0..<min(bytes.count - i, prefix.count) where bytes[i + j] != prefix[j] {
                throw lineError(bytes[i + j], .badVersion)
            }
            return nil
        }
        try version(bytes, at: i)
        i &+= 8
        if bytes[i] == Ascii.lf { throw .bareLF }
        guard bytes[i] == Ascii.cr else { throw .badVersion }
        guard bytes[i + 1] == Ascii.lf else { throw .bareCR }
        return i + 2
    }

    private func lineError(_ byte: UInt8, _ otherwise: HeadError) -> HeadError {
        switch byte {
        case Ascii.lf: .bareLF
        case Ascii.cr: .badRequestLine
        default: otherwise
        }
    }

    /// `HTTP/1.0` or `HTTP/1.1` at `i`.
    mutating func version(_ bytes: Bytes, at i: Int) throws(HeadError) {
        guard bytes[i..<i + 5] == "HTTP/" else { throw .badVersion }
        let major = bytes[i + 5]
        let minor = bytes[i + 7]
        guard Grammar.isDigit(major), bytes[i + 6] == UInt8(ascii: "."), Grammar.isDigit(minor)
        else {
            throw .badVersion
        }
        guard major == UInt8(ascii: "1"), minor <= UInt8(ascii: "1") else {
            throw .unsupportedVersion
        }
        minorVersion = minor - UInt8(ascii: "0")
    }

    /// The form of the target and the host it is for (RFC 9112, 3.2; RFC 9110, 7.2).
    private mutating func settleAuthority(_ bytes: Bytes) throws(HeadError) {
        let host = hostField >= 0 ? fields[hostField].valueRange : 0..<0
        if hostField < 0, minorVersion >= 1 { throw .missingHost }
        if hostField >= 0 { try Self.checkHost(bytes[host], emptyAllowed: true) }
        authority = host
        path = target
        if bytes[target.lowerBound] == UInt8(ascii: "/") { return }
        let whole = bytes[target]
        if whole == "*" {
            guard bytes[method] == "OPTIONS" else { throw .badTarget }
            return
        }
        if bytes[method] == "CONNECT" {
            // Authority form: the target is the authority, and `host` must say the same.
            try Self.checkHost(whole, emptyAllowed: false)
            guard hostField < 0 || bytes[host] == whole else { throw .conflictingHost }
            authority = target
            return
        }
        try settleAbsolute(bytes, host: host)
    }

    /// `http://authority/path`: the authority must be the `host` field's (RFC 9112, 3.2.2, made strict: a
    /// difference is what lets two parsers route one request to two places).
    private mutating func settleAbsolute(_ bytes: Bytes, host: Range<Int>) throws(HeadError) {
        let whole = bytes[target]
        let scheme: Int
        if whole.count > 7, whole[0..<7].equalsIgnoringCase("http://") {
            scheme = 7
        } else if whole.count > 8, whole[0..<8].equalsIgnoringCase("https://") {
            scheme = 8
        } else {
            throw .badTarget
        }
        var end = scheme
        while end < whole.count, whole[end] != UInt8(ascii: "/"), whole[end] != UInt8(ascii: "?") {
            end += 1
        }
        let named = whole[scheme..<end]
        try Self.checkHost(named, emptyAllowed: false)
        if hostField >= 0 {
            guard bytes[host].count == named.count else { throw .conflictingHost }
            for i in 0..<named.count
            where Grammar.asciiLower(named[i]) != Grammar.asciiLower(bytes[host][i]) {
                throw .conflictingHost
            }
        }
        authority = target.lowerBound + scheme..<target.lowerBound + end
        // `http://host?query` has an empty path, which no origin form can say without a slash.
        guard end < whole.count, whole[end] == UInt8(ascii: "/") else { throw .badTarget }
        path = target.lowerBound + end..<target.upperBound
    }

    private static func checkHost(_ host: Bytes, emptyAllowed: Bool) throws(HeadError) {
        guard host.count > 0 || emptyAllowed else { throw .badHost }
        // 255 for a DNS name, 6 for the port.
        guard host.count <= 261 else { throw .badHost }
        for i in 0..<host.count where !Grammar.isHost(host[i]) { throw .badHost }
    }
}
