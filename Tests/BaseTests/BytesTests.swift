import Base
import Testing

@Suite struct BytesTests {
    @Test func viewsAndComparisons() {
        let bytes = Array("Hello, World".utf8)
        bytes.withBytes { view in
            #expect(view.count == 12)
            #expect(view[7..<12] == "World")
            #expect(!(view[7..<12] == "world"))
            #expect(view[7..<12].equalsIgnoringCase("world"))
            #expect(!view[7..<12].equalsIgnoringCase("worl"))
            #expect(view.firstIndex(of: UInt8(ascii: "o")) == 4)
            #expect(view.firstIndex(of: UInt8(ascii: "o"), from: 5) == 8)
            #expect(view.firstIndex(of: UInt8(ascii: "o"), from: 9) == nil)
            #expect(view.firstIndex(of: UInt8(ascii: "x"), from: 12) == nil)
            #expect(view[0..<5].text == "Hello")
        }
        let none: [UInt8] = []
        none.withBytes { #expect($0.count == 0 && $0 == "") }
    }

    @Test func wordsAreLittleEndianAtAnyOffset() {
        let bytes = (0..<20).map { UInt8($0) }
        for i in 0...12 {
            let expected = (0..<8).reduce(UInt64(0)) {
                $0 | UInt64(bytes[i + $1]) << UInt64(8 * $1)
            }
            #expect(bytes.withBytes { $0.word(at: i) } == expected)
        }
    }

    @Test func onlyLettersHaveACase() {
        for byte in UInt8.min...UInt8.max {
            let isUpper = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            #expect(asciiLowercase(byte) == (isUpper ? byte + 32 : byte))
        }
    }

    @Test func outOfBoundsIsCaught() async {
        await #expect(processExitsWith: .failure) { _ = [1, 2].withBytes { $0[2] } }
        await #expect(processExitsWith: .failure) { _ = [1, 2].withBytes { $0[1..<3].count } }
        await #expect(processExitsWith: .failure) { _ = [1, 2].withBytes { $0.word(at: 0) } }
    }
}

@Suite struct ByteWriterTests {
    private func write(_ capacity: Int, _ body: (inout ByteWriter) -> Void) -> ([UInt8], Bool) {
        var memory = [UInt8](repeating: 0xAA, count: capacity)
        let (count, overflowed) = unsafe memory.withUnsafeMutableBytes { raw in
            var writer = unsafe ByteWriter(raw)
            body(&writer)
            return (writer.count, writer.overflowed)
        }
        return (Array(memory[..<count]), overflowed)
    }

    @Test(arguments: [
        0, 1, 9, 10, 99, 100, 12345, UInt64(UInt32.max), UInt64.max, UInt64.max / 10,
    ])
    func decimals(_ value: UInt64) {
        let (bytes, overflowed) = write(20) { $0.append(decimal: value) }
        #expect(String(decoding: bytes, as: UTF8.self) == String(value))
        #expect(!overflowed)
    }

    @Test func hexadecimals() {
        let (bytes, _) = write(24) {
            $0.append(hex: 0xDEAD_BEEF, digits: 8)
            $0.append(hex: 0x1_2345, digits: 4)
            $0.append(hex: 1, digits: 12)
        }
        #expect(String(decoding: bytes, as: UTF8.self) == "deadbeef2345000000000001")
    }

    @Test func whatDoesNotFitIsRefusedWholeAndForGood() {
        let (bytes, overflowed) = write(4) {
            $0.append("abc")
            $0.append("de")
            $0.append(UInt8(ascii: "f"))
        }
        #expect(String(decoding: bytes, as: UTF8.self) == "abc")
        #expect(overflowed)
        let (whole, fits) = write(4) { $0.append("abcd") }
        #expect(whole.count == 4 && !fits)
    }

    @Test func aWriterGoesOnBehindWhatIsThere() {
        var memory = Array("ab....".utf8)
        let count = unsafe memory.withUnsafeMutableBytes { raw in
            var writer = unsafe ByteWriter(raw, count: 2)
            writer.append("é")
            return writer.count
        }
        #expect(String(decoding: memory[..<count], as: UTF8.self) == "abé")
    }

    /// Every byte at every place of a word and behind it, against each kind of letter.
    @Test func casesAreIgnoredOfLettersOnly() {
        for wanted in "az-19/: .".utf8 {
            for place in 0..<11 {
                var pattern = Array("keep-alive1".utf8)
                pattern[place] = wanted
                for byte in UInt8.min...UInt8.max {
                    var text = pattern
                    text[place] = byte
                    let same = asciiLowercase(byte) == wanted
                    let found = text.withBytes { text in
                        pattern.withBytes { text.equalsIgnoringCase($0) }
                    }
                    #expect(found == same, "\(byte) for \(wanted) at \(place)")
                }
            }
        }
    }

    /// As the standard library decides, for all that three bytes and the ends of four may be.
    @Test func textIsToldFromOtherBytes() {
        let edges: [UInt8] = [
            0, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
            0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ]
        for a in edges {
            for b in edges {
                for c in edges {
                    for rest in [[], [0x80], [0xBF], [0x41], [0xC2]] as [[UInt8]] {
                        let bytes = [a, b, c] + rest
                        for end in 0...bytes.count {
                            let text = Array(bytes[..<end])
                            let isText = String(validating: text, as: UTF8.self) != nil
                            #expect(text.withBytes { $0.isUTF8 } == isText, "\(text)")
                        }
                    }
                }
            }
        }
    }
}
