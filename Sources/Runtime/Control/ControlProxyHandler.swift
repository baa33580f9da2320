// The proxies' listener: certificates for whoever has a token or a certificate, and for those with
// a certificate what `ControlProxies` has for them. Always TLS, with a certificate of the mesh's
// own authority, which is renewed here.

import Base
import ControlCore
import FoundationEssentials
import Model
import Posix
import Secure

/// Answers the proxies' requests.
final class ControlProxyHandler: ServiceHandler {
    private let center: ControlCenter
    private let identity: ControlIdentity
    private let proxies: any ControlProxies
    private let envoys: ControlEnvoys?
    /// Where it listens, which its certificate names.
    private let address: SocketAddress
    let security = ServiceSecurity()
    /// What the context of `security` was made of, and when, seconds since 1970.
    private var shown: (issuer: String, bundle: [UInt8], issued: Int64, notAfter: Int64)?
    private var renewal = Instant(nanoseconds: .min)
    private var nextStep = Instant(nanoseconds: .min)
    private var nextSift = Instant(nanoseconds: .min)

    /// Between looks at whether something is due, and after a failure. Where the store changes they
    /// come at once.
    private static let pause = Duration.seconds(1)
    /// The same while the authority changes, which goes on by what proxies say.
    private static let changingPause = Duration.milliseconds(100)

    /// - Throws: where there can be no authority.
    init(
        _ center: ControlCenter, _ identity: ControlIdentity,
        proxies: any ControlProxies, envoys: ControlEnvoys? = nil, address: SocketAddress,
        now: Instant
    ) throws(ControlFailure) {
        self.center = center
        self.identity = identity
        self.proxies = proxies
        self.envoys = envoys
        self.address = address
        try identity.configure()
        try secure(now)
        center.afterCommit.append { [weak self] in
            self?.nextStep = Instant(nanoseconds: .min)
        }
    }

    // MARK: Its own certificate

    /// Renews what the listener shows, and whom it believes, where either is due.
    private func secure(_ now: Instant) throws(ControlFailure) {
        let authority = try identity.authority()
        let bundle = authority.bundle
        let issuer = authority.controlIssuer
        let wall = identity.wall
        let isSame = shown.map { $0.issuer == issuer.digest && $0.bundle == bundle } ?? false
        guard !isSame || now >= renewal || isOff(wall) else { return }
        guard let validity = authority.validity(of: issuer, wall: wall) else {
            throw .init(503, "the authority's own certificate has ended")
        }
        let signer = try identity.signer(issuer)
        var subject = CertificateSubject(
            commonName: "control", uris: [SPIFFEID.control(of: center.mesh.trustDomain)])
        if address.isLoopback { subject.hosts = ["localhost"] }
        subject.addresses = [address.host]
        do throws(TLSError) {
            let leaf = try signer.issue(subject, validity: validity)
            var options = TLSServerOptions(identity: leaf, protocols: ["h2", "http/1.1"])
            options.authorities = bundle
            options.asksClient = true
            options.minimum = .v13
            security.context = try TLSContext(server: options)
            // With the same it asks endpoints how they are.
            var asking = TLSClientOptions(authorities: bundle, protocols: ["h2"])
            asking.identity = leaf
            asking.minimum = .v13
            center.health?.context = try TLSContext(client: asking)
        } catch {
            throw .init(503, "no certificate for the proxies' listener: \(error)")
        }
        center.statistics.certificates["control", default: 0] += 1
        if shown?.bundle != bundle {
            let text = String(decoding: bundle, as: UTF8.self)
            proxies.trust(text)
            envoys?.trust(text, now)
        }
        shown = (issuer.digest, bundle, wall, validity.notAfter)
        renewal = identity.random { random in
            CertificateRenewal.due(
                received: now, wall: wall * 1_000_000_000, notAfter: validity.notAfter,
                random: &random)
        }
    }

    /// Whether the wall clock has been set so that the certificate is at its end, or from the
    /// future.
    private func isOff(_ wall: Int64) -> Bool {
        guard let shown else { return false }
        let life = shown.notAfter - shown.issued
        return wall > shown.notAfter - life / 4 || wall < shown.issued - Authority.backdating / 2
    }

    func turnEnds(_ now: Instant) -> Instant? {
        if now >= nextStep {
            nextStep = now + (identity.isChanging ? Self.changingPause : Self.pause)
            do throws(ControlFailure) {
                // What is trusted is made known before anybody is asked whether he knows it.
                try secure(now)
                try identity.advance { lineage in
                    envoys?.hasAcknowledgedTrust(lineage: lineage)
                        ?? proxies.hasAcknowledgedTrust(lineage: lineage)
                }
                identity.forget(now)
            } catch {
                center.statistics.identityFailures += 1
                // Nobody believes it any more. That says nothing of endpoints: they are asked as by
                // a control plane that has no identity.
                if let shown, identity.wall > shown.notAfter { center.health?.context = nil }
            }
        }
        if now >= nextSift {
            // What a member may ask is looked at when he asks. What he was promised once, such as
            // to be told of changes, ends here.
            nextSift = now + Self.pause
            proxies.sift { identity.isMember($0) }
            envoys?.sift { identity.isMember($0) }
        }
        let pushes = proxies.turnEnds(now) ?? .distantFuture
        let answers = envoys?.turnEnds(now) ?? .distantFuture
        return max(now, min(nextStep, pushes, answers))
    }

    // MARK: Requests

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        let answer = answer { () throws(ControlFailure) in try route(request) }
        center.statistics.proxyAnswers[answer.status, default: 0] += 1
        return answer
    }

    /// What comes of it, or what it fails of.
    private func answer(
        _ body: () throws(ControlFailure) -> ServiceAnswer
    ) -> ServiceAnswer {
        do throws(ControlFailure) {
            return try body()
        } catch {
            return .json(
                error.status, ControlText.error(error.message, error.problems),
                fields: error.fields)
        }
    }

    private func route(_ request: ServiceRequest) throws(ControlFailure) -> ServiceAnswer {
        let segments = request.target.segments
        let operations = ControlOperation.at(segments, on: .proxies)
        if let operation = operations.first {
            guard operation.method == request.method else { throw .method(operation.method) }
            if let parameter = request.target.query.first {
                throw .init(400, "unknown parameter '\(parameter.name)'")
            }
            let answer = answer { () throws(ControlFailure) in
                try self.answer(operation, request)
            }
            return center.described(answer, of: operation)
        }
        if let kind = Self.discovery(segments), let envoys {
            let peer = try peer(request)
            guard request.method == "POST" else { throw .method("POST") }
            return try envoys.respond(to: request, kind: kind, from: peer)
        }
        throw .init(404, "there is nothing here")
    }

    /// `KIND` of Envoy's `/v3/discovery:KIND`; nil: another path.
    private static func discovery(_ segments: [String]) -> String? {
        let prefix = "discovery:"
        guard segments.count == 2, segments[0] == "v3", segments[1].hasPrefix(prefix) else {
            return nil
        }
        return String(segments[1].dropFirst(prefix.count))
    }

    private func answer(
        _ operation: ControlOperation, _ request: ServiceRequest
    ) throws(ControlFailure) -> ServiceAnswer {
        switch operation {
        case .authorities:
            return .whole(
                status: 200, fields: [ServiceField("content-type", "application/x-pem-file")],
                body: try identity.authority().bundle)
        case .join: return try join(request)
        case .renewCertificate: return try renew(request)
        case .watchPushes, .acknowledgePush, .heartbeat, .leave:
            return proxies.respond(to: request, operation, from: try peer(request))
        default: preconditionFailure("an operation of another listener")
        }
    }

    private func peer(_ request: ServiceRequest) throws(ControlFailure) -> ControlPeer {
        guard let certificate = request.peer.certificate else {
            throw .init(401, "a certificate of the mesh is needed; /v1/join gives one for a token")
        }
        return try identity.peer(certificate, at: request.peer.address)
    }

    private func join(_ request: ServiceRequest) throws(ControlFailure) -> ServiceAnswer {
        let body = try ControlBody.read(request.body, as: JoinBody.self)
        guard MeshName.isLabel(body.proxy) else {
            throw .init(400, "proxy: a name such as cart-1 is needed")
        }
        var service: MeshName?
        if let text = body.service {
            guard let key = MeshKey(path: "\(MeshKind.service.plural)/\(text)") else {
                throw .init(400, "service: a name such as shop/cart is needed")
            }
            service = key.name
        }
        do throws(ControlFailure) {
            let issued = try identity.join(
                token: body.token, csr: body.csr, proxy: body.proxy, service: service)
            return .json(200, issued.json)
        } catch {
            center.statistics.joinRefusals += 1
            throw error
        }
    }

    private func renew(_ request: ServiceRequest) throws(ControlFailure) -> ServiceAnswer {
        let peer = try peer(request)
        let body = try ControlBody.read(request.body, as: RenewalBody.self)
        return .json(200, try identity.renew(peer, csr: body.csr).json)
    }
}

private struct JoinBody: Decodable {
    var token: String
    var csr: String
    var proxy: String
    var service: String?
}

private struct RenewalBody: Decodable {
    var csr: String
}

/// Bodies of requests that are no declarations.
enum ControlBody {
    /// What a body says. Keys that are not known are passed over.
    static func read<Value: Decodable>(
        _ body: [UInt8], as type: Value.Type
    ) throws(ControlFailure) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(body))
        } catch let error as DecodingError {
            throw ControlFailure(400, "the body cannot be read: \(words(error))")
        } catch {
            throw ControlFailure(400, "the body cannot be read")
        }
    }

    private static func words(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): "'\(key.stringValue)' is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "'\(context.codingPath.last?.stringValue ?? "")' is not of the kind that it should be"
        default: "it is no JSON"
        }
    }
}

extension IssuedCertificate {
    /// The answer to whoever asked for it.
    var json: [UInt8] {
        func quoted(_ bytes: [UInt8]) -> String {
            ControlText.quoted(String(decoding: bytes, as: UTF8.self))
        }
        let fields = [
            "\"certificate\":\(quoted(chain))", "\"authorities\":\(quoted(bundle))",
            "\"trust_domain\":\(ControlText.quoted(trustDomain))",
            "\"service\":\(ControlText.quoted(service.text))",
            "\"namespace\":\(ControlText.quoted(service.namespace))",
            "\"identity\":\(ControlText.quoted(identity.rawValue))",
            "\"not_before\":\(validity.notBefore)", "\"not_after\":\(validity.notAfter)",
        ]
        return Array("{\(fields.joined(separator: ","))}".utf8)
    }
}

extension ControlFailure {
    static func method(_ method: String) -> ControlFailure {
        let all = method == "GET" ? "GET, HEAD" : method
        var failure = ControlFailure(405, "the methods here are \(all)")
        failure.fields = [ServiceField("allow", all)]
        return failure
    }
}

extension ServiceAnswer {
    /// What it is answered with; a watch begins with 200.
    var status: Int {
        switch self {
        case .whole(let status, _, _): status
        case .watch, .call: 200
        }
    }
}
