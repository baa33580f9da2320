extension ReferenceParser {
    /// Reads a request head at the start of `bytes`.
    public static func request(
        _ bytes: [UInt8], limits: ReferenceLimits = ReferenceLimits()
    ) -> ReferenceVerdict<ReferenceHead> {
        let start = bytes.starts(with: [13, 10]) ? 2 : 0
        if bytes.dropFirst(start).starts(with: [13, 10]) { return .refused }
        let lines: [[UInt8]]
        let length: Int
        switch self.lines(bytes, from: start, limits: limits) {
        case .refused: return .refused
        case .unfinished: return .unfinished
        case .accepted(let found, let end): (lines, length) = (found, end)
        }
        let parts = lines[0].split(separator: 32, omittingEmptySubsequences: false).map(Array.init)
        guard parts.count == 3, isToken(parts[0]), parts[0].count <= 32, !parts[1].isEmpty,
            parts[1].allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "#") }),
            parts[1].count <= limits.targetBytes,
            ["HTTP/1.0", "HTTP/1.1"].contains(text(parts[2])),
            let fields = fields(Array(lines.dropFirst())), fields.count <= limits.fieldCount
        else { return .refused }
        var head = ReferenceHead(start: parts, fields: fields)
        head.minorVersion = parts[2].last == UInt8(ascii: "0") ? 0 : 1
        guard settle(&head, isRequest: true), settleTarget(&head) else { return .refused }
        for expectation in head.values("expect") {
            guard text(expectation).lowercased() == "100-continue" else { return .refused }
            head.expectsContinue = true
        }
        return .accepted(head, length: length)
    }

    private static func settleTarget(_ head: inout ReferenceHead) -> Bool {
        let hosts = head.values("host")
        guard hosts.count <= 1, !(hosts.isEmpty && head.minorVersion == 1) else { return false }
        if let host = hosts.first, !host.isEmpty, !isHost(host) { return false }
        let method = text(head.start[0])
        let target = head.start[1]
        head.authority = hosts.first ?? []
        head.path = target
        if method == "CONNECT" {
            head.authority = target
            return isHost(target) && (hosts.isEmpty || hosts[0] == target)
        }
        if target.first == UInt8(ascii: "/") { return true }
        if target == [UInt8(ascii: "*")] { return method == "OPTIONS" }
        guard let colon = find(Array("://".utf8), in: target, from: 0),
            ["http", "https"].contains(text(Array(target[..<colon])).lowercased())
        else { return false }
        let rest = Array(target[(colon + 3)...])
        let authority = Array(
            rest.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") })
        head.authority = authority
        head.path = Array(rest.dropFirst(authority.count))
        return isHost(authority)
            && (hosts.isEmpty || text(hosts[0]).lowercased() == text(authority).lowercased())
    }

    /// uri-host [":" port] (RFC 3986, 3.2.2), not empty.
    static func isHost(_ host: [UInt8]) -> Bool {
        guard (1...261).contains(host.count) else { return false }
        var name = host
        if host[0] == UInt8(ascii: "[") {
            guard let close = host.firstIndex(of: UInt8(ascii: "]")), close > 1 else {
                return false
            }
            guard host[1..<close].allSatisfy({ regNameBytes.contains($0) || $0 == 0x3A }) else {
                return false
            }
            name = Array(host[(close + 1)...])
            return name.isEmpty || isPort(name)
        }
        if let colon = host.firstIndex(of: UInt8(ascii: ":")) {
            guard colon > 0, isPort(Array(host[colon...])) else { return false }
            name = Array(host[..<colon])
        }
        var i = 0
        while i < name.count {
            if name[i] == UInt8(ascii: "%") {
                guard i + 2 < name.count, hexBytes.contains(name[i + 1]),
                    hexBytes.contains(name[i + 2])
                else { return false }
                i += 3
            } else {
                guard regNameBytes.contains(name[i]) else { return false }
                i += 1
            }
        }
        return true
    }

    /// `:` and at most five digits.
    private static func isPort(_ bytes: [UInt8]) -> Bool {
        bytes.count <= 6 && bytes.first == UInt8(ascii: ":")
            && bytes.dropFirst().allSatisfy(digitBytes.contains)
    }

    /// Reads an answer's head at the start of `bytes`.
    public static func response(
        _ bytes: [UInt8], toHead: Bool = false, limits: ReferenceLimits = ReferenceLimits()
    ) -> ReferenceVerdict<ReferenceHead> {
        let lines: [[UInt8]]
        let length: Int
        switch self.lines(bytes, from: 0, limits: limits) {
        case .refused: return .refused
        case .unfinished: return .unfinished
        case .accepted(let found, let end): (lines, length) = (found, end)
        }
        let parts = lines[0].split(separator: 32, maxSplits: 2, omittingEmptySubsequences: false)
            .map(Array.init)
        guard parts.count >= 2, ["HTTP/1.0", "HTTP/1.1"].contains(text(parts[0])),
            parts[1].count == 3, parts[1].allSatisfy(digitBytes.contains),
            let status = Int(text(parts[1])), (100...599).contains(status),
            parts.count == 2 || isValue(parts[2]),
            let fields = fields(Array(lines.dropFirst())), fields.count <= limits.fieldCount
        else { return .refused }
        var head = ReferenceHead(start: parts, fields: fields)
        head.status = status
        head.minorVersion = parts[0].last == UInt8(ascii: "0") ? 0 : 1
        guard settle(&head, isRequest: false) else { return .refused }
        if toHead || status < 200 || status == 204 || status == 304 { head.framing = .none }
        if head.framing == .untilClose { head.keepAlive = false }
        return .accepted(head, length: length)
    }
}
