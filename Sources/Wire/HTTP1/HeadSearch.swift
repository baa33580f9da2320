public import Base

/// Looks for the end of a head that comes in pieces, each byte once.
///
/// Use: when `Head.parse…` says `incomplete`, remember `position`; when more bytes have come, parse
/// again only if `mayBeComplete` says so. Anything that only looks like an end, such as a bare LF,
/// also says so: the parser then refuses it at once instead of waiting for more.
public struct HeadSearch: Sendable, BitwiseCopyable {
    /// Bytes already searched.
    public private(set) var position: Int

    public init() { position = 0 }

    /// Whether parsing again can tell more, now that `bytes` is all there is.
    public mutating func mayBeComplete(_ bytes: Bytes) -> Bool {
        var i = position
        position = bytes.count
        while let lf = bytes.firstIndex(of: Ascii.lf, from: min(i, bytes.count)) {
            if lf == 0 || bytes[lf - 1] != Ascii.cr { return true }
            if lf >= 3, bytes[lf - 2] == Ascii.lf, bytes[lf - 3] == Ascii.cr { return true }
            i = lf + 1
        }
        return false
    }
}
