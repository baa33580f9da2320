// Routes of requests in hand, across a reload. A request goes on by the route that it came by, also
// when it is sent again, and so does its answer. A route that is still there is known by its new
// place. One that has changed or is gone is kept as it was, behind those of the configuration,
// where nobody new comes by it.

import Base
import Model

extension Proxy {
    /// Lets requests in hand know their routes by their new places.
    /// - Parameter old: those of the old configuration, and behind them those that it kept.
    /// - Returns: those to keep. Bound: each has a request in hand.
    func renumberRoutes(from old: [ProxyConfiguration.Route]) -> [ProxyConfiguration.Route] {
        let new = configuration.routes
        var search = RouteSearch(new)
        var kept: [ProxyConfiguration.Route] = []
        var places = [Int32](repeating: -1, count: old.count)
        for slot in 0..<touchedSlots where connections[slot].role == .downstream {
            let route = Int(connections[slot].exchange.route)
            guard route >= 0 else { continue }
            guard isInHand(slot) else {
                connections[slot].exchange.route = -1
                continue
            }
            if places[route] < 0 {
                if let place = search.place(of: old[route], before: route) {
                    places[route] = Int32(place)
                } else {
                    places[route] = Int32(new.count + kept.count)
                    kept.append(old[route])
                }
            }
            connections[slot].exchange.route = places[route]
        }
        return kept
    }

    /// Whether a client's exchange has begun and not ended: else it is the last one's.
    func isInHand(_ slot: Int) -> Bool {
        let connection = connections[slot]
        return connection.stage != .awaitingRequest || connection.exchange.isAgain
            || connection.isRerouted || connection.isMirror
    }
}

/// Finds routes in a configuration by all that they say.
private struct RouteSearch {
    private struct Key: Hashable {
        let hosts: [String]
        let path: ProxyConfiguration.PathMatch

        init(_ route: ProxyConfiguration.Route) {
            hosts = route.hosts
            path = route.path
        }
    }

    private let routes: [ProxyConfiguration.Route]
    /// Made only where one has moved: most reloads leave all where they are.
    private var places: [Key: [Int]]?

    init(_ routes: [ProxyConfiguration.Route]) { self.routes = routes }

    /// - Parameter before: where it stood.
    mutating func place(of route: ProxyConfiguration.Route, before: Int) -> Int? {
        if before < routes.count, routes[before] == route { return before }
        let places = places ?? Dictionary(grouping: routes.indices) { Key(routes[$0]) }
        self.places = places
        let alike = places[Key(route)] ?? []
        return alike.first { routes[$0] == route }
    }
}
