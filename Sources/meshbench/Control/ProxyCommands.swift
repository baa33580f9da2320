// The commands about the proxies that are connected to a control plane.

import FoundationEssentials
import Model
import Runtime

extension Command {
    static let controlProxies = Command(
        name: "control proxies",
        about: "Print the proxies of a mesh, and how far each has followed its changes",
        detail: """
            STATE is 'current' where a proxy acts by everything that it was told, 'behind' where \
            it has not said so yet, and 'refused' where it would not, with its reason. Proxies are \
            those that are connected to this control plane; of several each has its own.

            \(controlExits)
            """,
        flags: [.controlNamespace] + Flag.ofControlClients,
        run: printing("control proxies", listProxies))

    static let controlDrain = Command(
        name: "control drain",
        about: "Let a proxy's endpoint get no new requests",
        detail: """
            What is under way goes on. Its endpoint is declared 'draining', and stays so until \
            'meshbench control apply' says otherwise, or the proxy ends.

            \(controlExits)
            """,
        positionals: [.init(name: "PROXY", about: "as 'meshbench control proxies' calls it")],
        flags: Flag.ofControlClients,
        run: printing("control drain", drainProxy))
}

// MARK: What they do

func listProxies(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let namespace = try namespaceNamed(arguments)
    let pages = try client.pages("/v1/proxies")
    if arguments.has(.controlJSON) { return pages.map(line).joined() }
    var proxies: [ControlProxyListing.Proxy] = []
    for page in pages { proxies += try client.read(page, as: ControlProxyListing.self).proxies }
    return table(proxies, of: namespace)
}

func drainProxy(
    _ arguments: Arguments, _ client: ControlClient
) throws(CommandFailure) -> String {
    let name = arguments.positionals[0]
    guard MeshName.isLabel(name) else {
        throw arguments.usage("'\(name)' is no name such as cart-1")
    }
    let answer = try client.ask("POST", "/v1/proxies/\(name)/drain")
    if arguments.has(.controlJSON) { return line(answer) }
    let revision = try client.read(answer, as: ControlRevision.self).revision
    return "draining  \(name); revision \(revision)\n"
}

// MARK: Answers

/// The answer to a question for proxies.
struct ControlProxyListing: Decodable {
    struct Refused: Decodable {
        var version: UInt64
        var error: String
    }

    struct Proxy: Decodable {
        var proxy: String
        var service: String
        var sent: UInt64
        var acknowledged: UInt64
        var refused: Refused?
        var address: String?
        var health: String?
    }

    var proxies: [Proxy]
}

/// In the order of services, then of names.
/// - Parameter namespace: nil: all.
private func table(_ proxies: [ControlProxyListing.Proxy], of namespace: String?) -> String {
    let shown = proxies.filter { proxy in
        namespace.map { proxy.service.hasPrefix($0 + "/") } ?? true
    }
    guard !shown.isEmpty else { return "no proxy is connected\n" }
    let sorted = shown.sorted { ($0.service, $0.proxy) < ($1.service, $1.proxy) }
    let rows = sorted.map { proxy in
        [
            proxy.proxy, proxy.service, proxy.address ?? "-", proxy.health ?? "-",
            "\(proxy.acknowledged)", proxy.state,
        ]
    }
    return columns([["PROXY", "SERVICE", "ADDRESS", "HEALTH", "VERSION", "STATE"]] + rows)
}

extension ControlProxyListing.Proxy {
    /// What has become of what it was told last.
    fileprivate var state: String {
        if let refused { return "refused \(refused.version): \(refused.error)" }
        return acknowledged == sent ? "current" : "behind, told \(sent)"
    }
}
