/// Who may ask services for what, as Istio's AuthorizationPolicy has it:
///
/// 1. A request that a rule of a `deny` means is denied, whatever else is declared.
/// 2. Else, one that a rule of an `allow` means is allowed.
/// 3. Else it is denied where any `allow` means the service, and allowed where none does.
///
/// So an `allow` without rules denies by default.
public struct MeshAuthorization: MeshDeclared {
    public static let kind = MeshKind.authorization

    public enum Action: String, Codable, CaseIterable, Sendable {
        case allow, deny
    }

    /// What a request must be like. All parts must hold; an empty one always does. Of each list one
    /// item must hold, of `headers` all.
    public struct Rule: Codable, Equatable, Sendable {
        /// Whom the client's certificate names.
        public var identities: [IdentityPattern]
        /// The namespace in the client's identity.
        public var namespaces: [String]
        /// Upper case.
        public var methods: [String]
        /// Exactly one of these paths, or below one of `prefixes`; a proxy compares whole segments.
        public var paths: [String]
        public var prefixes: [String]
        /// In the order of their names, each name once.
        public var headers: [ProxyConfiguration.HeaderMatch] {
            didSet { headers.sort { $0.name < $1.name } }
        }
        /// Ports of the service's endpoints.
        public var ports: [Int]

        public init(
            identities: [IdentityPattern] = [], namespaces: [String] = [], methods: [String] = [],
            paths: [String] = [], prefixes: [String] = [],
            headers: [ProxyConfiguration.HeaderMatch] = [], ports: [Int] = []
        ) {
            self.identities = identities
            self.namespaces = namespaces
            self.methods = methods
            self.paths = paths
            self.prefixes = prefixes
            self.headers = headers.sorted { $0.name < $1.name }
            self.ports = ports
        }

        /// Whether it asks for something that bytes of TCP do not have.
        public var asksForHTTP: Bool {
            !methods.isEmpty || !paths.isEmpty || !prefixes.isEmpty || !headers.isEmpty
        }

        /// The rest of it.
        public var withoutHTTP: Rule {
            Rule(identities: identities, namespaces: namespaces, ports: ports)
        }

        /// Whether it asks who the client is.
        public var asksForIdentity: Bool { !identities.isEmpty || !namespaces.isEmpty }
    }

    public var namespace: String
    public var name: String
    public var action: Action
    /// Services by name, or all of a namespace, or all.
    public var targets: [MeshName]
    /// Alternatives: one of them must hold. Empty: none ever does.
    public var rules: [Rule]

    public init(
        _ name: String, in namespace: String = MeshName.standardNamespace, _ action: Action,
        targets: [MeshName], rules: [Rule]
    ) {
        self.namespace = namespace
        self.name = name
        self.action = action
        self.targets = targets
        self.rules = rules
    }

    public func check(_ problems: inout MeshProblems) {
        problems.list("to", targets, 1...MeshLimits.targets) {
            $0.reference(nil, $1, breadth: 2)
        }
        problems.list("rules", rules, 0...MeshLimits.matches) { $1.check(&$0) }
        if action == .deny, rules.isEmpty {
            problems.report("rules", "a deny without rules never denies: `[{}]` denies all")
        }
    }
}

extension MeshAuthorization.Rule {
    fileprivate func check(_ problems: inout MeshProblems) {
        let items = 0...MeshLimits.ruleItems
        problems.list("identities", identities, items) { _, _ in }
        problems.list("namespaces", namespaces, items) { $0.label(nil, $1) }
        problems.methods(methods)
        problems.list("paths", paths, items) { $0.rulePath($1) }
        problems.list("prefixes", prefixes, items) { $0.rulePath($1) }
        problems.headers(headers)
        for header in headers where !header.isPlain {
            // What other servers read in a list or on several lines is known of whole values only.
            problems.report("headers", "a rule asks for an exact value of '\(header.name)', or any")
        }
        problems.list("ports", ports, items) { $0.range(nil, $1, 1...65_535) }
        let known = identities.compactMap(\.exact)
        guard !namespaces.isEmpty, !known.isEmpty, known.count == identities.count else { return }
        if !known.contains(where: { $0.namespace.map { namespaces.contains(String($0)) } ?? false })
        {
            problems.report("never holds: none of its identities is of one of its namespaces")
        }
    }
}
