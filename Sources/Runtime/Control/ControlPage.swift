// Lists that may be long are answered in pages, so that no answer grows with the mesh.

/// Which part of a list is asked for.
struct ControlPage: Equatable {
    /// Items at most.
    var limit = ControlPage.most
    /// Only what comes after this name; empty: from the first on.
    var after = ""

    /// Bound: an item is some 500 bytes.
    static let most = 1000

    init(limit: Int = ControlPage.most, after: String = "") {
        self.limit = limit
        self.after = after
    }

    /// What a request's parameters `limit` and `after` say.
    init(_ target: ServiceTarget) throws(ControlFailure) {
        if let word = target["limit"] {
            guard let limit = Int(word), (1...Self.most).contains(limit) else {
                throw .init(400, "'limit=\(word)': 1 to \(Self.most)")
            }
            self.limit = limit
        }
        after = target["after"] ?? ""
    }

    /// The page of a list.
    /// - Returns: its items, in the order of their names, and what to ask for next; nil: it is the
    ///   last. Items of one name stay together.
    func cut<Item>(_ items: [Item], by name: (Item) -> String) -> (page: [Item], next: String?) {
        let rest = items.map { (name($0), $0) }.filter { $0.0 > after }.sorted { $0.0 < $1.0 }
        guard rest.count > limit else { return (rest.map(\.1), nil) }
        let last = rest[limit - 1].0
        let page = rest.prefix { $0.0 <= last }
        return (page.map(\.1), page.count < rest.count ? last : nil)
    }
}
