import Base
import Glibc

/// Memory that a worker lends to all its sessions, one call at a time: what was read from a socket,
/// and what is to be sent. Touched only once a connection is secured.
@safe
final class TLSScratch {
    // Safety: both are owned from `init` to `deinit`.
    let input: UnsafeMutableRawBufferPointer
    let output: UnsafeMutableRawBufferPointer

    /// What one read takes at most: as much as one of the proxy's buffers.
    private static let inputBytes = 64 * 1024
    /// What one send offers at most: four records, with their heads and tags. Bound: so much is
    /// held of a connection whose peer does not read.
    private static let outputBytes = 4 * (16 * 1024 + 256)

    init() {
        unsafe input = .allocate(byteCount: Self.inputBytes, alignment: 64)
        unsafe output = .allocate(byteCount: Self.outputBytes, alignment: 64)
    }

    deinit {
        unsafe input.deallocate()
        unsafe output.deallocate()
    }

    /// The first bytes of the input.
    func inputBytes(_ count: Int) -> Bytes {
        unsafe Bytes(UnsafeRawBufferPointer(rebasing: input[..<count]))
    }

    /// A range of the output.
    func outputBytes(_ range: Range<Int>) -> Bytes {
        unsafe Bytes(UnsafeRawBufferPointer(rebasing: output[range]))
    }
}
