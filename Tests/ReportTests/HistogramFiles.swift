import Glibc

/// Something that a test needs and did not get.
struct Missing: Error, CustomStringConvertible {
    let description: String
}

/// The path of a file beside this package's histogram fixtures.
func fixture(_ name: String) -> String {
    let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    return "/\(tests)/Fixtures/histograms/\(name)"
}

func textOfFile(_ path: String) throws -> String {
    guard let file = unsafe fopen(path, "r") else { throw Missing(description: "no file \(path)") }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe fread(&chunk, 1, chunk.count, file)
        if count == 0 { break }
        bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// A directory of a test's own, for files that another program is to read.
struct ScratchDirectory {
    private let root: String

    init() throws {
        let parent = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/meshbench-histograms-XXXXXX".utf8CString)
        if unsafe mkdtemp(&template) == nil { throw Missing(description: "mkdtemp in \(parent)") }
        root = String(
            decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    func write(_ text: String, to name: String) throws {
        guard let file = unsafe fopen(path(name), "w") else {
            throw Missing(description: "cannot write \(path(name))")
        }
        let bytes = Array(text.utf8)
        let written = unsafe fwrite(bytes, 1, bytes.count, file)
        let closed = unsafe fclose(file)
        if written != bytes.count || closed != 0 {
            throw Missing(description: "cannot write \(path(name))")
        }
    }

    /// Removes the files that tests write, and the directory.
    func remove() {
        for name in ["swift.hlog", "swift.hgrm", "python.hlog"] { unsafe unlink(path(name)) }
        unsafe rmdir(root)
    }
}
