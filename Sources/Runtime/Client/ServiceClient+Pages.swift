// Long lists come in pages (docs/CONTROL.md).

public import Base
import FoundationEssentials

extension ServiceClient {
    /// All pages of a list, in their order, asked for one after the other.
    /// - Parameters:
    ///   - target: a path, without a query.
    ///   - limit: when the last must be there.
    /// - Returns: at least one. The last may be a refusal, or no page at all.
    /// - Throws: `.endless` where a page leads back to one before it.
    public func pages(
        _ target: String, until limit: Instant = .distantFuture
    ) throws(ServiceClientError) -> [ServiceReply] {
        var pages = [try ask(ServiceCall("GET", target), until: limit)]
        var last: String?
        // Bound: names only grow, so that each page has others.
        while let next = Self.next(pages[pages.count - 1]) {
            guard last.map({ next > $0 }) ?? true else {
                throw ServiceClientError(server, .endless)
            }
            last = next
            pages.append(try ask(ServiceCall("GET", "\(target)?after=\(next)"), until: limit))
        }
        return pages
    }

    /// After whom there are more: a name, which needs no escapes; nil: there are none.
    private static func next(_ page: ServiceReply) -> String? {
        struct End: Decodable { var next: String? }
        guard page.status == 200 else { return nil }
        return (try? JSONDecoder().decode(End.self, from: Data(page.body)))?.next
    }
}
