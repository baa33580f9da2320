import Base

/// The bytes of a job's requests, one message for each target, which all threads send.
@safe
public final class LoadMessages: @unchecked Sendable {
    // Safety: written here, only read afterwards, freed in `deinit`; whoever lends a view of it
    // keeps the object.
    private let memory: UnsafeMutableRawBufferPointer
    private let ends: [Int]

    // Bound: `LoadLimits.bodies` and a head for each target.
    /// - Precondition: `job.validate()` passed.
    public init(_ job: LoadJob) {
        let messages = job.targets.map { job.requestBytes(for: $0) }
        unsafe memory = .allocate(
            byteCount: messages.reduce(0) { $0 + $1.count }, alignment: 64)
        var end = 0
        ends = unsafe messages.map { [memory] message in
            unsafe UnsafeMutableRawBufferPointer(rebasing: memory[end...]).copyBytes(from: message)
            end += message.count
            return end
        }
    }

    deinit { unsafe memory.deallocate() }

    /// The message to a target; valid as long as this object.
    subscript(target: Int) -> Bytes {
        let start = target == 0 ? 0 : ends[target - 1]
        return unsafe Bytes(UnsafeRawBufferPointer(rebasing: memory[start..<ends[target]]))
    }
}
