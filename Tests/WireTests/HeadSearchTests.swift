import Base
import Support
import Testing

@testable import Wire

@Suite struct HeadSearchTests {
    /// Everything over a small alphabet: the search says "maybe" exactly where a naive look at all
    /// bytes finds an empty line or a bare LF that was not there before the last piece.
    @Test func agreesWithANaiveSearchOnEveryShortText() {
        let alphabet: [UInt8] = [13, 10, 0x61]
        for length in 0...7 {
            var count = 1
            for _ in 0..<length { count *= alphabet.count }
            for number in 0..<count {
                var rest = number
                let bytes = (0..<length).map { _ in
                    defer { rest /= alphabet.count }
                    return alphabet[rest % alphabet.count]
                }
                for cut in 0...length { expectAgreement(bytes, cut) }
            }
        }
    }

    private func expectAgreement(_ bytes: [UInt8], _ cut: Int) {
        var search = HeadSearch()
        let first = Array(bytes[..<cut]).withBytes { search.mayBeComplete($0) }
        #expect(first == naive(bytes[..<cut]), "\(visible(bytes)) up to \(cut)")
        guard !first else { return }
        #expect(search.position == cut)
        let second = bytes.withBytes { search.mayBeComplete($0) }
        #expect(second == naive(bytes[...]), "\(visible(bytes)) cut at \(cut)")
    }

    private func naive(_ bytes: ArraySlice<UInt8>) -> Bool {
        let bytes = Array(bytes)
        for i in bytes.indices where bytes[i] == 10 {
            if i == 0 || bytes[i - 1] != 13 { return true }
            if i >= 3, Array(bytes[i - 3...i]) == [13, 10, 13, 10] { return true }
        }
        return false
    }
}
