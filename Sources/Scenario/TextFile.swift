import Glibc

/// The text of a file of at most `most` bytes.
/// - Throws: `ScenarioError.unreadable`.
func readText(
    _ path: String, most: Int = Limits.fileBytes
) throws(ScenarioError) -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .unreadable(file: path, reason: lastError()) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
        let count = unsafe chunk.withUnsafeMutableBytes {
            unsafe read(descriptor, $0.baseAddress, $0.count)
        }
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw .unreadable(file: path, reason: lastError()) }
        guard count > 0 else { break }
        bytes += chunk[..<count]
        guard bytes.count <= most else {
            throw .unreadable(file: path, reason: "larger than \(most) bytes")
        }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw .unreadable(file: path, reason: "not a text in UTF-8")
    }
    return text
}

private func lastError() -> String {
    unsafe String(cString: strerror(errno))
}
