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

    /// The page of names that stand in no order, none of them twice. For those of who is connected:
    /// all of them are looked at for each page.
    /// - Returns: its names in order, `limit` at most, and what to ask for next; nil: it is the
    ///   last.
    func cut(_ names: some Sequence<String>) -> (page: [String], next: String?) {
        let rest = names.filter { $0 > after }.sorted()
        let page = Array(rest.prefix(limit))
        return (page, rest.count > limit ? page.last : nil)
    }
}
