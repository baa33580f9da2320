import Glibc

/// Why a text names no address.
public enum ResolveError: Error, Equatable, Sendable {
    /// It is not `host:port`.
    case form
    /// The host's name is not known, or nobody could be asked: what the resolver says.
    case name(String)
}

extension SocketAddress {
    /// The addresses of `host:port`, in the order in which to try them: numeric as in `init`, a
    /// name as the system's resolver knows it. May take seconds where name servers are slow.
    ///
    /// `localhost` is 127.0.0.1 and ::1 without asking anyone (RFC 6761, 6.3).
    public static func resolve(_ text: String) throws(ResolveError) -> [SocketAddress] {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { throw .form }
        let host = String(text[..<colon])
        if host == "localhost", let six = SocketAddress("[::1]:\(port)") {
            return [.loopback(port: port), six]
        }
        if let address = SocketAddress(text) { return [address] }
        // What is left with brackets or a colon would be a numeric IPv6 address, and is none.
        guard !host.isEmpty, !host.utf8.contains(where: { "[]:".utf8.contains($0) }) else {
            throw .form
        }
        return try lookUp(host, port: port)
    }

    private static func lookUp(_ host: String, port: UInt16) throws(ResolveError)
        -> [SocketAddress]
    {
        var hints = unsafe addrinfo()
        unsafe hints.ai_family = AF_UNSPEC
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else { throw .name(unsafe String(cString: gai_strerror(code))) }
        defer { unsafe freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var next = unsafe list
        // Bound: what the resolver found for one name.
        while let entry = unsafe next {
            var storage = sockaddr_storage()
            let size = min(
                Int(unsafe entry.pointee.ai_addrlen), MemoryLayout<sockaddr_storage>.size)
            unsafe withUnsafeMutableBytes(of: &storage) { bytes in
                guard let address = unsafe entry.pointee.ai_addr else { return }
                unsafe bytes.copyMemory(
                    from: UnsafeRawBufferPointer(start: address, count: size))
            }
            if var address = SocketAddress(storage) {
                address.port = port
                if !found.contains(address) { found.append(address) }
            }
            unsafe next = entry.pointee.ai_next
        }
        guard !found.isEmpty else { throw .name("it has no address") }
        return found
    }
}
