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
        // `HTTP/1.x` CR LF, refused at the first wrong byte, so that pieces are judged as the whole
        // is.
        guard try version(bytes, at: i) else { return nil }
        i &+= 8
        guard i < bytes.count else { return nil }
        if bytes[i] == Ascii.lf { throw .bareLF }
        guard bytes[i] == Ascii.cr else { throw .badVersion }
        guard i &+ 1 < bytes.count else { return nil }
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

    /// `HTTP/1.0` or `HTTP/1.1` at `i`. False: its bytes are not all there.
    mutating func version(_ bytes: Bytes, at i: Int) throws(HeadError) -> Bool {
        // `HTTP/1.1` as one little-endian word: what nearly every message says.
        if bytes.count - i >= 8, bytes.word(at: i) == 0x312E_312F_5054_5448 {
            minorVersion = 1
            return true
        }
        let there = min(bytes.count - i, 8)
        for j in 0..<there {
            let byte = bytes[i + j]
            let fits: Bool
            switch j {
            case 0..<5: fits = byte == Bytes("HTTP/")[j]
            case 6: fits = byte == UInt8(ascii: ".")
            default: fits = Grammar.isDigit(byte)
            }
            guard fits else { throw .badVersion }
        }
        guard there == 8 else { return false }
        let minor = bytes[i + 7]
        guard bytes[i + 5] == UInt8(ascii: "1"), minor <= UInt8(ascii: "1") else {
            throw .unsupportedVersion
        }
        minorVersion = minor - UInt8(ascii: "0")
        return true
    }

    /// The form of the target and the host it is for (RFC 9112, 3.2; RFC 9110, 7.2).
    private mutating func settleAuthority(_ bytes: Bytes) throws(HeadError) {
        let host = hostField >= 0 ? fields[hostField].valueRange : 0..<0
        if hostField < 0, minorVersion >= 1 { throw .missingHost }
        if hostField >= 0 { try Self.checkHost(bytes[host], emptyAllowed: true) }
        authority = host
        path = target
        let whole = bytes[target]
        if bytes[method] == "CONNECT" {
            // Authority form: the target is the authority, and `host` must say the same.
            try Self.checkHost(whole, emptyAllowed: false)
            guard hostField < 0 || bytes[host] == whole else { throw .conflictingHost }
            authority = target
            return
        }
        if whole[0] == UInt8(ascii: "/") { return }
        if whole == "*" {
            guard bytes[method] == "OPTIONS" else { throw .badTarget }
            return
        }
        try settleAbsolute(bytes, host: host)
    }

    /// `http://authority/path`: the authority must be the `host` field's (RFC 9112, 3.2.2, made
    /// strict: a difference is what lets two parsers route one request to two places).
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
            where asciiLowercase(named[i]) != asciiLowercase(bytes[host][i]) {
                throw .conflictingHost
            }
        }
        authority = target.lowerBound + scheme..<target.lowerBound + end
        // May be empty or begin with the query: `http://host?query` (RFC 9112, 3.2.2).
        path = target.lowerBound + end..<target.upperBound
    }

    /// `uri-host [":" port]` (RFC 3986, 3.2.2): what is anything else, two parsers may read as two
    /// hosts.
    private static func checkHost(_ host: Bytes, emptyAllowed: Bool) throws(HeadError) {
        if host.count == 0, emptyAllowed { return }
        // 255 for a DNS name, 6 for the port.
        guard host.count > 0, host.count <= 261 else { throw .badHost }
        var i = host[0] == UInt8(ascii: "[") ? try literalEnd(host) : try nameEnd(host)
        guard i < host.count else { return }
        guard host[i] == UInt8(ascii: ":"), host.count - i <= 6 else { throw .badHost }
        i += 1
        while i < host.count {
            guard Grammar.isDigit(host[i]) else { throw .badHost }
            i += 1
        }
    }

    /// Where a registered name or IPv4 address ends: at the port's colon, or with the host.
    private static func nameEnd(_ host: Bytes) throws(HeadError) -> Int {
        var i = 0
        while i < host.count, host[i] != UInt8(ascii: ":") {
            if host[i] == UInt8(ascii: "%") {
                guard i + 2 < host.count, hexDigit(host[i + 1]) != nil,
                    hexDigit(host[i + 2]) != nil
                else { throw .badHost }
                i += 3
            } else {
                guard Grammar.isRegisteredName(host[i]) else { throw .badHost }
                i += 1
            }
        }
        guard i > 0 else { throw .badHost }
        return i
    }

    /// Where an IP literal in brackets ends.
    private static func literalEnd(_ host: Bytes) throws(HeadError) -> Int {
        var i = 1
        while i < host.count, host[i] != UInt8(ascii: "]") {
            guard Grammar.isRegisteredName(host[i]) || host[i] == UInt8(ascii: ":") else {
                throw .badHost
            }
            i += 1
        }
        guard i > 1, i < host.count else { throw .badHost }
        return i + 1
    }
}

extension Head {
    /// How often the request may still be forwarded; nil: as often as need be, because it is of a
    /// method that is not counted, has no such field, or one that is no number (RFC 9110, 7.6.2).
    public func maxForwards(_ bytes: Bytes) -> Int? {
        guard bytes[method] == "OPTIONS" || bytes[method] == "TRACE" else { return nil }
        for i in 0..<fieldCount where fields[i].name == .maxForwards {
            let value = bytes[fields[i].valueRange]
            // 9 digits: more hops than there are hosts.
            guard value.count > 0, value.count <= 9 else { return nil }
            var count = 0
            for j in 0..<value.count {
                guard Grammar.isDigit(value[j]) else { return nil }
                count = count * 10 + Int(value[j] - 0x30)
            }
            return count
        }
        return nil
    }

    /// Whether the sender takes trailers (`te: trailers`, RFC 9110, 10.1.4).
    public func acceptsTrailers(_ bytes: Bytes) -> Bool {
        for i in 0..<fieldCount where fields[i].name == .te {
            if TokenList(bytes[fields[i].valueRange]).contains(Bytes("trailers")) { return true }
        }
        return false
    }
}
