// Pipes through which bodies pass from socket to socket, lent to one connection at a time.

import Base
import Posix

/// The pipes of one worker.
struct PipePool {
    /// Bytes that one pipe takes. Bound: what is on its way for one body.
    static let size = 256 * 1024
    /// Bound: two descriptors each; bodies beyond that are copied.
    static let most = 64
    private let limit: Int

    private var pipes: [TransferPipe] = []
    /// Which of the pipes each connection has, from 1; 0: none. Zeroed, so that only what is used
    /// of the table takes memory.
    private let lent: Slab<Int32>
    private var spare: [Int32] = []

    /// - Parameter limit: how many pipes there may be, `most` at most.
    init(slots: Int, limit: Int) {
        self.limit = limit
        lent = Slab(zeroed: slots)
    }

    func deallocate() {
        for pipe in pipes where pipe.isOpen { pipe.close() }
        lent.deallocate()
    }

    /// The pipe of a connection, from its first use to `give`; nil: there is none to be had.
    mutating func take(for slot: Int) -> TransferPipe? {
        if lent[slot] > 0 { return pipes[Int(lent[slot]) - 1] }
        guard let number = spare.popLast() ?? add() else { return nil }
        if !pipes[Int(number) - 1].isOpen {
            guard let pipe = TransferPipe(size: Self.size) else {
                spare.append(number)
                return nil
            }
            pipes[Int(number) - 1] = pipe
        }
        lent[slot] = number
        return pipes[Int(number) - 1]
    }

    private mutating func add() -> Int32? {
        guard pipes.count < limit else { return nil }
        pipes.append(TransferPipe())
        return Int32(pipes.count)
    }

    /// Takes a connection's pipe back. One that may not be empty is closed: its bytes belong to no
    /// other.
    mutating func give(of slot: Int, isEmpty: Bool) {
        let number = lent[slot]
        guard number > 0 else { return }
        if !isEmpty {
            pipes[Int(number) - 1].close()
            pipes[Int(number) - 1] = TransferPipe()
        }
        spare.append(number)
        lent[slot] = 0
    }
}
