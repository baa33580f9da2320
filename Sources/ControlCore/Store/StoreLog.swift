// The log as bytes.
//
//     log     magic (8) | base revision (8) | CRC of these (4) | frame …
//     frame   magic (4) | payload length (4) | revision of its first record (8)
//             | CRC of the payload (4) | CRC of these 20 bytes and the frame's offset (4)
//             | payload: record …
//     record  number of effects (4) | effect …
//     effect  1 put:    key length (2) | value length (4) | lease (8) | key | value
//             2 delete: key length (2) | key
//             3 grant:  life in nanoseconds (8)
//             4 revoke: lease (8)
//
// A frame is what is written and synced at once: it counts whole or not at all. Its offset is in
// its sum, so that bytes that are a frame elsewhere are none here.

import Base

/// Encodes and decodes the log.
public enum StoreLog {
    static let magic: StaticString = "\u{0}mblog1\n"
    static let headerSize = 20
    /// Not UTF-8, so that no JSON has a frame in it.
    static let frameMagic: UInt32 = 0x3152_46FF
    static let frameHeaderSize = 24

    /// The beginning of a log that goes on from a snapshot at `revision`.
    public static func header(base revision: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        magic.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
        bytes.append(number: revision)
        bytes.append(number: bytes.withBytes(Checksum.of))
        return bytes
    }

    /// The frame of the plan's records.
    /// - Parameter offset: where it will stand in the file.
    /// - Precondition: the plan has records.
    public static func frame(_ plan: StorePlan, at offset: Int) -> [UInt8] {
        frame(plan.records, at: offset)
    }

    static func frame(_ records: [StoreRecord], at offset: Int) -> [UInt8] {
        precondition(!records.isEmpty, "a frame of nothing")
        var size = frameHeaderSize
        for record in records { size += byteCount(record) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        bytes.append(number: frameMagic)
        bytes.append(number: UInt32(size - frameHeaderSize))
        bytes.append(number: records[0].revision)
        bytes.append(contentsOf: repeatElement(0, count: 8))
        for record in records { append(record, to: &bytes) }
        let payload = bytes.withBytes { Checksum.of($0[frameHeaderSize..<$0.count]) }
        put(payload, at: 16, of: &bytes)
        put(bytes.withBytes { headerSum($0, offset: offset) }, at: 20, of: &bytes)
        return bytes
    }

    /// Bytes of the record that the request makes, or a few more.
    public static func byteCount(_ request: StoreRequest) -> Int {
        guard case .transaction(let transaction) = request else { return 16 }
        var size = 4
        for change in transaction.changes {
            switch change {
            case .put(let key, let value, _): size += 15 + key.bytes.count + value.count
            case .delete(let key): size += 3 + key.bytes.count
            }
        }
        return size
    }

    private static func byteCount(_ record: StoreRecord) -> Int {
        record.effects.reduce(4) { size, effect in
            switch effect {
            case .put(let key, let value, _): size + 15 + key.bytes.count + value.count
            case .delete(let key): size + 3 + key.bytes.count
            case .grant, .revoke: size + 9
            }
        }
    }

    private static func append(_ record: StoreRecord, to bytes: inout [UInt8]) {
        bytes.append(number: UInt32(record.effects.count))
        for effect in record.effects {
            switch effect {
            case .put(let key, let value, let lease):
                bytes.append(1)
                bytes.append(number: UInt16(key.bytes.count))
                bytes.append(number: UInt32(value.count))
                bytes.append(number: lease)
                bytes += key.bytes
                bytes += value
            case .delete(let key):
                bytes.append(2)
                bytes.append(number: UInt16(key.bytes.count))
                bytes += key.bytes
            case .grant(let life):
                bytes.append(3)
                bytes.append(number: life.nanoseconds)
            case .revoke(let lease):
                bytes.append(4)
                bytes.append(number: lease)
            }
        }
    }

    private static func put(_ sum: UInt32, at place: Int, of bytes: inout [UInt8]) {
        for index in 0..<4 {
            bytes[place + index] = UInt8(truncatingIfNeeded: sum >> (8 * UInt32(index)))
        }
    }

    /// The sum of the frame header that stands at the beginning of `frame`.
    private static func headerSum(_ frame: Bytes, offset: Int) -> UInt32 {
        var sum = Checksum()
        sum.add(frame[0..<20])
        var place: [UInt8] = []
        place.append(number: UInt64(offset))
        sum.add(place)
        return sum.value
    }

    // MARK: Decoding

    /// The head of a frame whose sum is right.
    struct FrameHeader {
        var revision: UInt64
        var payload: Range<Int>
        var sum: UInt32
    }

    /// The revision that the log goes on from; nil where it does not begin as a log does.
    static func base(_ log: Bytes) -> UInt64? {
        guard log.count >= headerSize, log[0..<8] == magic else { return nil }
        var reader = ByteReader(log, from: 8)
        guard let revision = reader.number(UInt64.self), let sum = reader.number(UInt32.self),
            sum == Checksum.of(log[0..<16])
        else { return nil }
        return revision
    }

    /// The head of the frame at `offset`; nil where none stands whole and sound. Its payload may
    /// reach past the end of the log.
    static func frameHeader(at offset: Int, in log: Bytes) -> FrameHeader? {
        var reader = ByteReader(log, from: offset)
        guard reader.number() == frameMagic, let length = reader.number(UInt32.self),
            length <= StoreLimits.frameBytes, let revision = reader.number(UInt64.self),
            let payload = reader.number(UInt32.self), let sum = reader.number(UInt32.self),
            sum == headerSum(log[offset..<log.count], offset: offset)
        else { return nil }
        let start = offset + frameHeaderSize
        return FrameHeader(
            revision: revision, payload: start..<start + Int(length), sum: payload)
    }

    /// The records of a payload, the first at `revision`; nil where it is none of this form.
    static func records(_ payload: Bytes, from revision: UInt64) -> [StoreRecord]? {
        var reader = ByteReader(payload)
        var records: [StoreRecord] = []
        repeat {
            guard let count = reader.number(UInt32.self) else { return nil }
            let (number, overflow) = revision.addingReportingOverflow(UInt64(records.count))
            guard !overflow, number <= StoreLimits.revision else { return nil }
            var record = StoreRecord(revision: number, effects: [])
            for _ in 0..<count {
                guard let effect = effect(&reader) else { return nil }
                record.effects.append(effect)
            }
            records.append(record)
        } while !reader.isAtEnd
        return records
    }

    private static func effect(_ reader: inout ByteReader) -> StoreRecord.Effect? {
        switch reader.number(UInt8.self) {
        case 1:
            guard let keyLength = reader.number(UInt16.self),
                let valueLength = reader.number(UInt32.self),
                let lease = reader.number(UInt64.self), let key = key(&reader, keyLength),
                valueLength <= StoreLimits.valueBytes,
                let value = reader.array(Int(valueLength))
            else { return nil }
            return .put(key, value: value, lease: lease)
        case 2:
            guard let length = reader.number(UInt16.self), let key = key(&reader, length) else {
                return nil
            }
            return .delete(key)
        case 3:
            guard let life = reader.number(Int64.self).map(Duration.nanoseconds),
                StoreLimits.leaseLife.contains(life)
            else { return nil }
            return .grant(life: life)
        case 4: return reader.number(UInt64.self).map { .revoke(lease: $0) }
        default: return nil
        }
    }

    static func key(_ reader: inout ByteReader, _ length: UInt16) -> StoreKey? {
        guard (1...StoreLimits.keyBytes).contains(Int(length)) else { return nil }
        return reader.array(Int(length)).map(StoreKey.init(bytes:))
    }
}
