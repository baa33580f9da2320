import ControlCore
import Posix

// What a proxy asks its control plane, and what a refusal means.

extension CallRequest {
    /// - Parameters:
    ///   - address: where requests to its service come in; nil: none do yet.
    ///   - sign: makes a request for a certificate; called by those that send one.
    init(
        _ call: SubscriberCall, of identity: JoinIdentity, _ configuration: JoinConfiguration,
        address: SocketAddress?, sign: () throws(JoinFailure) -> String
    ) throws(JoinFailure) {
        let proxy = JoinText.text(identity.proxy)
        func post(
            _ name: String, _ members: KeyValuePairs<String, String?>, isStream: Bool = false
        ) -> CallRequest {
            CallRequest(
                method: "POST", path: "/v1/\(name)", body: JoinText.object(members),
                isStream: isStream)
        }
        switch call {
        case .authorities: self.init(method: "GET", path: "/v1/authorities")
        case .join:
            self = post(
                "join",
                [
                    "token": JoinText.text(configuration.token ?? ""),
                    "csr": JoinText.text(try sign()), "proxy": proxy,
                ])
        case .certificate:
            self = post("proxy/certificate", ["csr": JoinText.text(try sign())])
        case .watch(let held, let registers):
            self = post(
                "proxy/watch",
                [
                    "proxy": proxy, "service": JoinText.text(identity.service),
                    "held": held.map { "\($0)" },
                    "address": registers ? address.map { JoinText.text("\($0)") } : nil,
                    "zone": configuration.zone.map(JoinText.text),
                    "weight": "\(configuration.weight)", "level": "\(configuration.level)",
                    "labels": JoinText.list(
                        configuration.labels.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }),
                ], isStream: true)
        case .ack(let version, let error):
            self = post(
                "proxy/ack",
                [
                    "proxy": proxy, "version": "\(version)", "error": error.map(JoinText.text),
                ])
        case .heartbeat: self = post("proxy/heartbeat", ["proxy": proxy])
        case .leave: self = post("proxy/leave", ["proxy": proxy])
        }
    }
}

extension SubscriberRefusal {
    /// - Parameter status: one that is none of success.
    init(status: Int) {
        self =
            switch status {
            case 403: .forbidden
            // Of the moment (RFC 9110, 15.5.9; RFC 6585, 4).
            case 408, 429: .passing
            case 400..<500: .lasting
            default: .passing
            }
    }
}
