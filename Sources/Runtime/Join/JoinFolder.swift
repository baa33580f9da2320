// What a proxy has learnt of its mesh, as files of a folder that nobody else may read:
//
//     proxy.json        who it is
//     identity.pem      its key and its certificate, in one file, since one is of no use without
//                       the other
//     authorities.pem   whom it trusts
//     view.json         the declarations that it serves, as a push says them
//
// Each is written under another name first, and renamed: whatever happens, it is the old or the
// new.

import Base
import ControlCore
import Glibc
import Model
import Posix
import Secure

/// The state folder of a proxy. Held by one process at a time.
final class JoinFolder {
    /// What a folder has of a proxy that has joined.
    struct Contents {
        var identity: JoinIdentity
        var credentials: TLSIdentity
        var authorities: [UInt8]
        /// nil: nothing had been pushed.
        var view: MeshPush?
    }

    private enum Name {
        static let identity = "proxy.json"
        static let credentials = "identity.pem"
        static let authorities = "authorities.pem"
        static let view = "view.json"
    }

    let path: String
    private let folder: DiskFolder

    init(_ path: String) throws(JoinError) {
        self.path = path
        do throws(StoreFault) {
            folder = try DiskFolder(path)
        } catch {
            throw .folder(error)
        }
    }

    /// - Returns: nil: nobody has joined.
    /// - Throws: where a file is there and cannot be used.
    func read(_ codec: MeshCodec) throws(JoinError) -> Contents? {
        let names: Set<String>
        do throws(SystemError) {
            names = Set(try folder.names())
        } catch {
            throw .system(error)
        }
        // It is the last that a proxy writes when it has joined.
        guard names.contains(Name.identity) else { return nil }
        guard let identity = JoinText.decode(JoinIdentity.self, try read(Name.identity)),
            identity.serviceName != nil, SPIFFEID.isTrustDomain(identity.trustDomain)
        else { throw .file("\(path)/\(Name.identity)", reason: "it does not say who this is") }
        let credentials = try read(Name.credentials)
        var view: MeshPush?
        if names.contains(Name.view) {
            do throws(MeshBodyError) {
                view = try codec.push(readOrEmpty(Name.view))
            } catch {
                let reason = error.problems.first?.message ?? "it is malformed"
                throw .file("\(path)/\(Name.view)", reason: reason)
            }
        }
        return Contents(
            identity: identity,
            credentials: TLSIdentity(certificate: credentials, key: credentials),
            authorities: try read(Name.authorities), view: view)
    }

    private func read(_ name: String) throws(JoinError) -> [UInt8] {
        do throws(SystemError) {
            return try folder.contents(of: name)
        } catch {
            throw .system(error)
        }
    }

    /// A file that cannot be read is taken for an empty one, which says nothing.
    private func readOrEmpty(_ name: String) -> [UInt8] {
        (try? folder.contents(of: name)) ?? []
    }

    func write(_ identity: JoinIdentity) throws(SystemError) {
        try replace(Name.identity, Array(JSONText.of(identity).utf8))
    }

    func write(_ credentials: TLSIdentity) throws(SystemError) {
        try replace(Name.credentials, credentials.key + credentials.certificate)
    }

    func write(authorities: [UInt8]) throws(SystemError) {
        try replace(Name.authorities, authorities)
    }

    func write(_ view: MeshPush, _ codec: MeshCodec) throws(SystemError) {
        try replace(Name.view, JoinText.push(view, codec))
    }

    /// Makes a file what `bytes` say, or leaves it as it is.
    func replace(_ name: String, _ bytes: [UInt8]) throws(SystemError) {
        let unfinished = "\(name).tmp"
        let file = try folder.create(unfinished)
        var done = 0
        while done < bytes.count {
            done += try folder.write(bytes[done...], to: file, at: done)
        }
        try folder.sync(file)
        try folder.rename(unfinished, to: name)
        try folder.syncFolder()
    }
}
