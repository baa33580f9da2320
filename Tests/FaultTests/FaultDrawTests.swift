import Base
import Fault
import Testing

@Suite struct FaultDrawTests {
    @Test func theHashIsTheDocumentedOne() {
        // From the authors' list of test vectors.
        #expect(fnv1a(Bytes("")) == 0xCBF2_9CE4_8422_2325)
        #expect(fnv1a(Bytes("a")) == 0xAF63_DC4C_8601_EC8C)
        #expect(fnv1a(Bytes("foobar")) == 0x8594_4171_F739_67E8)
    }
}
