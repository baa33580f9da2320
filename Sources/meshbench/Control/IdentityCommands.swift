// The commands about identities: tokens, certificates, and the authority.

import Base
import FoundationEssentials
import Model
import Runtime

extension Command {
    static let controlToken = Command(
        name: "control token",
        about: "Make a token with which a process joins the mesh",
        detail: """
            Prints the token alone, for a file that the process reads. It lets whoever has it be a \
            proxy of SERVICE: once, unless --many is given, and until it ends.

            \(controlExits)
            """,
        positionals: [.init(name: "SERVICE", about: "cart, or shop/cart")],
        flags: [.tokenLife, .many, .controlNamespace] + Flag.ofControlClients,
        run: printing("control token", makeToken))

    static let controlCertificates = Command(
        name: "control certificates",
        about: "Print the authority of a mesh, and the certificates that proxies have",
        detail: """
            With --revoke, takes a certificate back: the control plane refuses whoever has it, or \
            one that came of it by renewal, and gives him no other.

            \(controlExits)
            """,
        flags: [.revoke] + Flag.ofControlClients,
        run: printing("control certificates", listCertificates))

    static let controlRotate = Command(
        name: "control rotate",
        about: "Begin to change the root of a mesh",
        detail: """
            The new root is made known first, then issues, and when nothing of the old one's can \
            be valid any more that is dropped. 'meshbench control certificates' shows how far it \
            is.

            \(controlExits)
            """,
        flags: Flag.ofControlClients,
        run: printing("control rotate", rotateAuthority))
}

extension Flag {
    static let tokenLife = Flag(
        "--life", "DURATION", standard: "1h", about: "how long the token may be used")
    static let many = Flag("--many", about: "it may be used more than once")
    static let revoke = Flag("--revoke", "SERIAL", about: "take this certificate back")
}

// MARK: What they do

func makeToken(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let service = try keyNamed(.service, arguments.positionals[0], arguments).name
    let life = try arguments.duration(.tokenLife) ?? .seconds(3600)
    guard life.nanoseconds % 1_000_000_000 == 0, life > .zero else {
        throw arguments.usage("'--life': whole seconds are needed")
    }
    let body = """
        {"service":"\(service.text)","life_seconds":\(life.nanoseconds / 1_000_000_000),\
        "single_use":\(!arguments.has(.many))}
        """
    let answer = try client.succeeded(try client.send("POST", "/v1/tokens", body: body))
    if arguments.has(.controlJSON) { return line(answer) }
    return try client.read(answer, as: ControlTokenMade.self).token + "\n"
}

func listCertificates(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    if let serial = arguments.value(.revoke) {
        guard !serial.isEmpty, serial.allSatisfy({ $0.isHexDigit && $0.isASCII }) else {
            throw arguments.usage("'--revoke \(serial)' is no serial number")
        }
        let answer = try client.ask("POST", "/v1/certificates/\(serial.lowercased())/revoke")
        if arguments.has(.controlJSON) { return line(answer) }
        let record = try client.read(answer, as: ControlCertificate.self)
        return "revoked  \(record.serial) of \(record.proxy), \(record.service)\n"
    }
    let pages = try client.pages("/v1/certificates")
    if arguments.has(.controlJSON) { return pages.map(line).joined() }
    var all = try client.read(pages[0], as: ControlCertificates.self)
    for page in pages.dropFirst() {
        all.certificates += try client.read(page, as: ControlCertificates.self).certificates
    }
    return all.table(wall: Date())
}

func rotateAuthority(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let answer = try client.ask("POST", "/v1/authority/rotate")
    if arguments.has(.controlJSON) { return line(answer) }
    return try client.read(answer, as: ControlAuthority.self).text
}

// MARK: Answers

/// The answer to a wish for a token.
struct ControlTokenMade: Decodable {
    var token: String
}

/// What a proxy's certificate says.
struct ControlCertificate: Decodable {
    private enum CodingKeys: String, CodingKey {
        case serial, service, proxy, identity, revoked
        case notAfter = "not_after"
    }

    var serial: String
    var service: String
    var proxy: String
    var identity: String
    /// Seconds since 1970, as the other.
    var notAfter: Int64
    var revoked: Int64?
}

/// How the authority is.
struct ControlAuthority: Decodable {
    private enum CodingKeys: String, CodingKey {
        case phase, roots
        case nextStep = "next_step"
        case life = "life_seconds"
        case issuingRoot = "issuing_root"
        case issuerEnd = "issuer_not_after"
    }

    var phase: String
    /// When time alone makes the next step, seconds since 1970.
    var nextStep: Int64?
    /// Of certificates, seconds.
    var life: Int64
    var issuerEnd: Int64
    var issuingRoot: String
    var roots: [String]

    /// Digits of a digest that are shown: enough to tell roots apart.
    private static let shown = 16

    var text: String {
        var rows = [["phase", phase]]
        if let nextStep { rows.append(["next step", "\(date(nextStep)) at the latest"]) }
        rows.append(["life", "\(life) s"])
        rows.append(["issuer", "until \(date(issuerEnd))"])
        for root in roots {
            let isIssuing = root == issuingRoot ? ", issues" : ""
            rows.append(["root", "\(root.prefix(Self.shown))\(isIssuing)"])
        }
        return columns(rows)
    }
}

/// The answer to a question for certificates.
struct ControlCertificates: Decodable {
    var authority: ControlAuthority
    var certificates: [ControlCertificate]

    /// The authority, and a line for each certificate.
    func table(wall: Date) -> String {
        guard !certificates.isEmpty else { return authority.text + "\nno proxy has joined\n" }
        let rows = certificates.map { certificate in
            let isOver = Double(certificate.notAfter) < wall.timeIntervalSince1970
            let state = certificate.revoked != nil ? "revoked" : isOver ? "expired" : "valid"
            return [
                certificate.service, certificate.proxy, state, date(certificate.notAfter),
                certificate.serial,
            ]
        }
        return authority.text + "\n"
            + columns([["SERVICE", "PROXY", "STATE", "UNTIL", "SERIAL"]] + rows)
    }
}

private func date(_ seconds: Int64) -> String {
    Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
}
