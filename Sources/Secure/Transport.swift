// How OpenSSL reads and writes without a socket: a BIO whose reads are served from memory that the
// caller lends for the time of a call, and whose writes go to such memory. What was left over is
// held in between.

import Base
import COpenSSL
import Glibc

/// The two directions of one session.
@safe
struct Transport: ~Copyable {
    // Safety: `input` and `output` are set at the beginning of a call and cleared at its end; the
    // caller holds their memory still meanwhile.
    /// What the caller lends to be read, after what is held.
    private var input: UnsafePointer<UInt8>?
    private(set) var inputCount = 0
    var heldInput = HeldBytes()
    /// Where the caller wants what is written; what does not fit is held.
    private var output: UnsafeMutablePointer<UInt8>?
    private(set) var outputCount = 0
    private var outputCapacity = 0
    var heldOutput = HeldBytes()

    init() {
        unsafe input = nil
        unsafe output = nil
    }

    mutating func lend(input bytes: Bytes) {
        unsafe input = bytes.raw.baseAddress?.assumingMemoryBound(to: UInt8.self)
        inputCount = bytes.count
    }

    mutating func lend(output memory: UnsafeMutableRawBufferPointer, used: Int) {
        unsafe output = memory.baseAddress?.assumingMemoryBound(to: UInt8.self)
        outputCapacity = memory.count
        outputCount = used
    }

    mutating func takeBack() {
        unsafe input = nil
        inputCount = 0
        unsafe output = nil
        outputCapacity = 0
        outputCount = 0
    }

    /// Serves a read; 0: there is nothing now.
    fileprivate mutating func read(_ memory: UnsafeMutableRawBufferPointer) -> Int {
        if heldInput.count > 0 { return unsafe heldInput.move(to: memory) }
        guard let source = unsafe input, let target = memory.baseAddress else { return 0 }
        let n = min(memory.count, inputCount)
        unsafe memcpy(target, source, n)
        unsafe input = source + n
        inputCount -= n
        return n
    }

    /// Takes a write, always all of it. Bound: OpenSSL writes a record at a time, and a handshake's
    /// flight at most.
    fileprivate mutating func write(_ bytes: Bytes) {
        guard bytes.count > 0, let target = unsafe output, heldOutput.count == 0,
            bytes.count <= outputCapacity - outputCount
        else { return heldOutput.append(bytes) }
        unsafe UnsafeMutableRawPointer(target + outputCount).copyMemory(
            from: bytes.raw.baseAddress.unsafelyUnwrapped, byteCount: bytes.count)
        outputCount += bytes.count
    }
}

/// The BIO's kind, made once.
@safe
enum TransportMethod {
    // Safety: made before its first use, by whoever is first, and never changed or freed.
    private nonisolated(unsafe) static let method: OpaquePointer? = {
        guard let method = unsafe BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "lent")
        else { return nil }
        unsafe BIO_meth_set_read(method) { bio, memory, count in
            unsafe readFromTransport(bio, memory, count)
        }
        unsafe BIO_meth_set_write(method) { bio, bytes, count in
            unsafe writeToTransport(bio, bytes, count)
        }
        unsafe BIO_meth_set_ctrl(method) { _, command, _, _ in
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
        return unsafe method
    }()

    /// A BIO over `transport`, which must outlive it.
    static func makeBIO(over transport: UnsafeMutablePointer<Transport>) -> OpaquePointer {
        guard let method = unsafe method, let bio = unsafe BIO_new(method) else {
            preconditionFailure("no memory for a BIO")
        }
        unsafe BIO_set_data(bio, transport)
        unsafe BIO_set_init(bio, 1)
        return unsafe bio
    }
}

/// What a read or a write says anew of whether to try again.
private let transientFlags =
    BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY

private func transport(of bio: OpaquePointer?) -> UnsafeMutablePointer<Transport>? {
    unsafe BIO_get_data(bio)?.assumingMemoryBound(to: Transport.self)
}

private func readFromTransport(
    _ bio: OpaquePointer?, _ memory: UnsafeMutablePointer<CChar>?, _ count: Int32
) -> Int32 {
    unsafe BIO_clear_flags(bio, transientFlags)
    guard let transport = unsafe transport(of: bio) else { return -1 }
    let n = unsafe transport.pointee.read(
        UnsafeMutableRawBufferPointer(start: memory, count: Int(count)))
    if n == 0 {
        unsafe BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
        return -1
    }
    return Int32(n)
}

private func writeToTransport(
    _ bio: OpaquePointer?, _ bytes: UnsafePointer<CChar>?, _ count: Int32
) -> Int32 {
    unsafe BIO_clear_flags(bio, transientFlags)
    guard let transport = unsafe transport(of: bio) else { return -1 }
    unsafe transport.pointee.write(
        Bytes(UnsafeRawBufferPointer(start: bytes, count: Int(count))))
    return count
}
