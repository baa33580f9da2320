import Base

/// Two counts over a window of time that moves by `parts` parts of it: of requests, and of those
/// that are marked, such as the ones that succeeded or were retries.
struct SlidingCounts<let parts: Int>: BitwiseCopyable {
    private(set) var requests = 0
    private(set) var marked = 0
    private var requestsByPart: InlineArray<parts, Int32> = .init(repeating: 0)
    private var markedByPart: InlineArray<parts, Int32> = .init(repeating: 0)
    /// Nanoseconds.
    private let part: Int64
    /// The part that is filled now, counted from the beginning of time.
    private var current: Int64 = 0

    /// - Parameter window: as a whole.
    init(_ window: Duration) { part = max(window.nanoseconds / Int64(parts), 1) }

    private var place: Int { Int(current % Int64(parts)) }

    /// Counts in the part that `advance` has come to.
    mutating func addRequest() {
        requestsByPart[place] &+= 1
        requests += 1
    }

    mutating func addMarked() {
        markedByPart[place] &+= 1
        marked += 1
    }

    /// Takes back the mark that was set last, if the window still has it. Bound: `parts` steps.
    mutating func removeMarked() {
        for i in 0..<min(Int64(parts), current + 1) {
            let part = Int((current - i) % Int64(parts))
            guard markedByPart[part] > 0 else { continue }
            markedByPart[part] -= 1
            marked -= 1
            return
        }
    }

    /// Forgets what is a window ago. Bound: `parts` steps.
    mutating func advance(_ now: Instant) {
        let index = now.nanoseconds / part
        guard index > current else { return }
        for i in 0..<min(index - current, Int64(parts)) {
            let old = Int((index - i) % Int64(parts))
            requests -= Int(requestsByPart[old])
            marked -= Int(markedByPart[old])
            requestsByPart[old] = 0
            markedByPart[old] = 0
        }
        current = index
    }
}
