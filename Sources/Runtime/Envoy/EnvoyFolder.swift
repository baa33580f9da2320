// What Envoy reads of its host: its bootstrap, its certificate and whom to trust. Each file is
// replaced by a rename, which is what Envoy watches for.

import ControlCore
import Model
import Posix
import ProxyCore
import Secure

/// Gives what a proxy has learnt to an Envoy in the place of a reference proxy.
final class EnvoyFolder: JoinServer {
    private enum Name {
        static let bootstrap = "envoy.json"
        static let identity = "envoy-identity.json"
        static let authorities = "envoy-authorities.json"
    }

    private let folder: JoinFolder
    private var path: String { folder.path }
    private var written: [String: [UInt8]] = [:]
    /// Requests in flight may end, and then there is nothing more to do.
    private(set) var isDrained = false

    /// - Parameter folder: its path is absolute, as Envoy may have another working directory.
    init(_ folder: JoinFolder) { self.folder = folder }

    var bootstrapPath: String { "\(path)/\(Name.bootstrap)" }
    var identityPath: String { "\(path)/\(Name.identity)" }
    var authoritiesPath: String { "\(path)/\(Name.authorities)" }

    /// An Envoy judges endpoints by itself, and nobody here knows of it.
    func hostBoards(of clusters: Set<String>) -> [HostBoard]? { nil }

    func write(_ bootstrap: EnvoyBootstrap) throws(SystemError) {
        try replace(Name.bootstrap, Array(bootstrap.json.utf8))
    }

    func adopt(_ configuration: ProxyConfiguration, _ material: TLSMaterial) -> String? {
        do throws(SystemError) {
            try write(material)
            return nil
        } catch {
            return "\(error)"
        }
    }

    func write(_ material: TLSMaterial) throws(SystemError) {
        guard let identity = material[JoinAgent.FileName.identity],
            let authorities = material[JoinAgent.FileName.authorities]
        else { preconditionFailure("a proxy without a certificate") }
        let parts = Self.parts(String(decoding: identity, as: UTF8.self))
        try replace(
            Name.authorities,
            Array(EnvoyBootstrap.authorities(String(decoding: authorities, as: UTF8.self)).utf8))
        try replace(
            Name.identity,
            Array(EnvoyBootstrap.identity(certificate: parts.certificate, key: parts.key).utf8))
    }

    /// The key, and the certificates behind it.
    static func parts(_ text: String) -> (key: String, certificate: String) {
        let mark = "-----BEGIN CERTIFICATE-----"
        var key = ""
        var rest = text[...]
        while !rest.isEmpty, !rest.hasPrefix(mark) {
            let line = rest.prefix { $0 != "\n" }
            key += line + "\n"
            rest = rest.dropFirst(line.count + 1)
        }
        return (key, String(rest))
    }

    func drain() { isDrained = true }

    private func replace(_ name: String, _ bytes: [UInt8]) throws(SystemError) {
        // Envoy takes a file over when it is renamed, changed or not.
        guard written[name] != bytes else { return }
        try folder.replace(name, bytes)
        written[name] = bytes
    }
}
