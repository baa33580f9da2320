import Base

/// The serial number of a proxy's certificate: 8 bytes of its lineage, 8 of its own.
///
/// Certificates that follow one another by renewal are of one lineage, which begins when a proxy
/// joins. So whoever revokes one revokes what became of it, and nobody has to keep which was
/// renewed to which. All of it is random but two bits (RFC 5280, 4.1.2.2).
public struct CertificateSerial: Hashable, Sendable {
    /// 16 bytes, of which the first 8 are the lineage's.
    public let bytes: [UInt8]

    private static let count = (all: 16, lineage: 8)

    /// The first of a lineage.
    public init(_ random: inout some RandomNumberGenerator) {
        var bytes = Self.draw(Self.count.all, &random)
        // Positive, and with no zeros in front, so that it is always of the same length.
        bytes[0] = bytes[0] & 0x3F | 0x40
        self.bytes = bytes
    }

    /// The next of the same lineage.
    public func next(_ random: inout some RandomNumberGenerator) -> CertificateSerial {
        CertificateSerial(
            bytes: Array(bytes.prefix(Self.count.lineage))
                + Self.draw(Self.count.all - Self.count.lineage, &random))
    }

    /// From lower-case hexadecimal; nil: no certificate of a proxy's has it.
    public init?(_ text: some StringProtocol) {
        guard let bytes = Hexadecimal.decode(text), bytes.count == Self.count.all,
            bytes[0] & 0xC0 == 0x40
        else { return nil }
        self.bytes = bytes
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private static func draw(
        _ count: Int, _ random: inout some RandomNumberGenerator
    ) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    /// In lower-case hexadecimal.
    public var text: String { Hexadecimal.encode(bytes) }
    /// What it has in common with those before and after it: 16 digits.
    public var lineage: String { Hexadecimal.encode(bytes.prefix(Self.count.lineage)) }
}
