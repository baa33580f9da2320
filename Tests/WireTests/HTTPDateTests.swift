import Base
import Testing
import Wire

@Suite struct HTTPDateTests {
    // What `date -u -R -d @N` prints, with GMT for +0000.
    @Test(arguments: [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
        (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ])
    func dates(time: Int64, text: String) {
        var memory = [UInt8](repeating: 0, count: 29)
        let (count, overflowed) = unsafe memory.withUnsafeMutableBytes { memory in
            var writer = unsafe ByteWriter(memory)
            writer.append(httpDate: time)
            return (writer.count, writer.overflowed)
        }
        #expect(count == 29 && !overflowed)
        #expect(String(decoding: memory, as: UTF8.self) == text)
    }
}
