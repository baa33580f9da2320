/// What has become of a proxy's membership, for its admin listener.
struct JoinStatistics: Equatable {
    /// Pushes come.
    var isConnected = false
    /// The version of the mesh that is held.
    var version: UInt64 = 0
    var pushes = 0
    /// Versions that could not be taken over.
    var refusals = 0
    /// Certificates that were received.
    var certificates = 0
    /// The end of the last one, seconds since 1970.
    var notAfter: Int64 = 0
    /// Of endpoints that requests have shown to fail: see `ReturnChecks`.
    var checksPassed: UInt64 = 0
    var checksFailed: UInt64 = 0

    /// In Prometheus' text format.
    var prometheus: String {
        let lines: [(name: String, kind: String, help: String, value: Int64)] = [
            ("connected", "gauge", "1: pushes of the control plane come", isConnected ? 1 : 0),
            ("version", "gauge", "the version of the mesh that is held", Int64(clamping: version)),
            ("pushes_total", "counter", "pushes that have come", Int64(pushes)),
            ("refusals_total", "counter", "versions that were refused", Int64(refusals)),
            ("certificates_total", "counter", "certificates received", Int64(certificates)),
            ("certificate_not_after_seconds", "gauge", "the end of the last one", notAfter),
            (
                "checks_passed_total", "counter", "checks of ejected endpoints that passed",
                Int64(clamping: checksPassed)
            ),
            (
                "checks_failed_total", "counter", "those that failed", Int64(clamping: checksFailed)
            ),
        ]
        return lines.map { line in
            let name = "meshbench_join_\(line.name)"
            return "# HELP \(name) \(line.help)\n# TYPE \(name) \(line.kind)\n"
                + "\(name) \(line.value)\n"
        }.joined()
    }
}
