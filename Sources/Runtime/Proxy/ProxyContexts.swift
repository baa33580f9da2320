// The TLS contexts of a proxy: one for each listener and cluster that has TLS, shared by the
// workers.

import Model
import Secure

/// All contexts that a configuration asks for.
struct ProxyContexts: Sendable {
    private struct Listener: Sendable {
        var options: TLSServerOptions
        var context: TLSContext
    }

    private struct Cluster: Sendable {
        var options: TLSClientOptions
        var context: TLSContext
    }

    private var listeners: [Listener?] = []
    private var clusters: [Cluster?] = []

    /// Of the listener at this place in the configuration; nil: cleartext.
    func listener(_ place: Int) -> TLSContext? {
        listeners.indices.contains(place) ? listeners[place]?.context : nil
    }

    /// Of the cluster at this place in the configuration; nil: cleartext.
    func cluster(_ place: Int) -> TLSContext? {
        clusters.indices.contains(place) ? clusters[place]?.context : nil
    }

    /// Contexts whose files are what they were in `old` are kept, and with them the sessions that
    /// their clients can resume.
    /// - Parameter material: what of the files that it names is in memory.
    init(
        _ configuration: ProxyConfiguration, _ material: TLSMaterial = TLSMaterial(),
        keeping old: ProxyContexts? = nil
    ) throws(TLSFileError) {
        for listener in configuration.listeners {
            guard let tls = listener.tls else {
                listeners.append(nil)
                continue
            }
            let options = try TLSFiles.serverOptions(
                tls, protocols: listener.speech.protocols, material)
            if let same = old?.listeners.first(where: { $0?.options == options }), let same {
                listeners.append(same)
            } else {
                let context = try TLSFiles.context(tls, options)
                listeners.append(Listener(options: options, context: context))
            }
        }
        for cluster in configuration.clusters {
            guard let tls = cluster.tls else {
                clusters.append(nil)
                continue
            }
            let options = try TLSFiles.clientOptions(
                tls, protocols: cluster.speech.protocols, material)
            if let same = old?.clusters.first(where: { $0?.options == options }), let same {
                clusters.append(same)
            } else {
                let context = try TLSFiles.context(tls, options)
                clusters.append(Cluster(options: options, context: context))
            }
        }
    }
}

extension ProxyConfiguration.Listener.Speech {
    /// What is offered by ALPN, the most wanted first.
    fileprivate var protocols: [String] {
        switch self {
        case .auto: ["h2", "http/1.1"]
        case .http1: ["http/1.1"]
        case .http2: ["h2"]
        case .tcp: []
        }
    }
}

extension ProxyConfiguration.Cluster.Speech {
    fileprivate var protocols: [String] {
        switch self {
        case .http1: ["http/1.1"]
        case .http2: ["h2"]
        }
    }
}
