public import Base
import Glibc

/// An IPv4 or IPv6 address with a port: a plain value, without references.
public struct SocketAddress: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The address in network order: 4 bytes used for IPv4, 16 for IPv6.
    private var high: UInt64 = 0
    private var low: UInt64 = 0
    public var port: UInt16
    public let isIPv6: Bool

    /// 127.0.0.1 with this port.
    public static func loopback(port: UInt16) -> SocketAddress {
        var address = SocketAddress(isIPv6: false, port: port)
        address.setBytes([127, 0, 0, 1])
        return address
    }

    private init(isIPv6: Bool, port: UInt16) {
        self.isIPv6 = isIPv6
        self.port = port
    }

    /// From `127.0.0.1:80`, `[::1]:80` or `localhost:80`; nil if it is none of these.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        let host = text[..<colon]
        if host == "localhost" {
            self = .loopback(port: port)
            return
        }
        var bytes = [UInt8](repeating: 0, count: 16)
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = String(host.dropFirst().dropLast())
            guard unsafe inet_pton(AF_INET6, inner, &bytes) == 1 else { return nil }
            self.init(isIPv6: true, port: port)
        } else {
            guard unsafe inet_pton(AF_INET, String(host), &bytes) == 1 else { return nil }
            self.init(isIPv6: false, port: port)
        }
        setBytes(bytes)
    }

    init?(_ storage: sockaddr_storage) {
        var storage = storage
        if storage.ss_family == sa_family_t(AF_INET) {
            let v4 = unsafe withUnsafeBytes(of: &storage) { unsafe $0.load(as: sockaddr_in.self) }
            self.init(isIPv6: false, port: UInt16(bigEndian: v4.sin_port))
            unsafe withUnsafeBytes(of: v4.sin_addr) { unsafe setBytes($0) }
        } else if storage.ss_family == sa_family_t(AF_INET6) {
            let v6 = unsafe withUnsafeBytes(of: &storage) { unsafe $0.load(as: sockaddr_in6.self) }
            self.init(isIPv6: true, port: UInt16(bigEndian: v6.sin6_port))
            unsafe withUnsafeBytes(of: v6.sin6_addr) { unsafe setBytes($0) }
        } else {
            return nil
        }
    }

    /// From an address in network order, 4 or 16 bytes; nil where it has another number.
    public init?(bytes: [UInt8], port: UInt16) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.init(isIPv6: bytes.count == 16, port: port)
        setBytes(bytes)
    }

    private mutating func setBytes(_ bytes: some Collection<UInt8>) {
        for (i, byte) in bytes.prefix(16).enumerated() {
            if i < 8 {
                high |= UInt64(byte) << (8 * UInt64(i))
            } else {
                low |= UInt64(byte) << (8 * UInt64(i - 8))
            }
        }
    }

    private func byte(_ i: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: (i < 8 ? high : low) >> (8 * UInt64(i & 7)))
    }

    /// Whether it is within 127.0.0.0/8 or ::1.
    public var isLoopback: Bool {
        isIPv6 ? high == 0 && low == UInt64(1) << 56 : byte(0) == 127
    }

    /// The address without the port, `127.0.0.1` or `::1`.
    public var host: String {
        if !isIPv6 { return "\(byte(0)).\(byte(1)).\(byte(2)).\(byte(3))" }
        var bytes = (0..<16).map(byte)
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        unsafe inet_ntop(AF_INET6, &bytes, &text, socklen_t(text.count))
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    public var description: String { isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Bytes that hold any host's text.
    public static var hostBytesMost: Int { Int(INET6_ADDRSTRLEN) }

    /// Writes `127.0.0.1` or `::1` without allocating for IPv4.
    public func write(hostTo writer: inout ByteWriter) {
        guard !isIPv6 else { return writer.append(text: host) }
        for i in 0..<4 {
            if i > 0 { writer.append(UInt8(ascii: ".")) }
            writer.append(decimal: UInt64(byte(i)))
        }
    }

    /// Calls `body` with the form that system calls take.
    func withSockaddr<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        if isIPv6 {
            var v6 = sockaddr_in6()
            v6.sin6_family = sa_family_t(AF_INET6)
            v6.sin6_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &v6.sin6_addr) {
                for i in 0..<16 { unsafe $0[i] = byte(i) }
            }
            return unsafe withUnsafePointer(to: &v6) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        var v4 = sockaddr_in()
        v4.sin_family = sa_family_t(AF_INET)
        v4.sin_port = port.bigEndian
        unsafe withUnsafeMutableBytes(of: &v4.sin_addr) {
            for i in 0..<4 { unsafe $0[i] = byte(i) }
        }
        return unsafe withUnsafePointer(to: &v4) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
