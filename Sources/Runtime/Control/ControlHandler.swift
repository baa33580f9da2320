// The API of the control plane: HTTP's words on one side, `ControlPlane` and its store on the
// other. One request after the other, on the service's thread, so that whoever reads what was
// changed finds it, and conditions are exact.

import Base
import ControlCore
import Model

/// Answers the API's requests.
final class ControlHandler: ServiceHandler {
    private let center: ControlCenter
    private let identity: ControlIdentity
    private let pushes: ControlPushes
    private let envoys: ControlEnvoys
    /// Called where the proxy of a lineage was revoked.
    private let dismiss: (String) -> Void
    private let token: ControlToken
    /// Clients have shown a certificate of an authority that is believed, or they would not be
    /// here.
    private let trustsCertificates: Bool
    private let watches: ControlWatches

    private var store: any MeshStore { center.store }
    private var codec: MeshCodec { center.codec }

    init(
        _ center: ControlCenter, identity: ControlIdentity, pushes: ControlPushes,
        envoys: ControlEnvoys, token: ControlToken, trustsCertificates: Bool,
        dismiss: @escaping (String) -> Void = { _ in }
    ) {
        self.center = center
        self.identity = identity
        self.pushes = pushes
        self.envoys = envoys
        self.dismiss = dismiss
        self.token = token
        self.trustsCertificates = trustsCertificates
        let watches = ControlWatches(center.store, codec: center.codec)
        self.watches = watches
        center.afterCommit.append { watches.feed() }
    }

    func turnEnds(_ now: Instant) -> Instant? { center.turn(now) }

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        let answer = route(request)
        center.statistics.answers[answer.status, default: 0] += 1
        return answer
    }

    private func route(_ request: ServiceRequest) -> ServiceAnswer {
        let operations = ControlOperation.at(request.target.segments)
        guard let operation = operations.first(where: { $0.method == request.method }) else {
            // Whoever may not ask is not told what there is.
            guard isKnown(request) else { return unauthorized }
            guard operations.isEmpty else { return notAllowed(operations) }
            return error(404, "there is nothing here; /v1/openapi.json says what there is")
        }
        guard !operation.needsToken || isKnown(request) else { return unauthorized }
        let answer: ServiceAnswer
        do throws(ControlFailure) {
            answer = try self.answer(operation, request)
        } catch {
            answer = self.error(error.status, error.message, error.problems, error.fields)
        }
        return center.described(answer, of: operation)
    }

    private func answer(
        _ operation: ControlOperation, _ request: ServiceRequest
    ) throws(ControlFailure) -> ServiceAnswer {
        let target = request.target
        for parameter in target.query where !operation.parameters.contains(parameter.name) {
            throw .init(400, "unknown parameter '\(parameter.name)'")
        }
        switch operation {
        case .listDeclarations: return .json(200, try declarations(target))
        case .getDeclaration: return try get(key(target))
        case .putDeclaration: return try put(key(target), request)
        case .deleteDeclaration:
            let change = ControlChange.delete(key(target), try condition(request))
            return .json(200, ControlText.revision(try perform(change).revision))
        case .apply: return .json(200, try apply(request))
        case .watch: return try watch(target)
        case .health: return .json(200, health)
        case .status: return .json(200, Array(center.statistics.json(facts).utf8))
        case .openAPI:
            let version = center.statistics.version
            return .json(200, Array(ControlOpenAPI.document(version: version).utf8))
        case .metrics:
            let text =
                center.statistics.prometheus(facts)
                + pushes.statistics.prometheus(connected: pushes.count) + envoys.prometheus
                + center.collectors.map { $0() }.joined()
            return .whole(
                status: 200,
                fields: [ServiceField("content-type", "text/plain; version=0.0.4")],
                body: Array(text.utf8))
        case .live: return .text(200, "live")
        case .ready:
            guard let failure = suspension else { return .text(200, "ready") }
            return error(503, failure)
        case .createToken, .listCertificates, .revokeCertificate, .rotateAuthority:
            return try answer(ofIdentity: operation, request)
        case .listProxies:
            return .json(200, pushes.json(with: envoys.status(), try ControlPage(target)))
        case .drainProxy:
            let revision = try pushes.drain(target.segments[2])
            return .json(200, ControlText.revision(revision))
        case .authorities, .join, .renewCertificate, .watchPushes, .acknowledgePush, .heartbeat,
            .leave:
            preconditionFailure("an operation of another listener")
        }
    }

    private func answer(
        ofIdentity operation: ControlOperation, _ request: ServiceRequest
    ) throws(ControlFailure) -> ServiceAnswer {
        switch operation {
        case .createToken:
            let wish = try TokenWish(request.body)
            let (text, token) = try identity.makeToken(
                wish.service, life: wish.life, isSingleUse: wish.isSingleUse)
            return .json(201, IdentityText.token(text, token))
        case .listCertificates:
            let (records, next) = try identity.records(try ControlPage(request.target))
            return .json(
                200, IdentityText.certificates(records, next: next, try identity.authority()))
        case .revokeCertificate:
            let text = request.target.segments[2]
            guard let serial = CertificateSerial(text) else {
                throw .init(404, "there is no certificate \(text)")
            }
            let record = try identity.revoke(serial)
            dismiss(serial.lineage)
            return .json(200, IdentityText.certificate(record))
        default: return .json(200, IdentityText.authority(try identity.rotate()))
        }
    }

    // MARK: Who asks

    private func isKnown(_ request: ServiceRequest) -> Bool {
        if trustsCertificates, request.peer.isSecure { return true }
        return request.bearerToken.map(token.matches) ?? false
    }

    private var unauthorized: ServiceAnswer {
        error(
            401, "the token is needed: authorization: Bearer TOKEN", [],
            [ServiceField("www-authenticate", "Bearer")])
    }

    private func notAllowed(_ operations: [ControlOperation]) -> ServiceAnswer {
        let methods = operations.map(\.method).flatMap { $0 == "GET" ? ["GET", "HEAD"] : [$0] }
        let list = methods.joined(separator: ", ")
        return error(405, "the methods here are \(list)", [], [ServiceField("allow", list)])
    }

    private func error(
        _ status: Int, _ message: String, _ problems: [MeshBodyProblem] = [],
        _ fields: [ServiceField] = []
    ) -> ServiceAnswer {
        .json(status, ControlText.error(message, problems), fields: fields)
    }

    // MARK: Reading

    /// - Precondition: the path is a declaration's, as the routing has seen.
    private func key(_ target: ServiceTarget) -> MeshKey {
        guard let key = ControlOperation.key(target.segments) else {
            preconditionFailure("routed to no key")
        }
        return key
    }

    private func declarations(_ target: ServiceTarget) throws(ControlFailure) -> [UInt8] {
        var kinds = MeshKind.allCases.sorted()
        if let word = target["kind"] {
            guard let kind = MeshKind(rawValue: word) else {
                let hint = suggestion(for: word, in: MeshKind.allCases.map(\.rawValue))
                throw .init(400, "unknown kind '\(word)'\(hint)")
            }
            kinds = [kind]
        }
        if let word = target["namespace"], !MeshName.isLabel(word) {
            throw .init(400, "'\(word)' is no namespace")
        }
        let prefixes = kinds.map { kind in
            StoreKey("\(kind.plural)/" + (target["namespace"].map { $0 + "/" } ?? ""))
        }
        let keys = prefixes.flatMap { store.state.entries(prefix: $0) }
            .compactMap { MeshKey($0.key) }
        let damaged = center.plane.damaged.values.filter { damage in
            prefixes.contains { damage.key.hasPrefix($0) }
        }
        let mesh = center.mesh
        return ControlText.declarations(
            keys.lazy.compactMap { mesh[$0] },
            damaged: damaged.sorted { $0.key < $1.key }, revision: store.state.revision,
            encode: codec.encode)
    }

    private func get(_ key: MeshKey) throws(ControlFailure) -> ServiceAnswer {
        let storeKey = StoreKey(key.path)
        let revision = store.state.entry(storeKey)?.modRevision ?? 0
        if let damage = center.plane.damaged[storeKey] {
            // With the tag of what stands there, so that it can be mended under a condition.
            throw .init(500, "\(damage)", fields: [tag(revision)])
        }
        guard let declaration = center.mesh[key] else {
            throw .init(404, "there is no \(key.title)")
        }
        return .json(200, codec.encode(declaration), fields: [tag(revision)])
    }

    private func tag(_ revision: UInt64) -> ServiceField { ServiceField("etag", "\"\(revision)\"") }

    private func watch(_ target: ServiceTarget) throws(ControlFailure) -> ServiceAnswer {
        var after = store.state.revision
        if let word = target["after"] {
            guard let revision = UInt64(word) else {
                throw .init(400, "'after=\(word)': a revision is needed")
            }
            after = revision
        }
        guard let watch = watches.watch(after: after) else {
            throw .init(
                410, "the history does not have what follows \(after): read the declarations anew")
        }
        return .watch(watch)
    }

    private var health: [UInt8] {
        let items = (center.health?.records ?? []).map { name, record in
            let reason = record.reason.map { ",\"reason\":\(ControlText.quoted($0))" } ?? ""
            return "{\"key\":\(ControlText.quoted(MeshKey(.endpoint, name).path)),"
                + "\"healthy\":\(record.isHealthy),\"passed\":\(record.passes),"
                + "\"failed\":\(record.failures)\(reason)}"
        }
        return Array("{\"endpoints\":[\(items.joined(separator: ","))]}".utf8)
    }

    private var suspension: String? {
        guard case .suspended(let failure) = store.health else { return nil }
        return "the store takes no changes: \(failure)"
    }

    private var damage: String? {
        let damaged = center.plane.damaged
        guard let first = damaged.values.min(by: { $0.key < $1.key }) else { return nil }
        return damaged.count == 1 ? "\(first)" : "\(first); and \(damaged.count - 1) more"
    }

    private var facts: ControlFacts {
        let contents = store.state.contents
        let mesh = center.mesh
        var facts = ControlFacts(
            revision: contents.revision,
            counts: [
                (.service, mesh.services.count), (.endpoint, mesh.endpoints.count),
                (.route, mesh.routes.count), (.policy, mesh.policies.count),
                (.authorization, mesh.authorizations.count),
            ], damaged: center.plane.damaged.count, watches: watches.count, keys: contents.count,
            bytes: contents.byteCount,
            condition: "sound", isWritable: true)
        switch store.health {
        case .sound: facts.failure = damage
        case .growing(let failure):
            facts.condition = "growing"
            facts.failure = failure
        case .suspended(let failure):
            facts.condition = "suspended"
            facts.failure = failure
            facts.isWritable = false
        }
        return facts
    }

    // MARK: Changing

    private func put(
        _ key: MeshKey, _ request: ServiceRequest
    ) throws(ControlFailure) -> ServiceAnswer {
        let condition = try condition(request)
        let declaration: MeshDeclaration
        do throws(MeshBodyError) {
            declaration = try codec.declaration(request.body)
        } catch {
            throw ControlFailure(error)
        }
        guard declaration.key == key else {
            throw .init(
                422, "nothing was changed",
                [.init(key: key, "the body declares the \(declaration.key.title)")])
        }
        let outcome = try perform(.put(declaration, condition))
        let found = outcome.unchanged > 0 ? store.state.entry(StoreKey(key.path)) : nil
        let revision = found?.modRevision ?? outcome.revision
        return .json(
            outcome.created.isEmpty ? 200 : 201, ControlText.revision(outcome.revision),
            fields: [tag(revision)])
    }

    private func apply(_ request: ServiceRequest) throws(ControlFailure) -> [UInt8] {
        let prune = try flag("prune", request.target)
        let dryRun = try flag("dry_run", request.target)
        let body: MeshBody
        do throws(MeshBodyError) {
            body = try codec.body(request.body)
        } catch {
            throw ControlFailure(error)
        }
        let outcome = try perform(.apply(body, prune: prune), dryRun: dryRun)
        return ControlText.outcome(outcome, warnings: traps(in: body))
    }

    /// What is likely to be a mistake in what a body declares, whether it has changed anything.
    private func traps(in body: MeshBody) -> [MeshProblem] {
        let named = body.declarations.filter { $0.key.kind == .policy || $0.key.kind == .route }
        guard !named.isEmpty else { return [] }
        var mesh = center.plane.mesh
        for declaration in named { mesh.declare(declaration) }
        return mesh.traps(of: Set(named.map(\.key)))
    }

    private func perform(
        _ change: ControlChange, dryRun: Bool = false
    ) throws(ControlFailure) -> ControlOutcome {
        do throws(ControlRefusal) {
            return try center.perform(change, dryRun: dryRun)
        } catch {
            throw ControlFailure(error)
        }
    }

    private func flag(_ name: String, _ target: ServiceTarget) throws(ControlFailure) -> Bool {
        switch target[name] {
        case nil, "false": false
        case "true": true
        case let word?: throw .init(400, "'\(name)=\(word)': true or false is needed")
        }
    }

    private func condition(_ request: ServiceRequest) throws(ControlFailure) -> ControlCondition {
        ControlCondition(
            match: try match("if-match", request), noneMatch: try match("if-none-match", request))
    }

    /// `*`, or entity tags (RFC 9110, 13.1.1). Each is the revision that last changed a key.
    private func match(
        _ name: String, _ request: ServiceRequest
    ) throws(ControlFailure) -> ControlCondition.Match? {
        let lines = request.fields.filter { $0.name == name }.map(\.value)
        guard !lines.isEmpty else { return nil }
        let text = lines.joined(separator: ",")
        if text == "*" { return .any }
        var revisions: [UInt64] = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            let tag = word.drop { $0 == " " || $0 == "\t" }
            let trimmed = String(tag.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
            guard trimmed.count > 2, trimmed.hasPrefix("\""), trimmed.hasSuffix("\""),
                let revision = UInt64(trimmed.dropFirst().dropLast())
            else { throw .init(400, "\(name): an etag such as \"12\" is needed, or *") }
            revisions.append(revision)
        }
        return .revisions(revisions)
    }
}
