import Base
import ControlCore
import Posix
import Secure
import Testing

@testable import Runtime

extension ControlAPI {
    /// A proxy that has joined, and asks the control plane itself.
    fileprivate func member() throws {
        hasPushes = true
        try joined()
    }

    fileprivate func watch(_ more: String = "") throws -> Answer {
        try askProxies(
            "POST", "/v1/proxy/watch",
            "{\"proxy\":\"echo-1\",\"service\":\"default/echo\"\(more)}")
    }

    /// A proxy that watches.
    fileprivate func watching() throws {
        try member()
        _ = try watch(",\"address\":\"127.0.0.1:9\"").expect(200)
    }

    /// Makes what is kept of the proxy's certificate unreadable.
    fileprivate func damage() throws {
        let names = try #require(certificate)
        let serial = try #require(CertificateSerial(names.serial))
        try center.commit(
            StoreTransaction(changes: [.put(CertificateRecord.key(serial.lineage), value: [1])]))
    }
}

private typealias Way = @Sendable (ControlAPI) throws -> ControlAPI.Answer

/// The ways to every status of a request that says who asks.
private func ways(_ name: String, _ more: String = "") -> [Int: Way] {
    let ask: Way = { api in
        try api.askProxies("POST", "/v1/proxy/\(name)", "{\"proxy\":\"echo-1\"\(more)}")
    }
    return [
        204: { api in
            try api.watching()
            return try ask(api)
        },
        400: { api in
            try api.watching()
            return try api.askProxies("POST", "/v1/proxy/\(name)", "{}")
        },
        401: ask,
        403: { api in
            try api.watching()
            api.clock.pass(86_401)
            return try ask(api)
        },
        404: { api in
            try api.member()
            return try ask(api)
        },
        503: { api in
            try api.watching()
            try api.damage()
            return try ask(api)
        },
    ]
}

/// Every status of every operation of a proxy's watch, and a way to it.
let pushWays: [String: [Int: @Sendable (ControlAPI) throws -> ControlAPI.Answer]] = [
    "watchPushes": [
        200: { api in
            try api.member()
            return try api.watch(",\"address\":\"127.0.0.1:9\"")
        },
        400: { api in
            try api.member()
            return try api.watch(",\"held\":\"no\"")
        },
        401: { try $0.watch() },
        403: { api in
            try api.member()
            return try api.askProxies(
                "POST", "/v1/proxy/watch", "{\"proxy\":\"other\",\"service\":\"default/echo\"}")
        },
        409: { api in
            try api.member()
            _ = try api.ask(
                "PUT", "/v1/services/default/b", "{\"kind\":\"service\",\"name\":\"b\"}")
            let request = ServiceRequest(
                method: "POST", target: try #require(ServiceTarget("/v1/proxy/watch")), fields: [],
                body: Array("{\"proxy\":\"echo-1\",\"service\":\"default/b\"}".utf8),
                peer: ServicePeer(address: .loopback(port: 1), isSecure: true), speech: .http2,
                now: .zero)
            _ = api.pushes.respond(to: request, .watchPushes, from: .of("default/b", "echo-1"))
            return try api.watch()
        },
        413: { api in
            try api.member()
            api.bent.bend(.refusal(.elsewhere("too many operations")))
            return try api.watch(",\"address\":\"127.0.0.1:9\"")
        },
        422: { api in
            try api.member()
            return try api.watch(",\"address\":\"here\"")
        },
        503: { api in
            try api.member()
            api.folder.failing = ["write"]
            return try api.watch(",\"address\":\"127.0.0.1:9\"")
        },
        507: { api in
            try api.member()
            return try api.watch(",\"address\":\"127.0.0.1:9\"")
        },
    ],
    "acknowledgePush": ways("ack", ",\"version\":1"),
    "heartbeat": ways("heartbeat"),
    "leave": ways("leave"),
]
