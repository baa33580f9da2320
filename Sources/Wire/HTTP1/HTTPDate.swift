public import Base

extension ByteWriter {
    /// Appends a time in the form of the `date` field, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110,
    /// 5.6.7).
    ///
    /// The calendar is computed as in Hinnant, "chrono-compatible low-level date algorithms",
    /// `civil_from_days`: years begin in March, so that the leap day is their last.
    /// - Parameter time: seconds since 1970, 0 or more, before the year 10000.
    public mutating func append(httpDate time: Int64) {
        precondition(time >= 0 && time < 253_402_300_800, "a date outside 1970 to 9999")
        let days = Int(time / 86_400)
        let second = Int(time % 86_400)
        let shifted = days + 719_468  // From the first of March of the year 0.
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let year = yearOfEra + era * 400 + (month >= 10 ? 1 : 0)

        append(name: (days + 4) % 7, of: "SunMonTueWedThuFriSat")  // 1970 began on a Thursday.
        append(", ")
        append(two: day)
        append(" ")
        append(name: month, of: "MarAprMayJunJulAugSepOctNovDecJanFeb")
        append(" ")
        append(two: year / 100)
        append(two: year % 100)
        append(" ")
        append(two: second / 3600)
        append(":")
        append(two: second / 60 % 60)
        append(":")
        append(two: second % 60)
        append(" GMT")
    }

    private mutating func append(name index: Int, of names: StaticString) {
        append(Bytes(names)[3 * index..<3 * index + 3])
    }

    private mutating func append(two value: Int) {
        append(UInt8(ascii: "0") + UInt8(value / 10))
        append(UInt8(ascii: "0") + UInt8(value % 10))
    }
}
