// Counts of one thing that has a name: a cluster, an endpoint, a route. A worker has a line for
// each thing of its configuration, and is the only one that writes to it: a load and a store, no
// locked instruction, and no memory that two workers write to. Who is asked adds the lines up.

import Synchronization

/// What is counted of things of one kind. The raw values are the places in a line, from 0 on.
public protocol CountName: RawRepresentable<Int>, CaseIterable, Sendable {
    /// As `/stats` shows it, in snake case and without its kind.
    var name: String { get }
    /// How it goes up, or up and down.
    var form: CountForm { get }
}

/// What a count is.
public enum CountForm: Sendable {
    /// It only goes up; the workers' add up.
    case counter
    /// How many there are now; the workers' add up.
    case gauge
    /// A state that all workers are told alike.
    case state
}

/// The words of one thing in one worker.
///
/// A line keeps its memory as long as anybody has it: who is asked goes on reading it while the
/// worker goes over to a configuration without the thing.
@safe
public final class CountLine: Sendable {
    // Safety: `words` lives as long as this object and every index is below `count`; the words are
    // atomics. `nonisolated(unsafe)` because a pointer is not Sendable by itself.
    fileprivate nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let count: Int

    init(_ count: Int) {
        self.count = count
        // Of a cache line of its own, so that no other thread's writing slows it down.
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: count * MemoryLayout<Atomic<UInt64>>.stride, alignment: 64)
        unsafe words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        for i in 0..<count { unsafe (words + i).initialize(to: Atomic(0)) }
    }

    deinit { unsafe UnsafeMutableRawPointer(words).deallocate() }

    public subscript(place: Int) -> UInt64 {
        precondition(place < count, "a line has no such count")
        return unsafe words[place].load(ordering: .relaxed)
    }
}

/// A line as its worker writes to it. A handle: whoever keeps one keeps the `TrafficCounts` that
/// the line stands in.
@safe
struct CountHandle<Name: CountName>: BitwiseCopyable, @unchecked Sendable {
    // Safety: the words of a line with a place for each case of `Name`, which lives as long as it
    // stands in its worker's `TrafficCounts`; a handle is given up before its line is.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init(_ line: CountLine) { unsafe words = line.words }

    @inline(__always)
    func add(_ name: Name, _ amount: Int = 1) {
        let old = unsafe words[name.rawValue].load(ordering: .relaxed)
        unsafe words[name.rawValue].store(
            old &+ UInt64(truncatingIfNeeded: amount), ordering: .relaxed)
    }

    /// For gauges and states.
    @inline(__always)
    func set(_ name: Name, _ value: Int) {
        unsafe words[name.rawValue].store(UInt64(truncatingIfNeeded: value), ordering: .relaxed)
    }
}
