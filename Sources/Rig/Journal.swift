import Base
import FoundationEssentials
import Glibc
import Posix

/// Every action of a run, one JSON object a line, written when it happens.
///
/// `at_ns` is CLOCK_MONOTONIC, the time line of all instants in the results; `wall` is for people.
final class Journal {
    private struct Entry: Encodable {
        var instant: Int64
        var wall: String
        var action: String
        var facts: [String: String]

        enum CodingKeys: String, CodingKey {
            case instant = "at_ns"
            case wall, action, facts
        }
    }

    private let file: Int32
    private let encoder = JSONEncoder()

    init(path: String) throws(RigError) {
        file = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw RigError(.file, "\(SystemError("open \(path)"))") }
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    }

    deinit { close(file) }

    /// Notes that something happens, or has just happened. What cannot be written is lost: the run
    /// is worth more.
    /// - Parameter instant: when; nil: now.
    func note(
        _ action: String, _ facts: KeyValuePairs<String, String> = [:], at instant: Instant? = nil
    ) {
        let now = Clock.now()
        let instant = instant ?? now
        let wall = Clock.wallNanoseconds() - (now - instant).nanoseconds
        let entry = Entry(
            instant: instant.nanoseconds, wall: isoTime(wall),
            action: action,
            facts: Dictionary(facts.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 }))
        guard var line = try? [UInt8](encoder.encode(entry)) else { return }
        line.append(UInt8(ascii: "\n"))
        _ = unsafe line.withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
    }
}
