import Model

extension LoadJob {
    /// The bytes of every request to a target, head and body.
    ///
    /// A header of the plan replaces the generator's own of the same name (`host`, `user-agent`).
    public func requestBytes(for target: Target) -> [UInt8] {
        let request = plan.request
        var text = "\(request.method) \(request.path) HTTP/1.1\r\n"
        let own = Set(request.headers.map { $0.name.lowercased() })
        if !own.contains("host") { text += "host: \(target.host)\r\n" }
        if !own.contains("user-agent") { text += "user-agent: meshbench\r\n" }
        for header in request.headers { text += "\(header.name): \(header.value)\r\n" }
        // A method that usually carries a body says so even when it is empty (RFC 9110, section
        // 8.6).
        if request.bodySize > 0 || ["POST", "PUT", "PATCH"].contains(request.method) {
            text += "content-length: \(request.bodySize)\r\n"
        }
        text += "\r\n"
        var bytes = Array(text.utf8)
        bytes.reserveCapacity(bytes.count + request.bodySize)
        for i in 0..<request.bodySize { bytes.append(UInt8(ascii: "a") + UInt8(i % 26)) }
        return bytes
    }
}
