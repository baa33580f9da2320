/// Why a head or a body was refused. The text is for people; the status is what a server answers.
@frozen
public enum HeadError: UInt8, Error, CaseIterable, Sendable {
    case badRequestLine
    case badMethod
    case badTarget
    case targetTooLong
    case badVersion
    case unsupportedVersion
    case badStatusLine
    case bareCR
    case bareLF
    case foldedLine
    case badFieldName
    case spaceBeforeColon
    case badFieldValue
    case headTooLarge
    case tooManyFields
    case missingHost
    case severalHosts
    case badHost
    case conflictingHost
    case badContentLength
    case severalContentLengths
    case lengthAndTransferEncoding
    case badTransferEncoding
    case unknownTransferCoding
    case transferEncodingInHTTP10
    case badConnection
    case unknownExpectation
    case badChunkSize
    case chunkTooLarge
    case badChunkExtension
    case chunkExtensionsTooLong
    case badChunkEnd
    case badTrailer
    case trailersTooLarge

    /// The status a server answers with.
    public var status: Int {
        switch self {
        case .targetTooLong: 414
        case .headTooLarge, .tooManyFields, .trailersTooLarge: 431
        case .unsupportedVersion: 505
        case .unknownTransferCoding: 501
        case .unknownExpectation: 417
        default: 400
        }
    }

    /// What was wrong, in snake case, as access logs show it.
    public var detail: StaticString {
        switch self {
        case .badRequestLine: "bad_request_line"
        case .badMethod: "bad_method"
        case .badTarget: "bad_target"
        case .targetTooLong: "target_too_long"
        case .badVersion: "bad_version"
        case .unsupportedVersion: "unsupported_version"
        case .badStatusLine: "bad_status_line"
        case .bareCR: "bare_cr"
        case .bareLF: "bare_lf"
        case .foldedLine: "folded_line"
        case .badFieldName: "bad_field_name"
        case .spaceBeforeColon: "space_before_colon"
        case .badFieldValue: "bad_field_value"
        case .headTooLarge: "head_too_large"
        case .tooManyFields: "too_many_fields"
        case .missingHost: "missing_host"
        case .severalHosts: "several_hosts"
        case .badHost: "bad_host"
        case .conflictingHost: "conflicting_host"
        case .badContentLength: "bad_content_length"
        case .severalContentLengths: "several_content_lengths"
        case .lengthAndTransferEncoding: "length_and_transfer_encoding"
        case .badTransferEncoding: "bad_transfer_encoding"
        case .unknownTransferCoding: "unknown_transfer_coding"
        case .transferEncodingInHTTP10: "transfer_encoding_in_http_1_0"
        case .badConnection: "bad_connection"
        case .unknownExpectation: "unknown_expectation"
        case .badChunkSize: "bad_chunk_size"
        case .chunkTooLarge: "chunk_too_large"
        case .badChunkExtension: "bad_chunk_extension"
        case .chunkExtensionsTooLong: "chunk_extensions_too_long"
        case .badChunkEnd: "bad_chunk_end"
        case .badTrailer: "bad_trailer"
        case .trailersTooLarge: "trailers_too_large"
        }
    }
}
