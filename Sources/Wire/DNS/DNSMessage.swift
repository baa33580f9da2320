// Messages of DNS (RFC 1035, 4) as values, with EDNS (RFC 6891). Meant for a server of a small zone
// and its clients: what they have no use for is kept as bytes.

/// Why bytes are no message.
public enum DNSError: Error, Equatable, Sendable {
    /// They end before it does.
    case short
    /// Something follows it.
    case surplus
    /// A label of a kind that there is not (RFC 6891, 5).
    case label
    /// A name longer than 255 bytes, or a chain of pointers longer than any name.
    case longName
    /// A pointer that does not lead to what stands before it.
    case pointer
    /// Data that do not fit their type or their length.
    case data
    /// More than one OPT, or one where none may stand (RFC 6891, 6.1.1).
    case misplacedOption
}

/// The type of a record, or what a question asks for.
public struct DNSType: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let a = DNSType(rawValue: 1)
    public static let ns = DNSType(rawValue: 2)
    public static let cname = DNSType(rawValue: 5)
    public static let soa = DNSType(rawValue: 6)
    public static let ptr = DNSType(rawValue: 12)
    public static let mx = DNSType(rawValue: 15)
    public static let txt = DNSType(rawValue: 16)
    public static let aaaa = DNSType(rawValue: 28)
    /// RFC 2782.
    public static let srv = DNSType(rawValue: 33)
    /// RFC 6891: no record, but what is said of the message beyond its header.
    public static let opt = DNSType(rawValue: 41)
    public static let any = DNSType(rawValue: 255)
}

/// The class of a record; of OPT, something else.
public struct DNSClass: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let internet = DNSClass(rawValue: 1)
    public static let any = DNSClass(rawValue: 255)
}

/// What an answer has come to: the RCODE, with the bits of EDNS.
public struct DNSCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// Below 4096.
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue & 0xFFF }

    public static let noError = DNSCode(rawValue: 0)
    /// The question cannot be read.
    public static let formatError = DNSCode(rawValue: 1)
    public static let serverFailure = DNSCode(rawValue: 2)
    /// There is no such name.
    public static let nameError = DNSCode(rawValue: 3)
    public static let notImplemented = DNSCode(rawValue: 4)
    public static let refused = DNSCode(rawValue: 5)
    /// RFC 6891, 9: a version of EDNS that is not known.
    public static let badVersion = DNSCode(rawValue: 16)

    /// The word that `dig` shows.
    public var description: String {
        switch self {
        case .noError: "NOERROR"
        case .formatError: "FORMERR"
        case .serverFailure: "SERVFAIL"
        case .nameError: "NXDOMAIN"
        case .notImplemented: "NOTIMP"
        case .refused: "REFUSED"
        case .badVersion: "BADVERS"
        default: "RCODE\(rawValue)"
        }
    }
}

/// The first 12 bytes of a message but for the counts.
public struct DNSHeader: Equatable, Sendable {
    public var id: UInt16
    public var isResponse = false
    /// 0: a question. Below 16.
    public var opcode: UInt8 = 0
    /// AA: from the zone's own server.
    public var isAuthoritative = false
    /// TC: more did not fit.
    public var isTruncated = false
    /// RD
    public var recursionDesired = false
    /// RA
    public var recursionAvailable = false
    /// AD (RFC 4035, 3.2.3).
    public var isAuthentic = false
    /// CD (RFC 4035, 3.2.2).
    public var isCheckingDisabled = false
    /// The low four bits of the code; of a message, 0: that has all of it.
    var code: UInt8 = 0

    public init(id: UInt16) { self.id = id }

    /// Bytes.
    public static let size = 12

    /// The header of what may be no message otherwise; nil where there are not even 12 bytes.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.size else { return nil }
        id = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
        isResponse = bytes[2] & 0x80 != 0
        opcode = bytes[2] >> 3 & 0xF
        isAuthoritative = bytes[2] & 4 != 0
        isTruncated = bytes[2] & 2 != 0
        recursionDesired = bytes[2] & 1 != 0
        recursionAvailable = bytes[3] & 0x80 != 0
        isAuthentic = bytes[3] & 0x20 != 0
        isCheckingDisabled = bytes[3] & 0x10 != 0
        code = bytes[3] & 0xF
    }

    /// The two bytes behind the id.
    var flags: (UInt8, UInt8) {
        func bit(_ isSet: Bool, _ value: UInt8) -> UInt8 { isSet ? value : 0 }
        return (
            bit(isResponse, 0x80) | (opcode & 0xF) << 3 | bit(isAuthoritative, 4)
                | bit(isTruncated, 2) | bit(recursionDesired, 1),
            bit(recursionAvailable, 0x80) | bit(isAuthentic, 0x20) | bit(isCheckingDisabled, 0x10)
                | code & 0xF
        )
    }
}

/// What is asked.
public struct DNSQuestion: Hashable, Sendable {
    public var name: DNSName
    public var type: DNSType
    public var `class`: DNSClass

    public init(_ name: DNSName, _ type: DNSType, _ class: DNSClass = .internet) {
        self.name = name
        self.type = type
        self.class = `class`
    }
}

/// What a record says of its name.
public enum DNSData: Equatable, Sendable {
    /// A or AAAA: 4 or 16 bytes in network order.
    case address([UInt8])
    /// NS, CNAME or PTR.
    case name(DNSName)
    /// MX.
    case exchange(preference: UInt16, DNSName)
    /// SOA. Times are in seconds; `minimum`: how long to believe that there is nothing (RFC 2308).
    case start(
        primary: DNSName, mailbox: DNSName, serial: UInt32, refresh: UInt32, retry: UInt32,
        expire: UInt32, minimum: UInt32)
    /// SRV.
    case service(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
    /// All others (RFC 3597).
    case other([UInt8])
}

/// One record.
public struct DNSRecord: Equatable, Sendable {
    public var name: DNSName
    public var type: DNSType
    public var `class`: DNSClass
    /// For how long it holds, seconds; below 2³¹ (RFC 2181, 8).
    public var life: UInt32
    public var data: DNSData

    /// - Parameter data: of the form that `type` has.
    public init(
        _ name: DNSName, _ type: DNSType, life: UInt32, _ data: DNSData,
        class: DNSClass = .internet
    ) {
        self.name = name
        self.type = type
        self.class = `class`
        self.life = life
        self.data = data
    }
}

/// What OPT says (RFC 6891, 6.1), but for the bits of the code.
public struct DNSExtension: Equatable, Sendable {
    public struct Option: Equatable, Sendable {
        public var code: UInt16
        public var bytes: [UInt8]

        public init(code: UInt16, bytes: [UInt8]) {
            self.code = code
            self.bytes = bytes
        }
    }

    /// The largest message over UDP that whoever says it takes, bytes. Below 512 means 512.
    public var payload: UInt16
    public var version: UInt8 = 0
    /// DO (RFC 3225).
    public var wantsSignatures = false
    public var options: [Option] = []

    public init(payload: UInt16) { self.payload = payload }
}

/// A message.
public struct DNSMessage: Equatable, Sendable {
    public var header: DNSHeader
    public var code = DNSCode.noError
    public var questions: [DNSQuestion] = []
    public var answers: [DNSRecord] = []
    public var authorities: [DNSRecord] = []
    /// Without OPT.
    public var additionals: [DNSRecord] = []
    /// nil: no OPT.
    public var `extension`: DNSExtension?

    /// Bytes of any message at most: TCP says its length in two bytes (RFC 1035, 4.2.2).
    public static let byteLimit = 65_535
    /// Bytes of one over UDP that everybody takes (RFC 1035, 4.2.1).
    public static let datagramLimit = 512
    /// Bytes of one over UDP that fits into one packet everywhere (DNS flag day 2020).
    public static let usualPayload = 1232

    public init(_ header: DNSHeader) { self.header = header }

    /// A question.
    public init(id: UInt16, _ question: DNSQuestion, recursionDesired: Bool = false) {
        header = DNSHeader(id: id)
        header.recursionDesired = recursionDesired
        questions = [question]
    }
}
