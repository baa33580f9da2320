import Testing

@testable import ControlCore

@Suite struct SipHashTests {
    /// As OpenSSL says, of so many bytes 0, 1, 2 and so on: `openssl mac -macopt size:16 -macopt
    /// hexkey:000102030405060708090a0b0c0d0e0f -in FILE siphash`.
    @Test(
        arguments: [
            (0, "A3817F04BA25A8E66DF67214C7550293"), (1, "DA87C1D86B99AF44347659119B22FC45"),
            (8, "3B62A9BA6258F5610F83E264F31497B4"), (9, "264499060AD9BAABC47F8B02BB6D71ED"),
            (15, "5493E99933B0A8117E08EC0F97CFC3D9"), (64, "1EAF077DC0D4CD3F8CAD4D383658A74B"),
        ] as [(Int, String)])
    func hashesAsOthersDo(_ count: Int, _ expected: String) {
        var hash = SipHash(.init(low: 0x0706_0504_0302_0100, high: 0x0F0E_0D0C_0B0A_0908))
        for i in 0..<count { hash.append(UInt8(i)) }
        let digest = hash.digest()
        let text = [digest.low, digest.high].map { word in
            let digits = String(word.byteSwapped, radix: 16, uppercase: true)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        #expect(text.joined() == expected)
        #expect(hash.digest() == digest)
    }

    @Test func eachKeyHashesInItsOwnWay() {
        let digests = ([(0, 0), (1, 0), (0, 1)] as [(UInt64, UInt64)]).map { (low, high) in
            var hash = SipHash(.init(low: low, high: high))
            hash.append("value")
            return hash.digest()
        }
        #expect(Set(digests).count == 3)
    }
}
