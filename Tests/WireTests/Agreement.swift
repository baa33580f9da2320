import Base
import Support

@testable import Wire

/// Where the parser and the reference disagree about `bytes`; nil: nowhere.
func disagreement(
    _ bytes: [UInt8], _ message: HeadFeeder.Message, _ head: inout Head
) -> String? {
    let verdict = parse(bytes, message, into: &head)
    switch (verdict, reference(bytes, message)) {
    case (.complete, .accepted(let expected, let length)):
        if head.length != length { return "length \(head.length), reference \(length)" }
        return difference(head, bytes, expected, message)
    case (.incomplete, .unfinished): return nil
    case (.invalid, .refused): return nil
    case (.invalid(let error), .unfinished):
        // Refused early. Then no way to go on may be a valid message.
        for end in completions {
            if case .accepted = reference(bytes + Array(end.utf8), message) {
                return "\(error), but accepted with \(visible(end.utf8)) behind it"
            }
        }
        return nil
    case (let verdict, let reference): return "\(verdict), reference \(reference)"
    }
}

private let completions = [
    "", "\r\n\r\n", "\n", "\n\r\n", "\n\r\n\r\n", "/ HTTP/1.1\r\nHost: a\r\n\r\n",
    " / HTTP/1.1\r\nHost: a\r\n\r\n", " HTTP/1.1\r\nHost: a\r\n\r\n", ": a\r\n\r\n",
    " HTTP/1.0\r\n\r\n", "P/1.1\r\nHost: a\r\n\r\n", "1\r\nHost: a\r\n\r\n", "\r\nHost: a\r\n\r\n",
    "\nHost: a\r\n\r\n", "0 200 OK\r\n\r\n", "00 OK\r\n\r\n", "chunked\r\n\r\n", "1\r\n\r\n",
]

private func reference(
    _ bytes: [UInt8], _ message: HeadFeeder.Message
) -> ReferenceVerdict<ReferenceHead> {
    switch message {
    case .request: ReferenceParser.request(bytes)
    case .response(let toHead): ReferenceParser.response(bytes, toHead: toHead)
    }
}

private func difference(
    _ head: borrowing Head, _ bytes: [UInt8], _ expected: ReferenceHead,
    _ message: HeadFeeder.Message
) -> String? {
    let framing: ReferenceFraming =
        switch head.framing {
        case .none: .none
        case .length(let n): .length(n)
        case .chunked: .chunked
        case .untilClose: .untilClose
        }
    if framing != expected.framing { return "framing \(framing), reference \(expected.framing)" }
    if Int(head.minorVersion) != expected.minorVersion { return "version" }
    if head.keepAlive != expected.keepAlive { return "keepAlive \(head.keepAlive)" }
    if head.wantsUpgrade != expected.wantsUpgrade { return "wantsUpgrade \(head.wantsUpgrade)" }
    if head.fieldCount != expected.fields.count { return "\(head.fieldCount) fields" }
    for (i, field) in expected.fields.enumerated() {
        let found = head.fields[i]
        if Array(bytes[found.nameRange]) != field.name { return "name of field \(i)" }
        if Array(bytes[found.valueRange]) != field.value { return "value of field \(i)" }
        let end = Int(found.end)
        if bytes[end - 2] != 13 || bytes[end - 1] != 10 { return "end of field \(i)" }
    }
    if namesMore(expected) != head.namesMoreHopFields { return "namesMoreHopFields" }
    switch message {
    case .request:
        if Array(bytes[head.method]) != expected.start[0] { return "method" }
        if Array(bytes[head.target]) != expected.start[1] { return "target" }
        if Array(bytes[head.authority]) != expected.authority { return "authority" }
        if Array(bytes[head.path]) != expected.path { return "path" }
        if head.isHead != (text(expected.start[0]) == "HEAD") { return "isHead" }
        if head.expectsContinue != expected.expectsContinue { return "expectsContinue" }
    case .response:
        if head.status != expected.status { return "status" }
        let reason = expected.start.count > 2 ? expected.start[2] : []
        if Array(bytes[head.reason]) != reason { return "reason" }
    }
    return nil
}

private func namesMore(_ head: ReferenceHead) -> Bool {
    let usual: Set = [
        "close", "keep-alive", "upgrade", "te", "proxy-connection", "trailer",
    ]
    return (head.connectionOptions ?? []).contains { !usual.contains($0) }
}
