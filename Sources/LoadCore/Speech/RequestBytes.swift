import Model

extension LoadJob {
    /// What is sent for every request to a target.
    func message(to target: Target, _ webSocket: WebSocketOpening?) -> [UInt8] {
        if let webSocket { return webSocket.frame(body) }
        switch plan.speech {
        // Four bytes say how long the rest is, the most significant first (docs/APP.md).
        case .tcp: return UInt32(plan.request.bodySize).bigEndianBytes + body
        default: return requestBytes(for: target)
        }
    }

    /// What is sent to a target before the first request.
    func greeting(to target: Target, _ webSocket: WebSocketOpening?) -> [UInt8] {
        guard let webSocket else { return [] }
        return Array((head("GET", to: target) + webSocket.fields + "\r\n").utf8)
    }

    private var body: [UInt8] {
        (0..<plan.request.bodySize).map { UInt8(ascii: "a") + UInt8($0 % 26) }
    }

    /// A head without its end. A header of the plan replaces the generator's own of the same name
    /// (`host`, `user-agent`).
    private func head(_ method: String, to target: Target) -> String {
        let request = plan.request
        var text = "\(method) \(request.path) HTTP/1.1\r\n"
        let own = Set(request.headers.map { $0.name.lowercased() })
        if !own.contains("host") { text += "host: \(target.host)\r\n" }
        if !own.contains("user-agent") { text += "user-agent: meshbench\r\n" }
        for header in request.headers { text += "\(header.name): \(header.value)\r\n" }
        return text
    }

    /// The bytes of every HTTP/1.1 request to a target, head and body.
    public func requestBytes(for target: Target) -> [UInt8] {
        let request = plan.request
        var text = head(request.method, to: target)
        // A method that usually carries a body says so even when it is empty (RFC 9110, section
        // 8.6).
        if request.bodySize > 0 || ["POST", "PUT", "PATCH"].contains(request.method) {
            text += "content-length: \(request.bodySize)\r\n"
        }
        return Array((text + "\r\n").utf8) + body
    }
}

extension UInt32 {
    /// The most significant byte first.
    var bigEndianBytes: [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: self >> UInt32($0)) }
    }
}
