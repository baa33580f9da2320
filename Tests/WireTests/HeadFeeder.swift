import Base
import Support

@testable import Wire

/// Gives a head to the parser in pieces, the way connections do: a first parse, then only where the
/// search says that parsing again can tell more.
struct HeadFeeder {
    enum Message: Sendable {
        case request
        case response(toHead: Bool)
    }

    private let message: Message
    private var search = HeadSearch()
    private var received: [UInt8] = []
    private(set) var verdict = HeadParse.incomplete

    init(_ message: Message) { self.message = message }

    mutating func feed(_ piece: some Sequence<UInt8>, into head: inout Head) {
        received.append(contentsOf: piece)
        guard verdict == .incomplete, !received.isEmpty else { return }
        var mayBeComplete = true
        if search.position > 0 {
            mayBeComplete = received.withBytes { search.mayBeComplete($0) }
        }
        guard mayBeComplete || received.count >= head.limits.headBytes else { return }
        verdict = parse(received, message, into: &head)
        if verdict == .incomplete, search.position == 0 {
            _ = received.withBytes { search.mayBeComplete($0) }
        }
    }

    /// The verdict on `bytes` cut at `cuts`.
    static func verdict(
        _ bytes: [UInt8], _ message: Message, cuts: [Int], into head: inout Head
    ) -> HeadParse {
        var feeder = HeadFeeder(message)
        var start = 0
        for cut in cuts + [bytes.count] {
            feeder.feed(bytes[start..<cut], into: &head)
            start = cut
        }
        return feeder.verdict
    }
}

func parse(_ bytes: [UInt8], _ message: HeadFeeder.Message, into head: inout Head) -> HeadParse {
    switch message {
    case .request: bytes.withBytes { head.parseRequest($0) }
    case .response(let toHead): bytes.withBytes { head.parseResponse($0, toHead: toHead) }
    }
}
