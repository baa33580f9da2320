// A snapshot as bytes: everything at one revision, in order, under one sum.
//
//     magic (8) | revision (8) | number of leases (8) | number of keys (8)
//     lease …   number (8) | life in nanoseconds (8)
//     key …     key length (2) | value length (4) | create revision (8) | mod revision (8)
//               | version (8) | lease (8) | key | value
//     CRC of everything before (4)

import Base

/// Encodes and decodes snapshots.
public enum StoreSnapshot {
    static let magic: StaticString = "\u{0}mbsnap1\n"

    /// Bytes handed on at once, about: enough that a write is cheap.
    private static let pieceSize = 1 << 20

    /// Hands the snapshot of `contents` to `sink`, piece by piece, so that it is never whole in
    /// memory.
    public static func encode<Failure: Error>(
        _ contents: StoreContents, _ sink: ([UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        var sum = Checksum()
        var piece: [UInt8] = []
        magic.withUTF8Buffer { unsafe piece.append(contentsOf: $0) }
        piece.append(number: contents.revision)
        piece.append(number: UInt64(contents.leases.count))
        piece.append(number: UInt64(contents.entries.count))
        func flush(from size: Int) throws(Failure) {
            guard piece.count >= size else { return }
            sum.add(piece)
            try sink(piece)
            piece.removeAll(keepingCapacity: true)
        }
        try contents.leases.forEach { lease throws(Failure) in
            piece.append(number: lease.id)
            piece.append(number: lease.life.nanoseconds)
            try flush(from: pieceSize)
        }
        try contents.entries.forEach { entry throws(Failure) in
            piece.append(number: UInt16(entry.key.bytes.count))
            piece.append(number: UInt32(entry.value.count))
            piece.append(number: entry.createRevision)
            piece.append(number: entry.modRevision)
            piece.append(number: entry.version)
            piece.append(number: entry.lease)
            piece += entry.key.bytes
            piece += entry.value
            try flush(from: pieceSize)
        }
        try flush(from: 1)
        piece.append(number: sum.value)
        try sink(piece)
    }

    /// The whole snapshot at once.
    static func bytes(_ contents: StoreContents) -> [UInt8] {
        var bytes: [UInt8] = []
        encode(contents) { bytes += $0 }
        return bytes
    }

    /// What the snapshot holds.
    static func decode(_ snapshot: Bytes) throws(StoreDamage) -> StoreContents {
        guard snapshot.count >= 4, snapshot.count >= magic.utf8CodeUnitCount,
            snapshot[0..<magic.utf8CodeUnitCount] == magic
        else { throw StoreDamage(.snapshot, at: 0, .beginning) }
        let end = snapshot.count - 4
        var last = ByteReader(snapshot, from: end)
        guard last.number() == Checksum.of(snapshot[0..<end]) else {
            throw StoreDamage(.snapshot, at: 0, .sum)
        }
        var reader = ByteReader(snapshot[0..<end], from: magic.utf8CodeUnitCount)
        guard let contents = contents(&reader), reader.isAtEnd else {
            throw StoreDamage(.snapshot, at: reader.offset, .form)
        }
        return contents
    }

    /// - Returns: nil where the bytes are of another form or contradict each other.
    private static func contents(_ reader: inout ByteReader) -> StoreContents? {
        guard let revision = reader.number(UInt64.self), revision <= StoreLimits.revision,
            let leases = reader.number(UInt64.self), let keys = reader.number(UInt64.self)
        else { return nil }
        var contents = StoreContents()
        contents.revision = revision
        var lastLease: UInt64 = 0
        // The counts are believed as far as there are bytes for them.
        for _ in 0..<leases {
            guard let id = reader.number(UInt64.self), id > lastLease, id <= revision,
                let life = reader.number(Int64.self).map(Duration.nanoseconds),
                StoreLimits.leaseLife.contains(life)
            else { return nil }
            contents.leases.put(StoreLease(id: id, life: life))
            lastLease = id
        }
        var lastKey: StoreKey?
        for _ in 0..<keys {
            guard let entry = entry(&reader, revision) else { return nil }
            if let lastKey, !(lastKey < entry.key) { return nil }
            do throws(StoreRefusal) { try contents.restore(entry) } catch { return nil }
            lastKey = entry.key
        }
        return contents
    }

    private static func entry(_ reader: inout ByteReader, _ revision: UInt64) -> StoreEntry? {
        guard let keyLength = reader.number(UInt16.self),
            let valueLength = reader.number(UInt32.self), valueLength <= StoreLimits.valueBytes,
            let create = reader.number(UInt64.self), let mod = reader.number(UInt64.self),
            let version = reader.number(UInt64.self), let lease = reader.number(UInt64.self),
            let key = StoreLog.key(&reader, keyLength),
            let value = reader.array(Int(valueLength)),
            create >= 1, create <= mod, mod <= revision, version >= 1, version <= mod - create + 1
        else { return nil }
        return StoreEntry(
            key: key, value: value, createRevision: create, modRevision: mod, version: version,
            lease: lease)
    }
}
