import Model

/// `http://example.org:8080/path?query`, taken apart.
struct LoadURL: Equatable {
    /// What the scheme says: `http`, `ws` or `tcp`.
    var speech: LoadPlan.Speech
    /// Whether connections are secured: `https`, `wss`, `tcps`.
    var isSecured: Bool
    /// Host and port: `example.org:8080`.
    var address: String
    /// As written, for the `host` field.
    var host: String
    /// Path and query, `/` where there is none.
    var path: String

    /// Why a text is no URL that load can be sent to; for people.
    enum Flaw: Error, Equatable {
        case userInfo
        case port(String)
        case form

        var description: String {
            switch self {
            case .userInfo:
                "a user's name in a URL is not sent; give '--header \"authorization: ...\"'"
            case .port(let text): "'\(text)' is not a port from 1 to 65535"
            case .form:
                "it is not a URL such as http://127.0.0.1:8080/, ws://127.0.0.1:8080/ or "
                    + "tcp://127.0.0.1:8080"
            }
        }
    }

    init(_ text: String) throws(Flaw) {
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else {
            throw .form
        }
        switch text[..<colon].lowercased() {
        case "http": (speech, isSecured) = (.http1, false)
        case "https": (speech, isSecured) = (.http1, true)
        case "ws": (speech, isSecured) = (.websocket, false)
        case "wss": (speech, isSecured) = (.websocket, true)
        case "tcp": (speech, isSecured) = (.tcp, false)
        case "tcps": (speech, isSecured) = (.tcp, true)
        default: throw .form
        }
        let rest = text[colon...].dropFirst(3).prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        if authority.contains("@") { throw .userInfo }
        let tail = rest.dropFirst(authority.count)
        path = tail.hasPrefix("/") ? String(tail) : "/\(tail)"
        // Bytes go to a port, which has no usual number and no paths.
        if speech == .tcp, path != "/" { throw .form }
        host = String(authority)
        // A colon within brackets belongs to an IPv6 address.
        let name: Substring
        var port: Substring = speech == .tcp ? "" : isSecured ? "443" : "80"
        if let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") {
            name = authority[..<colon]
            let digits = authority[authority.index(after: colon)...]
            // RFC 3986, 3.2.3: an empty port is the scheme's own.
            if !digits.isEmpty { port = digits }
        } else {
            name = authority
        }
        if name.isEmpty { throw .form }
        guard let number = UInt16(port), number > 0 else { throw .port(String(port)) }
        address = "\(name):\(number)"
    }
}
