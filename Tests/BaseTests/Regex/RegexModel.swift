@testable import Base

/// A regular expression matched by trying everything, straight from its tree: slow, and plain to
/// see.
struct RegexModel {
    private let text: [UInt8]
    /// Attempts that are left; a text that takes more is not judged.
    private var left = 200_000

    init(_ text: [UInt8]) { self.text = text }

    /// Whether the expression fits the whole text; nil: it takes too long to say.
    static func fits(_ node: RegexNode, _ text: [UInt8]) -> Bool? {
        var model = RegexModel(text)
        let fits = model.ends(of: node, from: [0]).contains(text.count)
        return model.left > 0 ? fits : nil
    }

    /// Where parts that fit end, of those that begin at one of `starts`.
    private mutating func ends(of node: RegexNode, from starts: Set<Int>) -> Set<Int> {
        left -= 1 + starts.count
        guard left > 0 else { return [] }
        switch node {
        case .empty: return starts
        case .begin: return starts.filter { $0 == 0 }
        case .end: return starts.filter { $0 == text.count }
        case .bytes(let set):
            return Set(starts.filter { $0 < text.count && set.contains(text[$0]) }.map { $0 + 1 })
        case .group(let node, _): return ends(of: node, from: starts)
        case .sequence(let nodes):
            return nodes.reduce(starts) { ends(of: $1, from: $0) }
        case .choice(let nodes):
            return nodes.reduce(into: []) { $0.formUnion(ends(of: $1, from: starts)) }
        case .repeated(let node, let least, let most, _):
            var here = starts
            for _ in 0..<least { here = ends(of: node, from: here) }
            var all = here
            var round = least
            while !here.isEmpty, left > 0, most.map({ round < $0 }) ?? true {
                here = ends(of: node, from: here).subtracting(all)
                all.formUnion(here)
                round += 1
            }
            return all
        }
    }
}
