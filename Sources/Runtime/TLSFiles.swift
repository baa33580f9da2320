// Certificates and keys as files, and the contexts that are made of them.

import Base
import Glibc
import Model
import Secure

/// A file of certificates or keys that cannot be used.
public struct TLSFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The path, and for a mismatch both.
    public var file: String
    public var reason: String

    public init(file: String, reason: String) {
        self.file = file
        self.reason = reason
    }

    public var description: String { "\(file): \(reason)" }
}

/// Certificates and keys that are in memory, by the names that a configuration calls them by. What
/// is in no file cannot be read halfway through its replacement.
struct TLSMaterial: Equatable, Sendable {
    fileprivate var files: [String: [UInt8]]

    init(_ files: [String: [UInt8]] = [:]) { self.files = files }

    /// What a file has; nil: it is not in memory.
    subscript(_ name: String) -> [UInt8]? { files[name] }
}

/// Reads what a configuration names.
enum TLSFiles {
    /// Bound: the authorities of a system are about 250 KiB.
    private static let bytesMost = 4 << 20

    static func serverOptions(
        _ tls: ServerTLS, protocols: [String], _ material: TLSMaterial = TLSMaterial()
    ) throws(TLSFileError) -> TLSServerOptions {
        var options = TLSServerOptions(
            identity: TLSIdentity(
                certificate: try read(tls.certificate, material),
                key: try read(tls.key, material)),
            protocols: protocols)
        for other in tls.certificates {
            options.others.append(
                TLSIdentity(
                    certificate: try read(other.certificate, material),
                    key: try read(other.key, material)))
        }
        if let path = tls.authorities { options.authorities = try read(path, material) }
        options.asksClient = tls.clientCertificate != .none
        options.requiresClient = tls.clientCertificate == .required
        options.clientNames = tls.clientNames
        options.minimum = tls.minimumVersion == .v13 ? .v13 : .v12
        return options
    }

    static func clientOptions(
        _ tls: ClientTLS, protocols: [String], _ material: TLSMaterial = TLSMaterial()
    ) throws(TLSFileError) -> TLSClientOptions {
        var options = TLSClientOptions(protocols: protocols)
        if let path = tls.authorities { options.authorities = try read(path, material) }
        if let certificate = tls.certificate, let key = tls.key {
            options.identity = TLSIdentity(
                certificate: try read(certificate, material), key: try read(key, material))
        }
        options.serverName = tls.serverName
        options.names = tls.names
        options.minimum = tls.minimumVersion == .v13 ? .v13 : .v12
        return options
    }

    static func context(
        _ tls: ServerTLS, _ options: TLSServerOptions
    ) throws(TLSFileError) -> TLSContext {
        do throws(TLSError) {
            return try TLSContext(server: options)
        } catch {
            let all = [.init(certificate: tls.certificate, key: tls.key)] + tls.certificates
            throw blame(error, error.certificates.map { all[$0] }, authorities: tls.authorities)
        }
    }

    static func context(
        _ tls: ClientTLS, _ options: TLSClientOptions
    ) throws(TLSFileError) -> TLSContext {
        do throws(TLSError) {
            return try TLSContext(client: options)
        } catch {
            let identity = ServerTLS.Identity(
                certificate: tls.certificate ?? "", key: tls.key ?? "")
            throw blame(error, [identity], authorities: tls.authorities)
        }
    }

    /// Names the file that is at fault.
    private static func blame(
        _ error: TLSError, _ identities: [ServerTLS.Identity], authorities: String?
    ) -> TLSFileError {
        var files: [String]
        switch error.reason {
        case .malformedAuthorities: files = authorities.map { [$0] } ?? []
        case .malformedKey: files = identities.map(\.key)
        case .keyMismatch: files = identities.flatMap { [$0.certificate, $0.key] }
        default: files = identities.map(\.certificate)
        }
        files.removeAll { $0.isEmpty }
        if files.isEmpty { files = ["TLS"] }
        return TLSFileError(file: files.joined(separator: " and "), reason: "\(error)")
    }

    /// A file with a key, which others may not read.
    static func readSecret(_ path: String) throws(TLSFileError) -> [UInt8] {
        var status = stat()
        if unsafe stat(path, &status) == 0, status.st_mode & 0o077 != 0 {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw TLSFileError(
                file: path, reason: "others may read it (mode \(mode)); chmod 600")
        }
        return try read(path, TLSMaterial())
    }

    private static func read(
        _ path: String, _ material: TLSMaterial
    ) throws(TLSFileError) -> [UInt8] {
        if let bytes = material.files[path] { return bytes }
        func failure() -> TLSFileError {
            TLSFileError(file: path, reason: unsafe String(cString: strerror(errno)))
        }
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure() }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = unsafe Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure() }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= bytesMost else {
                throw TLSFileError(file: path, reason: "larger than \(bytesMost) bytes")
            }
        }
    }
}
