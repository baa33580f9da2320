// Tokens, and the certificates that they and their successors are exchanged for.

import Base
import ControlCore
import Model
import Posix
import Secure

/// A search through the store in small steps.
struct IdentitySweep {
    /// The last key that was looked at, of each kind; nil: from the beginning.
    var records: StoreKey?
    var uses: StoreKey?
    /// Records that were counted on the way.
    var count = 0
    var next = Instant(nanoseconds: .min)

    /// Keys of a step, and the time to the next.
    static let keys = 256
    static let pause = Duration.seconds(1)
}

extension ControlIdentity {
    // MARK: Tokens

    /// The key by which tokens are proved, which is made where there is none.
    func secret() throws(ControlFailure) -> [UInt8] {
        if let entry = center.store.state.entry(TokenUse.secretKey) { return entry.value }
        let secret = random { random in
            (0..<Digest.byteCount).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        do throws(ControlRefusal) {
            try center.commit(
                StoreTransaction(
                    conditions: [.init(TokenUse.secretKey, modRevision: 0)],
                    changes: [.put(TokenUse.secretKey, value: secret)]))
            return secret
        } catch {
            guard case .condition = error else { throw ControlFailure(error) }
            guard let entry = center.store.state.entry(TokenUse.secretKey) else {
                throw .init(503, "another control plane makes the tokens' key")
            }
            return entry.value
        }
    }

    /// A new token for a service.
    /// - Parameter life: seconds.
    func makeToken(
        _ service: MeshName, life: Int64, isSingleUse: Bool
    ) throws(ControlFailure) -> (text: String, token: JoinToken) {
        guard center.mesh.services[service] != nil else {
            throw .init(404, "there is no service \(service.text)")
        }
        let authority = try authority()
        let token = JoinToken(
            id: random { random in JoinToken.makeID(&random) }, service: service,
            trustDomain: center.mesh.trustDomain, notAfter: wall + life,
            isSingleUse: isSingleUse, roots: authority.roots)
        return (token.text(key: try secret()), token)
    }

    // MARK: Joining

    /// Lets a proxy in.
    /// - Parameters:
    ///   - csr: a request for a certificate, PEM.
    ///   - proxy: what the proxy calls itself, a label.
    ///   - service: whose proxy it believes to be; nil: whatever the token says.
    func join(
        token text: String, csr: String, proxy: String, service: MeshName?
    ) throws(ControlFailure) -> IssuedCertificate {
        let authority = try authority()
        let secret = try secret()
        let wall = wall
        let token: JoinToken
        let request: CertificateRequest
        do throws(JoinRefusal) {
            token = try JoinToken(verifying: text, key: secret, wall: wall)
            if let service, service != token.service { throw .otherService(token.service) }
        } catch {
            throw ControlFailure(error)
        }
        request = try verified(csr)
        guard let validity = authority.validity(of: authority.issuer, wall: wall) else {
            throw .init(503, "the authority's own certificate has ended")
        }
        let admission = Admission(
            token: token, request: request, proxy: proxy, identity: try identity(of: token.service),
            validity: validity)
        // The second time where somebody has used the token with another replica meanwhile, which
        // may have been the same proxy.
        for _ in 0..<2 {
            guard let issued = try admit(admission, authority) else { continue }
            center.statistics.certificates["join", default: 0] += 1
            return issued
        }
        throw .init(503, "nothing was changed: others always came before")
    }

    /// Who is to be let in.
    private struct Admission {
        var token: JoinToken
        var request: CertificateRequest
        var proxy: String
        var identity: SPIFFEID
        var validity: Validity
    }

    /// - Returns: nil: what it was decided on has changed before it was written down.
    private func admit(
        _ admission: Admission, _ authority: Authority
    ) throws(ControlFailure) -> IssuedCertificate? {
        let token = admission.token
        var transaction = StoreTransaction()
        var record = CertificateRecord(
            service: token.service, proxy: admission.proxy, identity: admission.identity,
            serial: random { random in CertificateSerial(&random) }, wall: wall,
            notAfter: admission.validity.notAfter)
        if token.isSingleUse {
            let key = TokenUse.key(token.id)
            if let entry = center.store.state.entry(key) {
                let before = try again(entry, admission.request)
                record.serial = random { random in before.serial.next(&random) }
                record.joined = before.joined
                // What it has got before may last longer.
                record.keptUntil = max(record.keptUntil, before.keptUntil)
            } else {
                let use = TokenUse(
                    keyDigest: admission.request.keyDigest, lineage: record.serial.lineage,
                    notAfter: token.notAfter)
                transaction.conditions.append(.init(key, modRevision: 0))
                transaction.changes.append(.put(key, value: use.storeValue))
            }
        }
        let isNew = center.store.state.entry(record.key) == nil
        guard recordCount < Self.recordsMost || !isNew else {
            throw .init(507, "there are \(recordCount) proxies whose certificates are remembered")
        }
        put(record, in: &transaction)
        let issued = try issue(record, admission.request, authority, admission.validity)
        do throws(ControlRefusal) {
            try center.commit(transaction)
        } catch {
            if case .condition = error { return nil }
            throw ControlFailure(error)
        }
        if isNew { recordCount += 1 }
        written(record)
        return issued
    }

    /// What is known of whoever uses a token again with the key that he has used it with: the
    /// answer may not have reached him.
    private func again(
        _ entry: StoreEntry, _ request: CertificateRequest
    ) throws(ControlFailure) -> CertificateRecord {
        let use: TokenUse
        do throws(IdentityDamage) { use = try TokenUse(entry) } catch {
            throw .init(503, "\(error)")
        }
        guard use.keyDigest == request.keyDigest, let record = try record(use.lineage),
            record.revoked == nil
        else { throw ControlFailure(JoinRefusal.used) }
        return record
    }

    private func verified(_ csr: String) throws(ControlFailure) -> CertificateRequest {
        do throws(TLSError) {
            return try CertificateRequest(verifying: Array(csr.utf8))
        } catch {
            throw .init(400, "the certificate request: \(error)")
        }
    }

    private func identity(of name: MeshName) throws(ControlFailure) -> SPIFFEID {
        guard let service = center.mesh.services[name] else {
            throw ControlFailure(JoinRefusal.noService(name))
        }
        guard let identity = center.mesh.identity(of: service) else {
            throw .init(403, "the service \(name.text) has no identity that can be written")
        }
        return identity
    }

    private func issue(
        _ record: CertificateRecord, _ request: CertificateRequest, _ authority: Authority,
        _ validity: Validity
    ) throws(ControlFailure) -> IssuedCertificate {
        let signer = try signer(authority.issuer)
        let service = record.service
        do throws(TLSError) {
            let chain = try signer.issue(
                CertificateSubject(
                    commonName: record.proxy,
                    hosts: ["\(service.name).\(service.namespace).mesh"],
                    uris: [record.identity.rawValue]),
                for: request, validity: validity, serial: record.serial.bytes)
            return IssuedCertificate(
                chain: chain, bundle: authority.bundle, trustDomain: center.mesh.trustDomain,
                service: service, identity: record.identity, validity: validity)
        } catch {
            throw .init(503, "no certificate can be issued: \(error)")
        }
    }

    // MARK: Renewing

    /// Who a certificate says asks.
    func peer(
        _ certificate: PeerIdentity, at address: SocketAddress
    ) throws(ControlFailure) -> ControlPeer {
        guard certificate.uris.count == 1, let uri = certificate.uris.first,
            let identity = SPIFFEID(rawValue: uri),
            identity.trustDomain == center.mesh.trustDomain,
            let serial = CertificateSerial(certificate.serial)
        else { throw .init(403, "the certificate is no proxy's of this mesh") }
        let record = try record(serial.lineage)
        // The connection may have begun long ago, with a certificate that was renewed since.
        let notAfter = max(certificate.notAfter, record?.notAfter ?? .min)
        guard wall <= notAfter else { throw .init(403, "the certificate has expired") }
        guard record?.revoked == nil else { throw .init(403, "the certificate was revoked") }
        return ControlPeer(
            identity: identity, serial: serial.text, lineage: serial.lineage,
            notAfter: notAfter, service: record?.service,
            proxy: record?.proxy ?? Self.proxy(certificate), address: address)
    }

    /// What a certificate of ours says that its proxy is called; nil: nothing.
    private static func proxy(_ certificate: PeerIdentity) -> String? {
        let prefix = "/CN="
        guard certificate.subject.hasPrefix(prefix) else { return nil }
        let name = String(certificate.subject.dropFirst(prefix.count))
        return MeshName.isLabel(name) ? name : nil
    }

    /// Whether a proxy that was one is one still: its certificate, or one that came of it, is
    /// valid, and was not taken back.
    func isMember(_ peer: ControlPeer) -> Bool {
        // Whoever cannot be judged now is left for later.
        guard let record = try? record(peer.lineage) else { return wall <= peer.notAfter }
        return record.revoked == nil && wall <= max(peer.notAfter, record.notAfter)
    }

    /// The next certificate of a proxy.
    func renew(_ peer: ControlPeer, csr: String) throws(ControlFailure) -> IssuedCertificate {
        let authority = try authority()
        guard let serial = CertificateSerial(peer.serial) else {
            preconditionFailure("a peer without a serial number")
        }
        let request = try verified(csr)
        guard let validity = authority.validity(of: authority.issuer, wall: wall) else {
            throw .init(503, "the authority's own certificate has ended")
        }
        // Where nothing is kept, the certificate says it all.
        guard let name = peer.service ?? service(of: peer.identity) else {
            throw .init(403, "no service has the identity \(peer.identity.rawValue)")
        }
        let identity = try identity(of: name)
        var record =
            try record(serial.lineage)
            ?? CertificateRecord(
                service: name, proxy: peer.proxy ?? name.name, identity: identity,
                serial: serial, wall: wall, notAfter: .min / 2)
        let next = random { random in record.serial.next(&random) }
        let isDue = record.renew(next, identity: identity, wall: wall, notAfter: validity.notAfter)
        let issued = try issue(record, request, authority, validity)
        renewals[serial.lineage] = record
        // A proxy whose renewal cannot be noted gets its certificate all the same: better a list
        // that is not complete than a mesh that ends with the store.
        if isDue { note(record) }
        center.statistics.certificates["renewal", default: 0] += 1
        return issued
    }

    /// - Returns: whether it is written down.
    @discardableResult
    private func note(_ record: CertificateRecord) -> Bool {
        var transaction = StoreTransaction()
        put(record, in: &transaction)
        do throws(ControlRefusal) {
            try center.commit(transaction)
            written(record)
            return true
        } catch {
            unwritten.insert(record.serial.lineage)
            return false
        }
    }

    /// Only where nobody else has changed it since it was read: he may have taken it back.
    private func put(_ record: CertificateRecord, in transaction: inout StoreTransaction) {
        let revision = center.store.state.entry(record.key)?.modRevision ?? 0
        transaction.conditions.append(.init(record.key, modRevision: revision))
        transaction.changes.append(.put(record.key, value: record.storeValue))
    }

    private func written(_ record: CertificateRecord) {
        renewals[record.serial.lineage] = nil
        unwritten.remove(record.serial.lineage)
    }

    /// The service that has this identity.
    private func service(of identity: SPIFFEID) -> MeshName? {
        let parts = identity.rawValue.split(separator: "/")
        if parts.count == 6, parts[2] == "ns", parts[4] == "sa" {
            let name = MeshName(String(parts[5]), in: String(parts[3]))
            if center.mesh.services[name].flatMap(center.mesh.identity) == identity { return name }
        }
        return center.mesh.services.values.first { $0.identity == identity }?.meshName
    }

    // MARK: Records

    /// What is known of a lineage; nil: nothing.
    func record(_ lineage: String) throws(ControlFailure) -> CertificateRecord? {
        let entry = center.store.state.entry(CertificateRecord.key(lineage))
        return try entry.map { entry throws(ControlFailure) in try merged(entry) }
            ?? renewals[lineage]
    }

    /// A page of what is known of all, in the order of their lineages, and what to ask for next.
    func records(
        _ page: ControlPage
    ) throws(ControlFailure) -> (page: [CertificateRecord], next: String?) {
        let prefix = CertificateRecord.keys.bytes.count
        let (entries, next) = page.cut(center.store.state.entries(prefix: CertificateRecord.keys)) {
            String(decoding: $0.key.bytes.dropFirst(prefix), as: UTF8.self)
        }
        var found: [CertificateRecord] = []
        for entry in entries { found.append(try merged(entry)) }
        return (found, next)
    }

    func merged(_ entry: StoreEntry) throws(ControlFailure) -> CertificateRecord {
        var record: CertificateRecord
        do throws(IdentityDamage) { record = try CertificateRecord(entry) } catch {
            throw .init(503, "\(error)")
        }
        guard let renewal = renewals[record.serial.lineage], renewal.issued > record.issued else {
            return record
        }
        let revoked = record.revoked
        record = renewal
        record.revoked = revoked
        return record
    }

    /// Takes back a certificate, what came before it, and what would come of it.
    func revoke(_ serial: CertificateSerial) throws(ControlFailure) -> CertificateRecord {
        guard var record = try record(serial.lineage) else {
            throw .init(404, "there is no certificate \(serial.text)")
        }
        guard record.revoked == nil else { return record }
        record.revoked = wall
        let life = try authority().life
        record.keptUntil = max(record.keptUntil, wall + life + CertificateRecord.slack)
        var transaction = StoreTransaction()
        put(record, in: &transaction)
        do throws(ControlRefusal) {
            try center.commit(transaction)
        } catch {
            // Nothing that the asker could do otherwise but to ask again.
            throw .init(503, ControlFailure(error).message)
        }
        written(record)
        return record
    }

    // MARK: What has ended

    /// Forgets some of what is of no more use.
    func forget(_ now: Instant) {
        guard now >= sweep.next else { return }
        sweep.next = now + IdentitySweep.pause
        let wall = wall
        let state = center.store.state
        var ended: [StoreKey] = []
        let entries = state.entries(
            prefix: CertificateRecord.keys, after: sweep.records, limit: IdentitySweep.keys)
        for entry in entries {
            // What cannot be read is left for somebody to look at.
            if let record = try? merged(entry), wall > record.keptUntil { ended.append(entry.key) }
        }
        let count = ended.count
        sweep.count += entries.count - count
        sweep.records = entries.count < IdentitySweep.keys ? nil : entries.last?.key
        if sweep.records == nil {
            recordCount = sweep.count
            sweep.count = 0
        }
        let uses = state.entries(
            prefix: TokenUse.keys, after: sweep.uses, limit: IdentitySweep.keys)
        for entry in uses {
            guard let use = try? TokenUse(entry) else { continue }
            if wall > use.notAfter { ended.append(entry.key) }
        }
        sweep.uses = uses.count < IdentitySweep.keys ? nil : uses.last?.key
        // Bound: what was not written down is forgotten with the certificate.
        if sweep.records == nil { renewals = renewals.filter { $0.value.notAfter >= wall } }
        for lineage in unwritten.prefix(IdentitySweep.keys) {
            // Where it has been forgotten meanwhile, it has ended.
            if let record = renewals[lineage].flatMap({ _ in try? record(lineage) }) {
                guard note(record) else { break }
            } else {
                unwritten.remove(lineage)
            }
        }
        guard !ended.isEmpty else { return }
        do throws(ControlRefusal) {
            try center.commit(StoreTransaction(changes: ended.map { .delete($0) }))
            recordCount = max(0, recordCount - count)
        } catch {}
    }
}
