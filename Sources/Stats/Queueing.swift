/// What queueing theory says of servers with Poisson arrivals and exponential service.
///
/// `load` is the offered load in erlangs: arrivals per second times seconds of service.
///
/// Source: Kleinrock, "Queueing Systems", volume 1, 1975, chapter 3; the recursion: Jagerman, "Some
/// properties of the Erlang loss function", Bell System Technical Journal 53, 1974.
public enum Queueing {
    /// The share of arrivals that find all servers busy and are lost, M/M/c/c.
    ///
    /// Holds for any distribution of service times. What a circuit breaker of `servers` concurrent
    /// requests refuses.
    /// - Precondition: `servers` ≥ 0, `load` ≥ 0 and finite.
    public static func erlangB(servers: Int, load: Double) -> Double {
        blocking(servers: servers, capacity: servers, load: load)
    }

    /// The share of arrivals that must wait where all may, M/M/c; 1 where the load is `servers` or
    /// more, for then the queue grows without end.
    /// - Precondition: `servers` > 0, `load` ≥ 0 and finite.
    public static func erlangC(servers: Int, load: Double) -> Double {
        precondition(servers > 0, "\(servers) servers")
        let utilization = load / Double(servers)
        if utilization >= 1 { return 1 }
        let lost = erlangB(servers: servers, load: load)
        return lost / (1 - utilization * (1 - lost))
    }

    /// The share of arrivals that find `capacity` requests in service and waiting, and are refused,
    /// M/M/c/K.
    ///
    /// With B(0) = 1 and k requests served at min(k, c): B(k) = r·B(k - 1) / (1 + r·B(k - 1)),
    /// where r is load / min(k, c). No term grows, whatever the load.
    /// - Precondition: 0 ≤ `servers` ≤ `capacity`, and `servers` > 0 unless both are 0; `load` ≥ 0
    ///   and finite.
    public static func blocking(servers: Int, capacity: Int, load: Double) -> Double {
        precondition(
            servers >= 0 && capacity >= servers && (servers > 0 || capacity == 0),
            "\(servers) servers, room for \(capacity)")
        precondition(load >= 0 && load.isFinite, "load \(load)")
        var refused = 1.0
        for present in 0..<capacity {
            let weighted = load / Double(min(present + 1, servers)) * refused
            refused = weighted / (1 + weighted)
        }
        return refused
    }
}
