// From messages to bytes, with names that stood before written as pointers (RFC 1035, 4.1.4).

extension DNSMessage {
    /// The message as on the wire, in at most `limit` bytes. Records that do not fit are left away
    /// from the end; TC says so, unless only additional ones are missing (RFC 2181, 9).
    /// - Precondition: `limit` has room for the header, the questions and OPT.
    public func encoded(limit: Int = DNSMessage.byteLimit) -> [UInt8] {
        var writer = DNSWriter()
        var header = header
        header.code = UInt8(code.rawValue & 0xF)
        writer.short(header.id)
        // Flags and counts follow when they are known.
        writer.take([UInt8](repeating: 0, count: DNSHeader.size - 2))
        for question in questions {
            writer.name(question.name)
            writer.short(question.type.rawValue)
            writer.short(question.class.rawValue)
        }
        let tail = option
        let room = limit - tail.count
        precondition(writer.bytes.count <= room, "no room for a question of DNS")
        var counts = [0, 0, 0]
        let sections = [answers, authorities, additionals]
        sections: for (section, records) in sections.enumerated() {
            for record in records {
                let mark = writer.bytes.count
                writer.record(record)
                guard writer.bytes.count <= room else {
                    writer.cut(to: mark)
                    if section < 2 { header.isTruncated = true }
                    break sections
                }
                counts[section] += 1
            }
        }
        writer.take(tail)
        if `extension` != nil { counts[2] += 1 }
        var bytes = writer.bytes
        (bytes[2], bytes[3]) = header.flags
        for (index, count) in ([questions.count] + counts).enumerated() {
            bytes[4 + 2 * index] = UInt8(truncatingIfNeeded: count >> 8)
            bytes[5 + 2 * index] = UInt8(truncatingIfNeeded: count)
        }
        return bytes
    }

    /// OPT, or nothing.
    private var option: [UInt8] {
        guard let value = `extension` else { return [] }
        var writer = DNSWriter()
        writer.name(.root)
        writer.short(DNSType.opt.rawValue)
        writer.short(value.payload)
        writer.long(
            UInt32(code.rawValue >> 4) << 24 | UInt32(value.version) << 16
                | (value.wantsSignatures ? 0x8000 : 0))
        writer.counted { writer in
            for option in value.options {
                writer.short(option.code)
                writer.counted { $0.take(option.bytes) }
            }
        }
        return writer.bytes
    }
}

private struct DNSWriter {
    private(set) var bytes: [UInt8] = []
    /// Where names, and what they end in, stand, in lower case.
    private var places: [ArraySlice<UInt8>: Int] = [:]

    mutating func take(_ more: [UInt8]) { bytes += more }

    mutating func short(_ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    mutating func long(_ value: UInt32) {
        short(UInt16(truncatingIfNeeded: value >> 16))
        short(UInt16(truncatingIfNeeded: value))
    }

    /// What `write` writes behind its length in two bytes.
    /// - Precondition: it has fewer than 65,536 bytes.
    mutating func counted(_ write: (inout DNSWriter) -> Void) {
        let mark = bytes.count
        short(0)
        write(&self)
        let count = bytes.count - mark - 2
        precondition(count <= 0xFFFF, "data of DNS that are too long")
        bytes[mark] = UInt8(count >> 8)
        bytes[mark + 1] = UInt8(count & 0xFF)
    }

    /// Takes back what was written behind `mark`.
    mutating func cut(to mark: Int) {
        bytes.removeLast(bytes.count - mark)
        places = places.filter { $0.value < mark }
    }

    mutating func name(_ name: DNSName, isCompressed: Bool = true) {
        var start = 0
        while name.wire[start] != 0 {
            let suffix = name.folded[start...]
            if isCompressed, let place = places[suffix] {
                return short(0xC000 | UInt16(place))
            }
            // A pointer has 14 bits.
            if bytes.count < 0x4000 { places[suffix] = bytes.count }
            let end = start + 1 + Int(name.wire[start])
            bytes += name.wire[start..<end]
            start = end
        }
        bytes.append(0)
    }

    mutating func record(_ record: DNSRecord) {
        name(record.name)
        short(record.type.rawValue)
        short(record.class.rawValue)
        long(record.life)
        counted { writer in
            switch record.data {
            case .address(let bytes), .other(let bytes): writer.take(bytes)
            case .name(let name): writer.name(name)
            case .exchange(let preference, let name):
                writer.short(preference)
                writer.name(name)
            case .start(
                let primary, let mailbox, let serial, let refresh, let retry, let expire,
                let minimum):
                writer.name(primary)
                writer.name(mailbox)
                for value in [serial, refresh, retry, expire, minimum] { writer.long(value) }
            case .service(let priority, let weight, let port, let target):
                writer.short(priority)
                writer.short(weight)
                writer.short(port)
                // RFC 2782: the target is not compressed.
                writer.name(target, isCompressed: false)
            }
        }
    }
}
