import LoadCore
import Posix

extension LoadJob.Target {
    /// The name to ask for by SNI: that of `host`, without its port; nil: it is an address.
    var serverName: String? {
        guard !host.hasPrefix("[") else { return nil }
        let name = String(host.prefix { $0 != ":" })
        return SocketAddress("\(name):1") == nil && !name.isEmpty ? name : nil
    }
}
