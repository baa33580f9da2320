// The messages as a service sees them: as values. Allocates.

public import Base

/// Why bytes are no question.
@frozen
public enum RateLimitMessageError: Error, Equatable, Sendable {
    /// No message of this kind, or text that is not UTF-8.
    case malformed
    /// More descriptors, entries or text than anybody means.
    case tooLarge
    /// Without a domain, or without descriptors.
    case incomplete
}

/// A question: `RateLimitRequest`.
public struct RateLimitRequest: Equatable, Sendable {
    public struct Entry: Hashable, Sendable {
        public var key: String
        public var value: String

        public init(_ key: String, _ value: String) {
            self.key = key
            self.value = value
        }
    }

    public struct Descriptor: Hashable, Sendable {
        public var entries: [Entry]

        public init(_ entries: [Entry]) { self.entries = entries }
    }

    // Bounds of what is read.
    public static let descriptorsMost = 64
    public static let entriesMost = 32
    /// Bytes of a domain or a key; values may be as long as the message.
    public static let textBytes = 1024

    public var domain: String
    public var descriptors: [Descriptor]
    /// What it adds to each limit; 0: one.
    public var hits: UInt32

    public init(domain: String, descriptors: [Descriptor], hits: UInt32 = 0) {
        self.domain = domain
        self.descriptors = descriptors
        self.hits = hits
    }

    /// Reads one. Of a descriptor, only its entries are: limits that it brings along are let be.
    public init(_ bytes: Bytes) throws(RateLimitMessageError) {
        guard bytes.count <= RateLimitCall.messageBytes else { throw .tooLarge }
        self.init(domain: "", descriptors: [])
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let range)):
                domain = try Self.text(bytes[range], most: Self.textBytes)
            case (2, .bytes(let range)):
                guard descriptors.count < Self.descriptorsMost else { throw .tooLarge }
                descriptors.append(try Self.descriptor(bytes[range]))
            case (3, .number(let number)): hits = UInt32(clamping: number)
            case (1, _), (2, _), (3, _): throw .malformed
            default: break
            }
        }
        guard reader.isWellFormed else { throw .malformed }
        guard !domain.isEmpty, !descriptors.isEmpty else { throw .incomplete }
    }

    private static func descriptor(_ bytes: Bytes) throws(RateLimitMessageError) -> Descriptor {
        var entries: [Entry] = []
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            guard field.number == 1 else { continue }
            guard case .bytes(let range) = field.value else { throw .malformed }
            guard entries.count < entriesMost else { throw .tooLarge }
            entries.append(try entry(bytes[range]))
        }
        guard reader.isWellFormed else { throw .malformed }
        guard !entries.isEmpty else { throw .incomplete }
        return Descriptor(entries)
    }

    private static func entry(_ bytes: Bytes) throws(RateLimitMessageError) -> Entry {
        var entry = Entry("", "")
        var reader = ProtobufReader(bytes)
        while let field = reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let range)): entry.key = try text(bytes[range], most: textBytes)
            case (2, .bytes(let range)):
                entry.value = try text(bytes[range], most: RateLimitCall.messageBytes)
            case (1, _), (2, _): throw .malformed
            default: break
            }
        }
        guard reader.isWellFormed else { throw .malformed }
        guard !entry.key.isEmpty else { throw .incomplete }
        return entry
    }

    private static func text(
        _ bytes: Bytes, most: Int
    ) throws(RateLimitMessageError) -> String {
        guard bytes.count <= most else { throw .tooLarge }
        guard let text = unsafe String(validating: bytes.raw, as: UTF8.self) else {
            throw .malformed
        }
        return text
    }

    /// The message.
    public var bytes: [UInt8] {
        var writer = ProtobufWriter()
        writer.append(1, text: domain)
        for descriptor in descriptors {
            writer.append(2) { writer in
                for entry in descriptor.entries {
                    writer.append(1) {
                        $0.append(1, text: entry.key)
                        $0.append(2, text: entry.value)
                    }
                }
            }
        }
        if hits > 0 { writer.append(3, Int(hits)) }
        return writer.bytes
    }
}

/// An answer: `RateLimitResponse`.
public struct RateLimitResponse: Equatable, Sendable {
    /// What is said of one descriptor.
    public struct Status: Equatable, Sendable {
        public var code: RateLimitCode
        /// nil: nothing limits it.
        public var limit: Limit?
        public var remaining: UInt32
        /// Seconds until the unit is over.
        public var reset: Int64

        public init(
            _ code: RateLimitCode, limit: Limit? = nil, remaining: UInt32 = 0, reset: Int64 = 0
        ) {
            self.code = code
            self.limit = limit
            self.remaining = remaining
            self.reset = reset
        }
    }

    public struct Limit: Equatable, Sendable {
        public var requests: UInt32
        public var unit: RateLimitUnit
        /// Empty: it has none.
        public var name: String

        public init(_ requests: UInt32, per unit: RateLimitUnit, name: String = "") {
            self.requests = requests
            self.unit = unit
            self.name = name
        }
    }

    public var code: RateLimitCode
    /// One for each descriptor, in their order.
    public var statuses: [Status]

    public init(_ code: RateLimitCode, _ statuses: [Status]) {
        self.code = code
        self.statuses = statuses
    }

    /// The message.
    public var bytes: [UInt8] {
        var writer = ProtobufWriter()
        writer.append(1, code.rawValue)
        for status in statuses {
            writer.append(2) { writer in
                writer.append(1, status.code.rawValue)
                guard let limit = status.limit else { return }
                writer.append(2) {
                    $0.append(1, Int(limit.requests))
                    $0.append(2, limit.unit.rawValue)
                    if !limit.name.isEmpty { $0.append(3, text: limit.name) }
                }
                writer.append(3, Int(status.remaining))
                writer.append(4) { $0.append(1, Int(status.reset)) }
            }
        }
        return writer.bytes
    }
}
