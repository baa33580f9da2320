// From bytes to messages. What is read may be anything: every step looks whether there is
// something, names end after 255 bytes, and pointers lead back only.

extension DNSMessage {
    /// Reads a whole message.
    /// - Throws: where the bytes are none. What there was of it is not told.
    public init(_ bytes: [UInt8]) throws(DNSError) {
        guard var header = DNSHeader(bytes) else { throw .short }
        let low = UInt16(header.code)
        header.code = 0
        self.init(header)
        var reader = DNSReader(bytes, at: 4)
        let questionCount = try reader.short()
        let answerCount = try reader.short()
        let authorityCount = try reader.short()
        let additionalCount = try reader.short()
        // Bound: each of these takes bytes of the message.
        for _ in 0..<questionCount { questions.append(try reader.question()) }
        answers = try reader.records(answerCount)
        authorities = try reader.records(authorityCount)
        var high: UInt16 = 0
        for _ in 0..<additionalCount {
            switch try reader.record() {
            case .record(let record): additionals.append(record)
            case .extension(let value, let bits):
                guard `extension` == nil else { throw .misplacedOption }
                `extension` = value
                high = UInt16(bits)
            }
        }
        guard reader.isAtEnd else { throw .surplus }
        code = DNSCode(rawValue: high << 4 | low)
    }
}

extension DNSQuestion {
    /// The only question of what may be no message beyond it; nil where it has another number.
    public init?(of bytes: [UInt8]) {
        guard bytes.count >= DNSHeader.size, bytes[4] == 0, bytes[5] == 1 else { return nil }
        var reader = DNSReader(bytes, at: DNSHeader.size)
        do throws(DNSError) {
            self = try reader.question()
        } catch {
            return nil
        }
    }
}

struct DNSReader {
    enum Entry {
        case record(DNSRecord)
        /// OPT, and the upper eight bits of the code.
        case `extension`(DNSExtension, UInt8)
    }

    private let bytes: [UInt8]
    private var place: Int
    /// Bound: a name has at most 127 labels, and needs no more pointers than that.
    private static let pointerLimit = 127

    init(_ bytes: [UInt8], at place: Int = 0) {
        self.bytes = bytes
        self.place = place
    }

    var isAtEnd: Bool { place == bytes.count }

    mutating func take(_ count: Int) throws(DNSError) -> ArraySlice<UInt8> {
        guard count <= bytes.count - place else { throw .short }
        defer { place += count }
        return bytes[place..<place + count]
    }

    mutating func short() throws(DNSError) -> UInt16 {
        try take(2).reduce(0) { $0 << 8 | UInt16($1) }
    }

    mutating func long() throws(DNSError) -> UInt32 {
        try take(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// A name, of which parts may stand elsewhere (RFC 1035, 4.1.4).
    mutating func name() throws(DNSError) -> DNSName {
        var wire: [UInt8] = []
        var next = place
        /// Behind the first pointer, where reading goes on.
        var end: Int?
        /// The next pointer leads before this, so that they come to an end.
        var before = place
        var pointers = 0
        while true {
            guard next < bytes.count else { throw .short }
            let length = Int(bytes[next])
            switch length >> 6 {
            case 0:
                guard next + 1 + length <= bytes.count else { throw .short }
                // With room for the root's 0 behind a label.
                guard wire.count + length + (length == 0 ? 1 : 2) <= DNSName.byteLimit else {
                    throw .longName
                }
                wire += bytes[next..<next + 1 + length]
                next += 1 + length
                if length == 0 {
                    place = end ?? next
                    return DNSName(wire: wire)
                }
            case 3:
                guard next + 1 < bytes.count else { throw .short }
                let target = (length & 0x3F) << 8 | Int(bytes[next + 1])
                guard target < before else { throw .pointer }
                pointers += 1
                guard pointers <= Self.pointerLimit else { throw .longName }
                end = end ?? next + 2
                before = target
                next = target
            default: throw .label
            }
        }
    }

    mutating func question() throws(DNSError) -> DNSQuestion {
        let name = try name()
        let type = DNSType(rawValue: try short())
        return DNSQuestion(name, type, DNSClass(rawValue: try short()))
    }

    mutating func records(_ count: UInt16) throws(DNSError) -> [DNSRecord] {
        var records: [DNSRecord] = []
        for _ in 0..<count {
            guard case .record(let record) = try record() else { throw .misplacedOption }
            records.append(record)
        }
        return records
    }

    mutating func record() throws(DNSError) -> Entry {
        let name = try name()
        let type = DNSType(rawValue: try short())
        let `class` = DNSClass(rawValue: try short())
        let life = try long()
        let count = Int(try short())
        guard count <= bytes.count - place else { throw .short }
        let end = place + count
        if type == .opt {
            guard name == .root else { throw .misplacedOption }
            var value = DNSExtension(payload: `class`.rawValue)
            value.version = UInt8(life >> 16 & 0xFF)
            value.wantsSignatures = life & 0x8000 != 0
            value.options = try options(until: end)
            return .extension(value, UInt8(life >> 24))
        }
        let data = try data(type, `class`, count)
        guard place == end else { throw .data }
        // RFC 2181, 8: with the highest bit set it is 0.
        return .record(
            DNSRecord(name, type, life: life >> 31 == 0 ? life : 0, data, class: `class`))
    }

    private mutating func options(until end: Int) throws(DNSError) -> [DNSExtension.Option] {
        var options: [DNSExtension.Option] = []
        while place < end {
            let code = try short()
            let bytes = Array(try take(Int(try short())))
            options.append(DNSExtension.Option(code: code, bytes: bytes))
        }
        guard place == end else { throw .data }
        return options
    }

    /// May read past the data, which the caller sees.
    private mutating func data(
        _ type: DNSType, _ class: DNSClass, _ count: Int
    ) throws(DNSError) -> DNSData {
        guard `class` == .internet else { return .other(Array(try take(count))) }
        switch type {
        case .a, .aaaa:
            guard count == (type == .a ? 4 : 16) else { throw .data }
            return .address(Array(try take(count)))
        case .ns, .cname, .ptr: return .name(try name())
        case .mx:
            let preference = try short()
            return .exchange(preference: preference, try name())
        case .soa:
            let primary = try name()
            let mailbox = try name()
            return .start(
                primary: primary, mailbox: mailbox, serial: try long(), refresh: try long(),
                retry: try long(), expire: try long(), minimum: try long())
        case .srv:
            let priority = try short()
            let weight = try short()
            let port = try short()
            return .service(priority: priority, weight: weight, port: port, target: try name())
        default: return .other(Array(try take(count)))
        }
    }
}
