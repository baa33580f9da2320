// The keys of policies.

import Base
import Model

extension Shape where Whole == DeclarationDraft<MeshPolicy> {
    static var policy: Shape {
        Whole.shape(
            .init("", targets: []), about: "how requests to services are carried",
            [
                .init(
                    "to", \.value.targets, .services, isRequired: true,
                    about: MeshForms.aboutTargets),
                .init(
                    "timeout", \.value.timeouts, Shape<MeshPolicy.Timeouts>.timeouts.form,
                    standard: "{}", about: "how long its clients' proxies wait"),
                .init(
                    "breaker", \.value.breaker, Form<BreakerPolicy>.breaker.optional,
                    about: "what a client's proxy may have open or in flight to a service"),
                .init(
                    "balance", \.value.balance, Form<BalancePolicy>.balance.optional,
                    about: "which endpoint a request goes to; absent: `round-robin`"),
                .init(
                    "inbound", \.value.inbound, Shape<MeshPolicy.Inbound>.inbound.form,
                    standard: "{}",
                    about: "what the service's own proxies hold requests against, whose ever"),
            ] + Shape<MeshPolicy>.attempts.map { $0.of(\.value) })
    }
}

extension Shape where Whole == MeshPolicy.Timeouts {
    fileprivate static var timeouts: Shape {
        Shape(
            .init(),
            [
                .init(
                    "connect", \.connect,
                    Form<Duration>.duration(MeshLimits.connectTimeout).optional,
                    about: "for a connection to open"),
                .init(
                    "request", \.request, Form<Duration>.duration(MeshLimits.timeout).optional,
                    about: "from the end of the request to the end of the answer; `0s`: no limit"),
                .init(
                    "idle", \.idle, Form<Duration>.duration(MeshLimits.positiveTimeout).optional,
                    about: "for a request on an open connection, before that is closed"),
                .init(
                    "stream_idle", \.streamIdle,
                    Form<Duration>.duration(MeshLimits.positiveTimeout).optional,
                    about: "on a request of which nothing moves"),
                .init(
                    "max_stream", \.maxStream,
                    Form<Duration>.duration(MeshLimits.timeout).optional,
                    about:
                        "for one attempt, from its connection to the end of its answer; `0s`: no "
                        + "limit"),
                .init(
                    "max_connection", \.maxConnection,
                    Form<Duration>.duration(MeshLimits.timeout).optional,
                    about: "until a connection takes no more requests; `0s`: no limit"),
            ])
    }
}

extension Shape where Whole == MeshPolicy.Inbound {
    fileprivate static var inbound: Shape {
        Shape(
            .init(),
            [
                .init(
                    "rate_limits", \.rateLimits, .rateLimits, standard: "[]",
                    about: "buckets of each proxy that a request takes a token of each of"),
                .init(
                    "global_rate_limit", \.globalRateLimit,
                    Form<GlobalRateLimit>.toService.optional,
                    about: "what its proxies limit together, by asking a service; absent: nothing"),
                .init(
                    "admission", \.admission, Form<AdmissionPolicy>.admission.optional,
                    about: "when requests are turned away as the process fails; absent: never"),
            ])
    }
}
