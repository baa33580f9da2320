// Who may ask for what (docs/MESH.md, "Authorizations"), compiled. Who a client is its connection
// has settled, so what the rules of its listener come to for it is worked out once, in `Standing`:
// where all of them ask for identities alone, as most do, a request costs a look at one number.
//
// Two servers may read a path in two ways: `/a//b`, `/a;b` or `/%61`. What a `deny` means it means
// in each reading, and what an `allow` means only in all of them (`PathReader`).

import Base
import Model
import Wire

/// The rules of all listeners. Built once for each configuration, then only read.
struct Authorizer: ~Copyable {
    /// What a rule asks of a request.
    private struct Rule: BitwiseCopyable {
        var paths: PatternRange
        var methods: PatternRange
        var fields: PatternRange
        /// It asks for nothing: every request of whom it means.
        var isUnconditional: Bool { paths.isEmpty && methods.isEmpty && fields.isEmpty }
    }

    /// Whom a rule means.
    private struct Subjects {
        var identities: [IdentityPattern]
        var namespaces: [String]

        func contains(_ identity: SPIFFEID?) -> Bool {
            if identities.isEmpty, namespaces.isEmpty { return true }
            guard let identity else { return false }
            return (identities.isEmpty || identities.contains { $0.matches(identity) })
                && (namespaces.isEmpty
                    || namespaces.contains { $0[...] == identity.namespace })
        }
    }

    private struct Listener {
        var deny: Range<Int>
        /// nil: all that is not denied.
        var allow: Range<Int>?
        let exempt: SPIFFEID?
    }

    /// Whether any listener has rules.
    let isRestricting: Bool
    private let patterns: Patterns
    private let paths: Slab<PathPattern>
    /// The same paths in their coarsest form.
    private let coarsest: Slab<PathPattern>
    private let rules: Slab<Rule>
    private let subjects: [Subjects]
    private let listeners: [Listener?]
    private let reader: PathReader

    /// - Parameter longestPath: bytes, at most, of what a request asks for.
    init(_ configuration: ProxyConfiguration, longestPath: Int) {
        var compiler = Compiler()
        let listeners = configuration.listeners.map { listener in
            listener.authorization.map { compiler.add($0, listener) }
        }
        let isRestricting = listeners.contains { $0 != nil }
        self.listeners = listeners
        self.isRestricting = isRestricting
        patterns = Patterns(compiler.patterns)
        paths = Slab(compiler.paths)
        coarsest = Slab(compiler.coarsest)
        rules = Slab(compiler.rules)
        subjects = compiler.subjects
        reader = PathReader(longest: isRestricting ? longestPath : 0)
    }

    deinit {
        paths.deallocate()
        coarsest.deallocate()
        rules.deallocate()
    }

    private struct Compiler {
        var patterns = Patterns.Builder()
        var paths: [PathPattern] = []
        var coarsest: [PathPattern] = []
        var rules: [Rule] = []
        var subjects: [Subjects] = []

        mutating func add(
            _ authorization: ProxyConfiguration.Authorization,
            _ listener: ProxyConfiguration.Listener
        ) -> Listener {
            let isTCP = listener.speech == .tcp
            // Bytes have no methods, paths or headers. Nothing is known of what they ask for, so
            // that a `deny` about such means all of them, and an `allow` none: as Istio has it.
            let deny = add(
                authorization.deny.map { isTCP ? $0.withoutHTTP : $0 }, port: listener.port)
            let allow = authorization.allow.map { rules in
                add(rules.filter { !isTCP || !$0.asksForHTTP }, port: listener.port)
            }
            return Listener(deny: deny, allow: allow, exempt: authorization.exempt)
        }

        /// Leaves out those that mean other ports.
        private mutating func add(
            _ rules: [MeshAuthorization.Rule], port: Int
        ) -> Range<Int> {
            let first = self.rules.count
            for rule in rules where rule.ports.isEmpty || rule.ports.contains(port) { add(rule) }
            return first..<self.rules.count
        }

        private mutating func add(_ rule: MeshAuthorization.Rule) {
            let firstPath = paths.count
            for (text, isExact) in rule.paths.map({ ($0, true) })
                + rule.prefixes.map({ ($0, false) })
            {
                paths.append(PathPattern(text: patterns.add(text.utf8), isExact: isExact))
                var decoded = percentDecoded(text)
                if decoded.count > 1, decoded.last == UInt8(ascii: "/") { decoded.removeLast() }
                let text = patterns.add(decoded)
                coarsest.append(PathPattern(text: text, isExact: isExact))
            }
            rules.append(
                Rule(
                    paths: PatternRange(firstPath, paths.count),
                    methods: patterns.add(methods: rule.methods),
                    fields: patterns.add(fields: rule.headers)))
            subjects.append(Subjects(identities: rule.identities, namespaces: rule.namespaces))
        }
    }

    /// Whether two configurations have the same rules, so that what has been settled by those of
    /// one is settled by those of the other.
    static func isSame(_ one: ProxyConfiguration, _ other: ProxyConfiguration) -> Bool {
        one.listeners.elementsEqual(other.listeners) {
            $0.authorization == $1.authorization && $0.speech == $1.speech
                && $0.address == $1.address
        }
    }

    // MARK: Clients

    /// What a listener's rules come to for a client.
    /// - Parameter identity: whom its certificate names; nil: it has shown none, or one that names
    ///   nobody.
    func standing(of identity: SPIFFEID?, at listener: Int) -> Standing {
        guard listener < listeners.count, let rules = listeners[listener] else { return .allowed }
        if let identity, identity == rules.exempt { return .allowed }
        var deny: [Int32] = []
        for i in rules.deny where subjects[i].contains(identity) {
            if self.rules[i].isUnconditional { return .denied }
            deny.append(Int32(i))
        }
        var allow: [Int32]? = rules.allow.map { _ in [] }
        for i in rules.allow ?? 0..<0 where subjects[i].contains(identity) {
            if self.rules[i].isUnconditional {
                allow = nil
                break
            }
            allow?.append(Int32(i))
        }
        if allow?.isEmpty == true { return .denied }
        if allow == nil, deny.isEmpty { return .allowed }
        return .depends(Conditions(deny: deny, allow: allow))
    }

    // MARK: Requests

    /// Whether a request is let in, where that depends on it.
    func admits(_ conditions: Conditions, _ head: borrowing Head, _ bytes: Bytes) -> Bool {
        let path = head.patternPath(bytes)
        // The target of CONNECT is a host: what is asked for there nobody knows.
        let reading = bytes[head.method] == "CONNECT" ? .unclear : reader.read(path)
        for i in conditions.deny where denies(rules[Int(i)], path, reading, head, bytes) {
            return false
        }
        guard let allow = conditions.allow else { return true }
        for i in allow where allows(rules[Int(i)], path, reading, head, bytes) { return true }
        return false
    }

    private func denies(
        _ rule: Rule, _ path: Bytes, _ reading: PathReading, _ head: borrowing Head, _ bytes: Bytes
    ) -> Bool {
        (rule.paths.isEmpty || isMeant(path, reading, by: rule.paths))
            && (rule.methods.isEmpty
                || patterns.matches(
                    methods: rule.methods, bytes[head.method], ignoringCase: true))
            && patterns.matches(fields: rule.fields, head, bytes, .oneMember)
    }

    private func allows(
        _ rule: Rule, _ path: Bytes, _ reading: PathReading, _ head: borrowing Head, _ bytes: Bytes
    ) -> Bool {
        (rule.paths.isEmpty || !reading.isUnclear && matches(paths, rule.paths, path))
            && (rule.methods.isEmpty || patterns.matches(methods: rule.methods, bytes[head.method]))
            && patterns.matches(fields: rule.fields, head, bytes, .everyLine)
    }

    /// Whether some server may take a path for one of these.
    private func isMeant(_ path: Bytes, _ reading: PathReading, by range: PatternRange) -> Bool {
        switch reading {
        case .plain: matches(coarsest, range, path.withoutSlash)
        case .coarsest(let form, let cut):
            matches(coarsest, range, form.withoutSlash)
                || cut < form.count && matches(coarsest, range, form[0..<cut].withoutSlash)
        case .unclear: true
        }
    }

    private func matches(
        _ patterns: Slab<PathPattern>, _ range: PatternRange, _ path: Bytes
    ) -> Bool {
        for i in range.indices where self.patterns.matches(patterns[i], path: path) { return true }
        return false
    }
}

extension Bytes {
    /// A path without the slash at its end, if it is more than that.
    fileprivate var withoutSlash: Bytes {
        count > 1 && self[count - 1] == UInt8(ascii: "/") ? self[0..<count - 1] : self
    }
}

/// What the rules of a listener come to for one client.
enum Standing: Equatable {
    case allowed
    case denied
    /// On what it asks for.
    case depends(Conditions)
}

/// The rules that a client's requests are held against, all those that mean the client.
struct Conditions: Equatable {
    var deny: [Int32]
    /// nil: all that is not denied.
    var allow: [Int32]?
}

extension ProxyConfiguration.Listener {
    /// -1: the address has none.
    fileprivate var port: Int {
        address.lastIndex(of: ":").flatMap { Int(address[address.index(after: $0)...]) } ?? -1
    }
}

// MARK: - In the proxy

extension Proxy {
    /// Numbers that stand for what most clients' standing is; those from 0 on are places in
    /// `conditions`.
    private enum Mark {
        static let unknown: Int32 = -1
        static let allowed: Int32 = -2
        static let denied: Int32 = -3
    }

    /// Whether the rules of its listener let in the request in hand, or, of a `tcp` listener, the
    /// client.
    /// - Parameter again: it was let in before, and is looked at anew after a reload.
    @inline(__always)
    func admits(_ slot: Int, _ bytes: Bytes, again: Bool) -> Bool {
        guard authorizer.isRestricting else { return true }
        return admitsByRules(slot, bytes, again: again)
    }

    private func admitsByRules(_ slot: Int, _ bytes: Bytes, again: Bool) -> Bool {
        let owner = connections[slot].isStream ? Int(connections[slot].carrier) : slot
        if connections[owner].standing == Mark.unknown { settleStanding(owner) }
        let isAdmitted: Bool
        switch connections[owner].standing {
        case Mark.allowed: isAdmitted = true
        case Mark.denied: isAdmitted = false
        case let place:
            guard let rules = conditions[place] else {
                preconditionFailure("rules without a client")
            }
            isAdmitted = authorizer.admits(rules, head, bytes)
        }
        if !isAdmitted {
            let cluster = Int(connections[slot].exchange.cluster)
            count(.authorizationDenied, .authorizationDenied, cluster)
            count(.authorizationDenied, listenerOf: slot)
        } else if !again {
            counters.add(.authorizationAllowed)
            count(.authorizationAllowed, listenerOf: slot)
        }
        return isAdmitted
    }

    /// Works out what the rules come to for a client: once for its connection, and once again after
    /// each reload.
    private func settleStanding(_ slot: Int) {
        let identity = connections[slot].isSecured ? agreements[slot]?.identity : nil
        switch authorizer.standing(of: identity, at: Int(connections[slot].listener)) {
        case .allowed: connections[slot].standing = Mark.allowed
        case .denied: connections[slot].standing = Mark.denied
        case .depends(let rules): connections[slot].standing = conditions.add(rules)
        }
    }

    /// The client is gone, or the rules are.
    func forgetStanding(_ slot: Int) {
        if connections[slot].standing >= 0 { conditions.remove(connections[slot].standing) }
        connections[slot].standing = Mark.unknown
    }
}
