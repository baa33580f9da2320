// A misspelt word is answered with the word that was probably meant. Everything here is for error
// messages: candidates are few and short, so the textbook algorithm is fast enough.

/// The candidate nearest to `word`, or nil where none is near enough to be what was meant.
///
/// Near enough: a distance of at most a third of the longer word, and at least one edit is always
/// forgiven in words of three letters or more. The first of equals wins.
public func nearest(to word: String, in candidates: some Sequence<String>) -> String? {
    // Bound: words longer than any key of ours are not misspellings of one.
    guard word.unicodeScalars.count <= 64 else { return nil }
    let typed = Array(word.lowercased().unicodeScalars)
    var best: (word: String, distance: Int)?
    for candidate in candidates {
        let meant = Array(candidate.lowercased().unicodeScalars)
        let distance = editDistance(typed, meant)
        guard distance <= max(typed.count, meant.count) / 3 else { continue }
        if best.map({ distance < $0.distance }) ?? true { best = (candidate, distance) }
    }
    return best?.word
}

/// `; did you mean 'x'?`, or nothing.
public func suggestion(for word: String, in candidates: some Sequence<String>) -> String {
    nearest(to: word, in: candidates).map { "; did you mean '\($0)'?" } ?? ""
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other.
///
/// Source: the optimal string alignment distance (Damerau 1964; Wagner and Fischer 1974).
func editDistance<Symbol: Equatable>(_ a: [Symbol], _ b: [Symbol]) -> Int {
    var older = [Int](repeating: 0, count: b.count + 1)
    var previous = Array(0...b.count)
    var current = previous
    for i in a.indices {
        current[0] = i + 1
        for j in b.indices {
            let substitution = previous[j] + (a[i] == b[j] ? 0 : 1)
            var least = min(substitution, previous[j + 1] + 1, current[j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                least = min(least, older[j - 1] + 1)
            }
            current[j + 1] = least
        }
        (older, previous, current) = (previous, current, older)
    }
    return previous[b.count]
}
