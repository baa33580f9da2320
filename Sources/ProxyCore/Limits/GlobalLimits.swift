// What a configuration has proxies ask a rate limit service, compiled: which parts of a request
// make up which message. A message is written where it is sent from, without a copy of any part.

import Base
import Model
import Wire

/// A request and its client, as a question is about them.
struct LimitedParts {
    let bytes: Bytes
    /// Its address; empty: it was not told.
    let client: Bytes
    /// Empty: it has none.
    let identity: Bytes
}

/// Compiled questions. Built for each configuration, then only read.
struct GlobalLimits: ~Copyable {
    /// What is asked of requests of one listener or route.
    struct Question {
        /// Where the service is; -1: nowhere.
        let cluster: Int32
        let timeout: Duration
        let denies: Bool
        let tells: Bool
        let domain: PatternText
        /// What the service is asked for as; it has no part in the answer.
        let authority: PatternText
        fileprivate let descriptors: PatternRange
        /// Bytes that a value of a request's may have. What is longer is cut: a message that does
        /// not fit would not be sent, and the request would go on unasked by the length of one of
        /// its fields.
        fileprivate let valueMost: Int
    }

    fileprivate enum Source {
        case text(PatternText)
        case header(PatternText)
        case part(GlobalRateLimit.Part)
    }

    fileprivate struct Entry {
        let key: PatternText
        let source: Source
    }

    /// Places in `questions`, by listener and by route; -1: none.
    private let ofListeners: [Int32]
    private let ofRoutes: [Int32]
    private let questions: [Question]
    /// Places in `entries`.
    private let descriptors: [PatternRange]
    private let entries: [Entry]
    private let patterns: Patterns
    /// Whether anything is ever asked.
    let isUsed: Bool

    init(_ configuration: ProxyConfiguration) {
        var compiler = Compiler(configuration)
        ofListeners = configuration.listeners.map { compiler.add($0.globalRateLimit) }
        ofRoutes =
            configuration.routes.contains { $0.globalRateLimit != nil }
            ? configuration.routes.map { compiler.add($0.globalRateLimit) } : []
        questions = compiler.questions
        descriptors = compiler.descriptors
        entries = compiler.entries
        patterns = Patterns(compiler.patterns)
        isUsed = !questions.isEmpty
    }

    private struct Compiler {
        var questions: [Question] = []
        var descriptors: [PatternRange] = []
        var entries: [Entry] = []
        var patterns = Patterns.Builder()
        private let clusters: ClusterPlaces

        init(_ configuration: ProxyConfiguration) { clusters = ClusterPlaces(configuration) }

        mutating func add(_ limit: GlobalRateLimit?) -> Int32 {
            guard let limit else { return -1 }
            let first = descriptors.count
            let firstEntry = entries.count
            for descriptor in limit.descriptors {
                let start = entries.count
                for entry in descriptor.entries {
                    let key = patterns.add(entry.key.utf8)
                    let source: Source =
                        switch entry.value {
                        case .text(let text): .text(patterns.add(text.utf8))
                        case .header(let name): .header(patterns.add(name.utf8))
                        case .part(let part): .part(part)
                        }
                    entries.append(Entry(key: key, source: source))
                }
                descriptors.append(PatternRange(start, entries.count))
            }
            questions.append(
                Question(
                    cluster: clusters.match(limit.cluster).cluster, timeout: limit.timeout,
                    denies: limit.denies, tells: limit.tells,
                    domain: patterns.add(limit.domain.utf8),
                    // Clusters of a mesh have names that are no hosts.
                    authority: patterns.add((limit.service?.host ?? limit.cluster).utf8),
                    descriptors: PatternRange(first, descriptors.count),
                    valueMost: Self.valueMost(limit, entries[firstEntry...])))
            return Int32(questions.count - 1)
        }

        /// What is left of a message for each value of a request's, when tags and lengths have 24
        /// bytes for each entry. Something is: see `TrafficLimits.limitBytes`.
        private static func valueMost(_ limit: GlobalRateLimit, _ entries: ArraySlice<Entry>)
            -> Int
        {
            var taken = limit.domain.utf8.count + 16
            var open = 0
            for entry in entries {
                taken += Int(entry.key.count) + 24
                if case .text(let text) = entry.source {
                    taken += Int(text.count)
                } else {
                    open += 1
                }
            }
            return max(1, (RateLimitCall.messageBytes - taken) / max(1, open))
        }
    }

    func question(ofListener listener: Int) -> Question? {
        guard ofListeners.indices.contains(listener), ofListeners[listener] >= 0 else { return nil }
        return questions[Int(ofListeners[listener])]
    }

    func question(ofRoute route: Int32) -> Question? {
        guard route >= 0, Int(route) < ofRoutes.count, ofRoutes[Int(route)] >= 0 else { return nil }
        return questions[Int(ofRoutes[Int(route)])]
    }

    func bytes(_ text: PatternText) -> Bytes {
        patterns.text.bytes(Int(text.start)..<Int(text.start + text.count))
    }

    // MARK: The message

    /// Bytes of the message about a request; 0: there is nothing to ask.
    func size(_ question: Question, _ head: borrowing Head, _ parts: LimitedParts) -> Int {
        var sum = 0
        for place in question.descriptors.indices {
            guard let count = size(ofDescriptor: place, question, head, parts) else { continue }
            sum += ProtobufSize.field(2, count)
        }
        return sum == 0 ? 0 : sum + ProtobufSize.field(1, Int(question.domain.count))
    }

    func write(
        _ question: Question, _ head: borrowing Head, _ parts: LimitedParts,
        to out: inout ByteWriter
    ) {
        out.append(protobuf: 1, bytes(question.domain))
        for place in question.descriptors.indices {
            guard let count = size(ofDescriptor: place, question, head, parts) else { continue }
            out.append(protobuf: 2, count: count)
            for i in descriptors[place].indices {
                let entry = entries[i]
                guard let value = value(entry.source, question, head, parts) else { continue }
                out.append(protobuf: 1, count: Self.size(entry, value))
                out.append(protobuf: 1, bytes(entry.key))
                out.append(protobuf: 2, count: value.count)
                append(value, to: &out)
            }
        }
    }

    /// Fields may have bytes that are no UTF-8, and a service refuses a text that is none: whoever
    /// sends one is not to go on unasked.
    private func append(_ value: Bytes, to out: inout ByteWriter) {
        guard !value.isUTF8 else { return out.append(value) }
        for i in 0..<value.count { out.append(value[i] < 0x80 ? value[i] : UInt8(ascii: "?")) }
    }

    /// Bytes of a descriptor; nil: the request lacks one of its parts.
    private func size(
        ofDescriptor place: Int, _ question: Question, _ head: borrowing Head, _ parts: LimitedParts
    ) -> Int? {
        var sum = 0
        for i in descriptors[place].indices {
            guard let value = value(entries[i].source, question, head, parts) else { return nil }
            sum += ProtobufSize.field(1, Self.size(entries[i], value))
        }
        return sum
    }

    private static func size(_ entry: Entry, _ value: Bytes) -> Int {
        ProtobufSize.field(1, Int(entry.key.count)) + ProtobufSize.field(2, value.count)
    }

    /// An empty value is none: services tell the two apart no more than Envoy's does.
    private func value(
        _ source: Source, _ question: Question, _ head: borrowing Head, _ parts: LimitedParts
    ) -> Bytes? {
        let value: Bytes?
        switch source {
        case .text(let text): return bytes(text)
        case .header(let name): value = patterns.value(name, head, parts.bytes)
        case .part(.path): value = parts.bytes[head.path]
        case .part(.method): value = parts.bytes[head.method]
        case .part(.host): value = parts.bytes[head.authority]
        case .part(.address): value = parts.client
        case .part(.identity): value = parts.identity
        }
        guard let value, value.count > 0 else { return nil }
        return value[0..<min(value.count, question.valueMost)]
    }
}
