import Base
import Support
import Testing

@Suite struct BufferPoolTests {
    @Test func buffersAreBoundedAndReused() {
        let pool = BufferPool(size: 4096, limit: 3)
        let taken = (0..<3).compactMap { _ in pool.take() }
        #expect(taken == [0, 1, 2])
        #expect(pool.take() == nil)
        #expect(pool.inUse == 3)
        pool.give(1)
        #expect(pool.take() == 1)
        for buffer in taken { pool.give(buffer) }
        #expect(pool.inUse == 0)
        pool.checkInvariants(held: [])
    }

    @Test func trimmedBuffersAreEmptyAndOthersAreKept() {
        let pool = BufferPool(size: 4096, limit: 8)
        let taken = (0..<8).compactMap { _ in pool.take() }
        for buffer in taken { fill(pool, buffer, 7) }
        for buffer in taken.reversed() { pool.give(buffer) }
        // Everything was needed since the last call; nothing since this one.
        pool.trim(spare: 2)
        #expect(taken.allSatisfy { first(pool, $0) == 7 })
        pool.trim(spare: 2)
        #expect(taken.map { first(pool, $0) }.sorted() == [0, 0, 0, 0, 0, 0, 7, 7])
    }

    /// Takes, gives and trims at random; what is written in a buffer stays while it is out.
    @Test func fuzzPoolKeepsWhatIsOut() {
        let budget = FuzzBudget.current(seed: 6, steps: 3000)
        var random = SeededRandom(seed: budget.seed)
        let pool = BufferPool(size: 4096, limit: 32)
        var out: [Int32] = []
        for step in 0..<budget.steps {
            switch random.below(8) {
            case 0...3:
                if let buffer = pool.take() {
                    fill(pool, buffer, UInt8(buffer + 1))
                    out.append(buffer)
                } else {
                    #expect(out.count == 32)
                }
            case 4...6: if !out.isEmpty { pool.give(out.remove(at: random.below(out.count))) }
            default: pool.trim(spare: random.below(8))
            }
            pool.checkInvariants(held: out)
            let kept = out.allSatisfy { first(pool, $0) == UInt8($0 + 1) }
            if !kept {
                Issue.record("step \(step): a buffer changed\n\(budget.rerun("fuzzPool"))")
                return
            }
        }
    }

    private func fill(_ pool: BufferPool, _ buffer: Int32, _ byte: UInt8) {
        unsafe pool.memory(buffer)[0] = byte
    }

    private func first(_ pool: BufferPool, _ buffer: Int32) -> UInt8 { pool.bytes(buffer, 0..<1)[0] }

    @Test func misuseIsCaught() async {
        await #expect(processExitsWith: .failure) {
            let pool = BufferPool(size: 4096, limit: 2)
            pool.give(0)
        }
        await #expect(processExitsWith: .failure) {
            _ = BufferPool(size: 4096, limit: 2).bytes(2, 0..<1).count
        }
        await #expect(processExitsWith: .failure) { _ = BufferPool(size: 1000, limit: 2).limit }
    }
}

@Suite struct DeadlineHeapTests {
    private func at(_ n: Int) -> Instant { Instant(nanoseconds: Int64(n)) }

    @Test func earliestFirst() {
        var heap = DeadlineHeap(capacity: 8)
        #expect(heap.earliest == nil)
        for (id, deadline) in [(0, 50), (1, 20), (2, 70), (3, 10), (1, 60)] {
            heap.set(id, at: at(deadline))
        }
        #expect(heap.count == 4)
        #expect(heap.earliest == at(10))
        #expect(heap.deadline(of: 1) == at(60))
        #expect(heap.deadline(of: 7) == nil)
        heap.clear(3)
        heap.clear(7)
        #expect(heap.popExpired(at(49)) == nil)
        #expect(heap.popExpired(at(50)) == 0)
        #expect(heap.popExpired(at(100)) == 1)
        #expect(heap.popExpired(at(100)) == 2)
        #expect(heap.popExpired(at(100)) == nil)
    }

    /// Against a dictionary that is searched.
    @Test func fuzzHeapAgreesWithADictionary() {
        let budget = FuzzBudget.current(seed: 7, steps: 4000)
        var random = SeededRandom(seed: budget.seed)
        var heap = DeadlineHeap(capacity: 64)
        var model: [Int: Int] = [:]
        for step in 0..<budget.steps {
            let id = random.below(64)
            switch random.below(5) {
            case 0...2:
                let deadline = random.below(1000)
                heap.set(id, at: at(deadline))
                model[id] = deadline
            case 3:
                heap.clear(id)
                model[id] = nil
            default:
                let now = random.below(1000)
                let popped = heap.popExpired(at(now))
                let least = model.values.min() ?? .max
                let fits = popped.map { model[$0] == least && least <= now } ?? (least > now)
                if !fits {
                    Issue.record("step \(step): \(popped ?? -1)\n\(budget.rerun("fuzzHeap"))")
                    return
                }
                if let popped { model[popped] = nil }
            }
            heap.checkInvariants()
            let earliest = model.values.min().map { at($0) }
            if heap.count != model.count || heap.earliest != earliest {
                Issue.record("step \(step): another heap\n\(budget.rerun("fuzzHeap"))")
                return
            }
        }
    }
}

@Suite struct SlabTests {
    @Test func elementsStayWhereTheyAre() {
        let slab = Slab(count: 4, repeating: 7)
        let alias = slab
        slab[2] = 9
        #expect((0..<4).map { alias[$0] } == [7, 7, 9, 7])
        slab.deallocate()
        let zeros = Slab<UInt64>(zeroed: 1000)
        #expect((0..<1000).allSatisfy { zeros[$0] == 0 })
        zeros.deallocate()
    }

    @Test func outOfBoundsIsCaught() async {
        await #expect(processExitsWith: .failure) { Slab(count: 1, repeating: 0)[1] = 2 }
        await #expect(processExitsWith: .failure) { _ = Slab(count: 1, repeating: 0)[-1] }
    }
}
