/// Values that are known by a number while they are needed. Numbers are used again.
struct NumberedTable<Value> {
    private var values: [Value?] = []
    private var free: [Int32] = []

    /// How many there are.
    var count: Int { values.count - free.count }

    /// - Returns: its number, from 0.
    mutating func add(_ value: Value) -> Int32 {
        if let number = free.popLast() {
            values[Int(number)] = value
            return number
        }
        values.append(value)
        return Int32(values.count - 1)
    }

    mutating func remove(_ number: Int32) {
        values[Int(number)] = nil
        free.append(number)
    }

    /// nil: it has been removed.
    subscript(number: Int32) -> Value? { values[Int(number)] }
}
