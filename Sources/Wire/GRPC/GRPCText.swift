// The field `grpc-message`: text in which what is not plain ASCII, and `%`, is percent-encoded
// (grpc/doc/PROTOCOL-HTTP2.md, "Responses").

public import Base

/// Text for people, on its way in a field.
public enum GRPCText {
    /// Appends `text`, in UTF-8, as a field may hold it: at most three bytes for each.
    public static func write(_ text: Bytes, to out: inout ByteWriter) {
        for index in 0..<text.count {
            let byte = text[index]
            if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "%") {
                out.append(byte)
            } else {
                out.append(UInt8(ascii: "%"))
                out.append(upper(byte >> 4))
                out.append(upper(byte & 15))
            }
        }
    }

    /// The text that a field holds. A `%` that no two hexadecimal digits follow stands for itself:
    /// a reader may not make an error of a bad message.
    public static func decode(_ field: Bytes) -> [UInt8] {
        var text: [UInt8] = []
        var index = 0
        while index < field.count {
            if field[index] == UInt8(ascii: "%"), index + 2 < field.count,
                let high = hexDigit(field[index + 1]), let low = hexDigit(field[index + 2])
            {
                text.append(high << 4 | low)
                index += 3
            } else {
                text.append(field[index])
                index += 1
            }
        }
        return text
    }

    private static func upper(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? 0x30 + nibble : 0x37 + nibble
    }
}
