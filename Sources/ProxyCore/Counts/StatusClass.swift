/// The class of an answer's status: the first of its three digits (RFC 9110, 15).
public enum StatusClass: Int, CaseIterable, Sendable {
    case informational
    case successful
    case redirection
    case clientError
    case serverError

    /// Places that counts of answers by class take.
    static let places = 5

    /// - Parameter status: above 599 it counts as 5xx.
    init(of status: Int) {
        self =
            switch status {
            case ..<200: .informational
            case ..<300: .successful
            case ..<400: .redirection
            case ..<500: .clientError
            default: .serverError
            }
    }

    /// As counters have it, such as `2xx`.
    public var name: String { "\(rawValue + 1)xx" }
}
