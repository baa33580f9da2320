// The fields of one message on their way to a session. The bytes are the caller's, and have to hold
// still until the message is submitted: the session copies them then.

public import Base
import CNghttp2
import Glibc

/// Header fields in order, pseudo-fields first. One serves a whole worker.
@safe
public final class FieldList {
    // Safety: both are allocated in `init`, freed in `deinit`, and written within their bounds.
    private let fields: UnsafeMutablePointer<nghttp2_nv>
    private let made: UnsafeMutableRawBufferPointer
    private var madeCount = 0
    public let capacity: Int
    public private(set) var count = 0
    /// Whether something did not fit.
    public private(set) var overflowed = false

    /// - Parameters:
    ///   - capacity: fields at most.
    ///   - made: bytes of values that do not stand anywhere yet, at most.
    public init(capacity: Int, made: Int) {
        self.capacity = capacity
        unsafe fields = .allocate(capacity: capacity)
        unsafe self.made = .allocate(byteCount: made, alignment: 16)
    }

    deinit {
        unsafe fields.deallocate()
        unsafe made.deallocate()
    }

    /// Empties the list.
    public func removeAll() {
        count = 0
        madeCount = 0
        overflowed = false
    }

    /// Appends a field. The name may be in any case: it is sent in lower case.
    public func add(_ name: Bytes, _ value: Bytes) {
        guard count < capacity else {
            overflowed = true
            return
        }
        // The library's structure has no place for `const`; it does not write.
        unsafe fields[count] = nghttp2_nv(
            name: UnsafeMutablePointer(
                mutating: name.raw.baseAddress?.assumingMemoryBound(
                    to: UInt8.self)),
            value: UnsafeMutablePointer(
                mutating: value.raw.baseAddress?.assumingMemoryBound(
                    to: UInt8.self)),
            namelen: name.count, valuelen: value.count, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
        count += 1
    }

    public func add(_ name: StaticString, _ value: Bytes) { add(Bytes(name), value) }
    public func add(_ name: StaticString, _ value: StaticString) { add(Bytes(name), Bytes(value)) }

    /// Appends a field whose bytes are kept here, so that the list can be sent again and again.
    public func add(copying name: Bytes, _ value: Bytes) {
        let copies = [name, value].map { bytes in
            var out = unsafe ByteWriter(UnsafeMutableRawBufferPointer(rebasing: made[madeCount...]))
            out.append(bytes)
            if out.overflowed { overflowed = true }
            let range = madeCount..<madeCount + out.count
            madeCount += out.count
            return unsafe Bytes(UnsafeRawBufferPointer(rebasing: made[range]))
        }
        if !overflowed { add(copies[0], copies[1]) }
    }

    /// Writes a number over the last digits of a value, which is kept here (`add(copying:)`).
    /// - Parameter index: the field's place in the list.
    public func overwrite(_ index: Int, hex number: UInt64, digits: Int) {
        precondition(index < count, "a field that is not there")
        let length = unsafe Int(fields[index].valuelen)
        precondition(digits <= length, "more digits than the value has")
        let start = unsafe fields[index].value + (length - digits)
        var out = unsafe ByteWriter(UnsafeMutableRawBufferPointer(start: start, count: digits))
        out.append(hex: number, digits: digits)
    }

    /// Keeps a field out of the tables that the two sides compress by: its value is never the same
    /// again, and would only push others out.
    public func leaveUnindexed(_ index: Int) {
        precondition(index < count, "a field that is not there")
        unsafe fields[index].flags = UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue)
    }

    /// Appends the fields of `name: value` lines, each ended by CR LF, which have been checked;
    /// without those that concern a connection of HTTP/1.1 (RFC 9113, 8.2.2), for which the peer
    /// would refuse the whole message.
    public func add(lines: Bytes) {
        var start = 0
        while start < lines.count, let end = lines.firstIndex(of: Ascii.cr, from: start),
            let colon = lines.firstIndex(of: UInt8(ascii: ":"), from: start), colon < end
        {
            var (from, to) = (colon + 1, end)
            func isBlank(_ byte: UInt8) -> Bool { byte == Ascii.space || byte == Ascii.tab }
            while from < to, isBlank(lines[from]) { from += 1 }
            while to > from, isBlank(lines[to - 1]) { to -= 1 }
            let name = lines[start..<colon]
            if !Self.concernsConnection(name) { add(name, lines[from..<to]) }
            start = end + 2
        }
    }

    private static func concernsConnection(_ name: Bytes) -> Bool {
        isSame(name, "keep-alive") || isSame(name, "proxy-connection")
            || isSame(name, "connection") || isSame(name, "transfer-encoding")
            || isSame(name, "upgrade")
    }

    /// Whether `name` is `other`, which is in lower case.
    private static func isSame(_ name: Bytes, _ other: StaticString) -> Bool {
        let other = Bytes(other)
        guard name.count == other.count else { return false }
        for i in 0..<name.count where asciiLowercase(name[i]) != other[i] { return false }
        return true
    }

    /// Appends a field whose value `write` makes.
    public func add(_ name: StaticString, making write: (inout ByteWriter) -> Void) {
        var out = unsafe ByteWriter(UnsafeMutableRawBufferPointer(rebasing: made[madeCount...]))
        write(&out)
        guard !out.overflowed else {
            overflowed = true
            return
        }
        let value = unsafe Bytes(
            UnsafeRawBufferPointer(rebasing: made[madeCount..<madeCount + out.count]))
        madeCount += out.count
        add(Bytes(name), value)
    }

    public func add(_ name: StaticString, decimal: Int) {
        add(name) { $0.append(decimal: UInt64(decimal)) }
    }

    var start: UnsafeMutablePointer<nghttp2_nv> { unsafe fields }
}
