/// Why a stream or a connection ends (RFC 9113, 7).
@frozen
public enum HTTP2Code: UInt32, Sendable, CaseIterable {
    case noError = 0
    case protocolError = 1
    case internalError = 2
    case flowControlError = 3
    case settingsTimeout = 4
    case streamClosed = 5
    case frameSizeError = 6
    case refusedStream = 7
    case cancel = 8
    case compressionError = 9
    case connectError = 10
    case enhanceYourCalm = 11
    case inadequateSecurity = 12
    case http11Required = 13

    /// A code from the wire; one that RFC 9113 does not know counts as an internal error (7).
    public init(code: UInt32) { self = HTTP2Code(rawValue: code) ?? .internalError }
}

/// Why a connection cannot go on.
@frozen
public enum HTTP2Failure: Error, Equatable, Sendable {
    /// The client did not begin as HTTP/2 begins (RFC 9113, 3.4).
    case badPreface
    /// The peer makes more work than it lets be answered: acknowledgements pile up.
    case floodedWithAcknowledged
    /// A head goes on over too many frames.
    case tooManyContinuations
    /// Too many empty frames, or resets.
    case tooManyEmptyFrames
    case tooManyResets
    case headTooLarge
    /// Too many SETTINGS in one frame.
    case tooManySettings
    case noMemory
    /// Whatever else the library refuses to go on after.
    case broken
}
