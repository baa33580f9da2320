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
    /// When the next step is due.
    var next = Instant(nanoseconds: .min)

    /// Bound: keys of a kind that a step looks at.
    static let keys = 256
    /// Bound: those of them that it forgets, so that its transaction stays within the 128
    /// operations that an etcd takes by itself.
    static let removals = 48
    /// Bound: records that a step writes down which could not be before, each a commit that
    /// everybody waits for. In the time that records are kept for (`CertificateRecord.slack`) they
    /// come to more than there can be proxies connected.
    static let notes = 32
    /// From one step to the next.
    static let pause = Duration.seconds(1)

    /// The next step through one kind of keys.
    /// - Parameters:
    ///   - after: the last key that was looked at; becomes that of this step.
    ///   - hasEnded: whether an entry is of no more use.
    /// - Returns: the entries that are not.
    static func step(
        _ prefix: StoreKey, after: inout StoreKey?, in state: StoreState,
        _ hasEnded: (StoreEntry) -> Bool
    ) -> [StoreEntry] {
        var ended: [StoreEntry] = []
        let entries = state.entries(prefix: prefix, after: after, limit: keys)
        for entry in entries {
            after = entry.key
            if hasEnded(entry) { ended.append(entry) }
            if ended.count == removals { return ended }
        }
        if entries.count < keys { after = nil }
        return ended
    }
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
        // Again where somebody has used the token with another replica meanwhile, which may have
        // been the same proxy.
        for _ in 0..<Self.attempts {
            guard let issued = try admit(admission, authority) else { continue }
            center.statistics.certificates["join", default: 0] += 1
            return issued
        }
        throw Self.outrun
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
        if center.store.state.entry(record.key) == nil {
            let count = center.store.state.count(prefix: CertificateRecord.keys)
            guard count < recordsMost else {
                throw .init(507, "there are \(count) proxies whose certificates are remembered")
            }
        }
        let issued = try issue(record, admission.request, authority, admission.validity)
        return try write(record, with: transaction) ? issued : nil
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
        // The mesh refuses that as well, but not where others write to the store.
        guard identity.rawValue != SPIFFEID.control(of: center.mesh.trustDomain) else {
            throw .init(403, "the service \(name.text) has the control plane's identity")
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
        if isDue, note(serial.lineage), try self.record(serial.lineage)?.revoked != nil {
            // By way of another control plane, at this moment.
            throw .init(403, "the certificate was revoked")
        }
        center.statistics.certificates["renewal", default: 0] += 1
        return issued
    }

    /// Writes down what has become of a lineage.
    /// - Returns: false: that could not be, and is due later.
    private func note(_ lineage: String) -> Bool {
        do throws(ControlFailure) {
            for _ in 0..<Self.attempts {
                // Each time as it then is: somebody may have taken it back. What has been forgotten
                // or cannot be read is not for this to mend.
                guard let record = try? record(lineage) else {
                    unwritten.remove(lineage)
                    return true
                }
                if try write(record) { return true }
            }
        } catch {
            // The store takes nothing at present.
        }
        unwritten.insert(lineage)
        return false
    }

    /// Writes a record down, with what else a transaction has.
    /// - Returns: false: it was not, as somebody has changed it since it was read, or something
    ///   else that the transaction goes by.
    private func write(
        _ record: CertificateRecord, with transaction: StoreTransaction = StoreTransaction()
    ) throws(ControlFailure) -> Bool {
        var transaction = transaction
        let revision = center.store.state.entry(record.key)?.modRevision ?? 0
        transaction.conditions.append(.init(record.key, modRevision: revision))
        transaction.changes.append(.put(record.key, value: record.storeValue))
        do throws(ControlRefusal) {
            try center.commit(transaction)
        } catch {
            if case .condition = error { return false }
            throw ControlFailure(error)
        }
        renewals[record.serial.lineage] = nil
        unwritten.remove(record.serial.lineage)
        return true
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
    /// - Complexity: O(items of the page).
    func records(
        _ page: ControlPage
    ) throws(ControlFailure) -> (page: [CertificateRecord], next: String?) {
        let entries = center.store.state.entries(
            prefix: CertificateRecord.keys, after: CertificateRecord.key(page.after),
            limit: page.limit + 1)
        var found: [CertificateRecord] = []
        for entry in entries.prefix(page.limit) { found.append(try merged(entry)) }
        return (found, entries.count > page.limit ? found.last?.serial.lineage : nil)
    }

    /// What an entry of the store says, with what has become of it since.
    func merged(_ entry: StoreEntry) throws(ControlFailure) -> CertificateRecord {
        do throws(IdentityDamage) {
            let record = try CertificateRecord(entry)
            return renewals[record.serial.lineage].map { record.merged(with: $0) } ?? record
        } catch {
            throw .init(503, "\(error)")
        }
    }

    /// Takes back a certificate, what came before it, and what would come of it.
    func revoke(_ serial: CertificateSerial) throws(ControlFailure) -> CertificateRecord {
        let life = try authority().life
        for _ in 0..<Self.attempts {
            guard var record = try record(serial.lineage) else {
                throw .init(404, "there is no certificate \(serial.text)")
            }
            guard record.revoked == nil else { return record }
            record.revoked = wall
            record.keptUntil = max(record.keptUntil, wall + life + CertificateRecord.slack)
            if try write(record) { return record }
        }
        throw Self.outrun
    }

    /// Others have changed the same thing each time that it was tried.
    private static var outrun: ControlFailure {
        ControlFailure(.unavailable("nothing was changed: others always came before"))
    }

    // MARK: What has ended

    /// Forgets some of what is of no more use, and writes down some of what could not be before.
    func forget(_ now: Instant) {
        guard now >= sweep.next else { return }
        sweep.next = now + IdentitySweep.pause
        let state = center.store.state
        let wall = wall
        // What cannot be read is left for somebody to look at.
        let records = IdentitySweep.step(
            CertificateRecord.keys, after: &sweep.records, in: state
        ) { (try? merged($0)).map { wall > $0.keptUntil } ?? false }
        let uses = IdentitySweep.step(TokenUse.keys, after: &sweep.uses, in: state) {
            (try? TokenUse($0)).map { wall > $0.notAfter } ?? false
        }
        forget(records + uses)
        // Bound: what was not written down is forgotten with the certificate.
        if sweep.records == nil { renewals = renewals.filter { $0.value.notAfter >= wall } }
        for lineage in unwritten.prefix(IdentitySweep.notes) {
            if renewals[lineage] == nil {
                unwritten.remove(lineage)
            } else if !note(lineage) {
                break
            }
        }
    }

    /// - Parameter entries: what is of no more use. What another control plane has changed since
    ///   may be of use again: then all of them are left for the next round.
    private func forget(_ entries: [StoreEntry]) {
        guard !entries.isEmpty else { return }
        let transaction = StoreTransaction(
            conditions: entries.map { .init($0.key, modRevision: $0.modRevision) },
            changes: entries.map { .delete($0.key) })
        do throws(ControlRefusal) {
            try center.commit(transaction)
        } catch {
            if case .condition = error { return }
            center.statistics.identityFailures += 1
        }
    }
}
