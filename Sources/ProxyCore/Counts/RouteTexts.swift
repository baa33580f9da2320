// What routes are called where they are counted: they have no names, so what they ask for stands
// for one.

import Base
import Model

/// The texts of a configuration's routes, such as `GET shop.example prefix:/api header:x-canary=1`.
/// Two routes have different ones, and a route has the same in another configuration as long as it
/// asks for the same.
struct RouteTexts {
    private(set) var texts: [String] = []

    /// Bytes of a text, before what tells it from others.
    private static let most = 200

    init(_ routes: [ProxyConfiguration.Route]) {
        texts.reserveCapacity(routes.count)
        var seen: [String: Int] = [:]
        for route in routes {
            let text = Self.text(of: route)
            // Who asks for the same as one before it is never asked, but for its own line.
            let number = (seen[text] ?? 0) + 1
            seen[text] = number
            texts.append(number == 1 ? text : "\(text) #\(number)")
        }
    }

    /// The text of the first that asks for this.
    static func text(of route: ProxyConfiguration.Route) -> String {
        var whole = conditions(of: route)
        guard whole.utf8.count > most else { return whole }
        let hash = whole.withUTF8 { unsafe XXHash64.hash(Bytes(UnsafeRawBufferPointer($0))) }
        let start = String(decoding: whole.utf8.prefix(most), as: UTF8.self)
        return "\(start)...\(String(hash, radix: 16))"
    }

    private static func conditions(of route: ProxyConfiguration.Route) -> String {
        var words: [String] = []
        if !route.methods.isEmpty { words.append(route.methods.joined(separator: ",")) }
        if !route.hosts.isEmpty { words.append(route.hosts.joined(separator: ",")) }
        switch route.path {
        case .exact(let path): words.append("path:\(path)")
        case .prefix(let path): words.append("prefix:\(path)")
        case .regex(let pattern): words.append("regex:\(pattern)")
        }
        for match in route.headers {
            words.append(
                "header:\(match.name)\(match.isInverted ? "!" : "")\(text(match.test))")
        }
        for match in route.query { words.append("query:\(match.name)\(text(match.test))") }
        for match in route.cookies { words.append("cookie:\(match.name)\(text(match.test))") }
        return words.joined(separator: " ")
    }

    private static func text(_ test: ProxyConfiguration.ValueTest) -> String {
        switch test {
        case .present: ""
        case .absent: "=absent"
        case .exact(let value): "=\(value)"
        case .prefix(let value): "^=\(value)"
        case .suffix(let value): "$=\(value)"
        case .contains(let value): "*=\(value)"
        case .regex(let pattern): "~=\(pattern)"
        case .range(let low, let high): "=\(low)..<\(high)"
        }
    }
}
