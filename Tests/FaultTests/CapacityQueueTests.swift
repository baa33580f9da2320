import Base
import Fault
import Model
import Testing

@Suite struct CapacityQueueTests {
    /// Every course of five steps, from each of which one may come, be done, or give up waiting,
    /// held against a list.
    @Test(arguments: [(1, 0), (1, 2), (2, 1), (3, 3)])
    func allCourses(concurrency: Int, queue: Int) {
        let capacity = AppCapacity(concurrency: concurrency, queue: queue)
        func walk(_ place: CapacityQueue<Int>, _ model: Model, _ depth: Int) {
            #expect(place.served == model.served && place.waiting == model.line.count)
            #expect(place.served <= concurrency && place.waiting <= queue)
            // Whoever waits, waits for a place that is taken.
            #expect(place.waiting == 0 || place.served == concurrency)
            guard depth > 0 else { return }
            var (next, twin) = (place, model)
            let ticket = model.nextTicket
            let entries = [next.enter(ticket), twin.enter(concurrency, queue)]
            #expect(entries[0] == entries[1])
            walk(next, twin, depth - 1)
            if model.served > 0 {
                (next, twin) = (place, model)
                let called = [next.leave(), twin.leave()]
                #expect(called[0] == called[1])
                walk(next, twin, depth - 1)
            }
            for index in model.line.indices {
                (next, twin) = (place, model)
                let gone = twin.line.remove(at: index)
                let left = [next.leave(queue: gone), next.leave(queue: gone)]
                #expect(left == [true, false])
                walk(next, twin, depth - 1)
            }
        }
        walk(CapacityQueue(capacity), Model(), 7)
    }

    private struct Model {
        var served = 0
        var line: [Int] = []
        var nextTicket = 0

        mutating func enter(_ concurrency: Int, _ queue: Int) -> CapacityQueue<Int>.Entry {
            nextTicket += 1
            if served < concurrency {
                served += 1
                return .served
            }
            guard line.count < queue else { return .refused }
            line.append(nextTicket - 1)
            return .waits
        }

        /// First come, first served.
        mutating func leave() -> Int? {
            guard !line.isEmpty else {
                served -= 1
                return nil
            }
            return line.removeFirst()
        }
    }

    @Test func lessRoomWaitsUntilEnoughHaveGone() {
        var place = CapacityQueue<Int>(AppCapacity(concurrency: 3, queue: 5))
        for i in 0..<5 { _ = place.enter(i) }
        place.change(AppCapacity(concurrency: 1, queue: 0))
        let called = [place.leave(), place.leave(), place.leave()]
        #expect(called == [nil, nil, 3] && place.served == 1)
        let entry = place.enter(9)
        #expect(entry == .refused && place.refused == 1)
    }

    @Test func moreRoomLetsThoseInWhoWait() {
        var place = CapacityQueue<Int>(AppCapacity(concurrency: 1, queue: 5))
        for i in 0..<4 { _ = place.enter(i) }
        place.change(nil)
        let called = (0..<4).map { _ in place.next() }
        #expect(called == [1, 2, 3, nil])
        let entry = place.enter(4)
        #expect(entry == .served && place.mostServed == 5 && place.mostWaiting == 3)
    }

    @Test func aLongLineKeepsItsOrder() {
        var place = CapacityQueue<Int>(AppCapacity(concurrency: 1, queue: 1000))
        var random = SeededRandom(seed: 3)
        var (came, went) = (1, 1)
        _ = place.enter(0)
        for _ in 0..<20_000 {
            if random.below(2) == 0, place.waiting < 1000 {
                _ = place.enter(came)
                came += 1
            } else if place.waiting > 0 {
                let called = place.leave()
                #expect(called == went)
                went += 1
            }
        }
    }
}
