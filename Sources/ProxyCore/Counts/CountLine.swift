// Counts of one thing that has a name: a cluster, an endpoint, a route, a listener. A worker has a
// line for each thing of its configuration, and is the only one that writes to it: a load and a
// store, no locked instruction, and no memory that two workers write to. Who is asked adds the
// lines up.

import Synchronization

/// What is counted of things of one kind. The raw values go from 0 on, which is that of `requests`,
/// or what stands for it.
public protocol CountName: RawRepresentable<Int>, CaseIterable, Sendable {
    /// As `/stats` shows it, in snake case and without its kind.
    var name: String { get }
    /// How it goes up, or up and down.
    var form: CountForm { get }
    /// Where in a line the first of them is.
    static var first: Int { get }
}

extension CountName {
    public static var first: Int { StatusClass.places }

    /// Where in a line it is.
    @inline(__always)
    fileprivate var place: Int { Self.first + rawValue }
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

/// Words that one worker writes to, and anybody reads. A handle: copies mean the same words.
@safe
struct CountWords: BitwiseCopyable, @unchecked Sendable {
    // Safety: `count` initialized atomics until their owner deallocates them; whoever has a handle
    // keeps the owner, and asks for no place beyond.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    /// Zeros, in cache lines of their own.
    init(_ count: Int) {
        unsafe words = CacheLines.allocate((count + CacheLines.words - 1) / CacheLines.words)
    }

    func deallocate() { unsafe CacheLines.deallocate(words) }

    @inline(__always)
    subscript(place: Int) -> UInt64 { unsafe words[place].load(ordering: .relaxed) }

    /// One writer: a load and a store, not a locked instruction.
    @inline(__always)
    func add(at place: Int, _ amount: Int) {
        unsafe words[place].store(
            self[place] &+ UInt64(truncatingIfNeeded: amount), ordering: .relaxed)
    }

    @inline(__always)
    func set(at place: Int, _ value: Int) {
        unsafe words[place].store(UInt64(truncatingIfNeeded: value), ordering: .relaxed)
    }
}

/// The words of one thing in one worker: answers by the class of their status, what policies have
/// done where these act for it, then what has a name among things of its kind.
///
/// A line keeps its memory as long as anybody has it: who is asked goes on reading it while the
/// worker goes over to a configuration without the thing.
public final class CountLine: Sendable {
    fileprivate let words: CountWords
    private let count: Int
    private let first: Int

    init<Name: CountName>(_: Name.Type) {
        first = Name.first
        count = first + Name.allCases.count
        words = CountWords(count)
    }

    deinit { words.deallocate() }

    public subscript(name: some CountName) -> UInt64 {
        precondition(name.place < count, "a line has no such count")
        return words[name.place]
    }

    /// What each kind counts first: for listeners, requests held against a limit.
    public var requests: UInt64 { words[first] }

    /// Answers of the class.
    public subscript(statusClass: StatusClass) -> UInt64 { words[statusClass.rawValue] }

    /// Answers of all classes. Not counted by itself: it would say nothing else.
    public var completed: UInt64 { StatusClass.allCases.reduce(0) { $0 &+ self[$1] } }
}

/// A line as its worker writes to it. A handle: whoever keeps one keeps the `TrafficCounts` that
/// the line stands in, and gives it up before the line is.
struct CountHandle<Name: CountName>: BitwiseCopyable, Sendable {
    fileprivate let words: CountWords

    init(_ line: CountLine) { words = line.words }

    @inline(__always)
    func add(_ name: Name, _ amount: Int = 1) {
        words.add(at: name.place, amount)
    }

    @inline(__always)
    func add(_ statusClass: StatusClass) { words.add(at: statusClass.rawValue, 1) }

    /// For gauges and states.
    @inline(__always)
    func set(_ name: Name, _ value: Int) {
        words.set(at: name.place, value)
    }
}

extension CountHandle where Name: PolicyCounted {
    @inline(__always)
    func add(_ policy: PolicyCount) { words.add(at: policy.place, 1) }
}
