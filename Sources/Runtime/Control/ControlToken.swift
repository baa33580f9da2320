import Glibc
import Posix

/// A token that cannot be used, or not be made.
public struct ControlTokenError: Error, Equatable, Sendable, CustomStringConvertible {
    public var file: String
    public var reason: String

    public var description: String { "\(file): \(reason)" }
}

/// What clients show to prove that they may read and change the mesh.
struct ControlToken: Sendable {
    private let bytes: [UInt8]

    static let fileName = "token"
    /// What a token of somebody's own may have; 32 random bytes in hexadecimal have 64.
    private static let length = 32...256

    /// - Precondition: for tests; any text.
    init(_ text: String) { bytes = Array(text.utf8) }

    /// The token of a folder, which is made where there is none.
    init(folder: String, file: String = ControlToken.fileName) throws(ControlTokenError) {
        if let found = try Self.found(folder: folder, file: file) {
            self = found
        } else {
            self = Self.random()
            try write(folder: folder, file: file)
        }
    }

    /// One that others have made; nil: it is none.
    init?(shared bytes: [UInt8]) {
        guard Self.isToken(bytes) else { return nil }
        self.bytes = bytes
    }

    /// 32 random bytes, in hexadecimal.
    static func random() -> ControlToken {
        var random = SystemRandomNumberGenerator()
        let digits = Array("0123456789abcdef")
        return ControlToken(
            String((0..<64).map { _ in digits[Int.random(in: 0..<16, using: &random)] }))
    }

    /// The token of a folder; nil: there is none.
    static func found(
        folder: String, file: String = ControlToken.fileName
    ) throws(ControlTokenError) -> ControlToken? {
        guard let bytes = try read("\(folder)/\(file)") else { return nil }
        return ControlToken(shared: bytes)
    }

    /// Keeps it in a folder.
    func write(
        folder: String, file: String = ControlToken.fileName
    ) throws(ControlTokenError) {
        try Self.write(bytes + [UInt8(ascii: "\n")], "\(folder)/\(file)")
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    private static func isToken(_ text: [UInt8]) -> Bool {
        length.contains(text.count) && text.allSatisfy { (0x21...0x7E).contains($0) }
    }

    /// Whether it is the text; how long that takes does not depend on where they differ.
    func matches(_ text: String) -> Bool {
        let other = Array(text.utf8)
        guard other.count == bytes.count else { return false }
        var difference: UInt8 = 0
        for index in bytes.indices { difference |= bytes[index] ^ other[index] }
        return difference == 0
    }

    private static func read(_ path: String) throws(ControlTokenError) -> [UInt8]? {
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard number >= 0 else {
            if errno == ENOENT { return nil }
            throw failure(path)
        }
        let file = Descriptor(owning: number)
        var status = stat()
        guard unsafe fstat(file.number, &status) == 0 else { throw failure(path) }
        guard status.st_mode & 0o077 == 0 else {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw ControlTokenError(
                file: path, reason: "others may read it (mode \(mode)); chmod 600")
        }
        var text = [UInt8](repeating: 0, count: length.upperBound + 2)
        let count = unsafe Glibc.read(file.number, &text, text.count)
        guard count >= 0 else { throw failure(path) }
        text.removeLast(text.count - count)
        if text.last == UInt8(ascii: "\n") { text.removeLast() }
        guard isToken(text) else {
            throw ControlTokenError(
                file: path,
                reason: "no token: one line of \(length.lowerBound) to \(length.upperBound) "
                    + "visible characters; without the file a new one is made")
        }
        return text
    }

    /// Under another name first, so that nobody finds half of it.
    private static func write(_ bytes: [UInt8], _ path: String) throws(ControlTokenError) {
        let unfinished = path + ".tmp"
        let number = unsafe open(
            unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw failure(unfinished) }
        let file = Descriptor(owning: number)
        // One that was there already may be open to others.
        guard fchmod(file.number, 0o600) == 0 else { throw failure(unfinished) }
        let count = unsafe Glibc.write(file.number, bytes, bytes.count)
        guard count == bytes.count, fsync(file.number) == 0,
            unsafe rename(unfinished, path) == 0
        else { throw failure(path) }
    }

    private static func failure(_ path: String) -> ControlTokenError {
        ControlTokenError(file: path, reason: unsafe String(cString: strerror(errno)))
    }
}
