// What routes do with requests and answers beside where they send them, compiled: rewritten paths
// and hosts, changes to fields, redirects and answers from here.
//
// Changes to fields are of three places: a share, its route and the proxy as a whole, made in this
// order (Envoy's). What they come to is worked out here, so that a head is written in one pass:
// names that are left out of what came, and fields that are added behind it.

import Base
import Model
import Wire

/// Compiled actions of all routes. Built once for each configuration, then only read, by one
/// thread: a path is rewritten in memory of its own.
struct RouteActions: ~Copyable {
    /// What becomes of the fields of a head.
    struct Edit: BitwiseCopyable {
        /// Places in `drops` and `adds`.
        var drops = PatternRange(0, 0)
        var adds = PatternRange(0, 0)
        /// Bytes that it adds to a head.
        var growth: Int32 = 0

        var isEmpty: Bool { drops.isEmpty && adds.isEmpty }
    }

    /// Both of a share.
    struct Edits: BitwiseCopyable {
        var request = Edit()
        var answer = Edit()
    }

    struct AddedField: BitwiseCopyable {
        var name: PatternText
        var value: PatternText
        /// It stands in place of what else says what a body is.
        var isContentType: Bool
    }

    struct Rewrite: BitwiseCopyable {
        enum Kind: UInt8, BitwiseCopyable {
            case none
            case prefix
            case path
            case regex
        }

        var kind = Kind.none
        var text = PatternText(start: 0, count: 0)
        /// Of `prefix`: bytes that are replaced; all, where the route asks for a whole path.
        var replaced: Int32 = 0
        var regex: Int32 = -1
        /// Of `regex`: places in `parts`.
        var parts = PatternRange(0, 0)
    }

    /// A piece of a substitution: a text, or the group of a number.
    struct Part: BitwiseCopyable {
        var text: PatternText
        var group: Int8
    }

    struct RedirectTo: BitwiseCopyable {
        var scheme = PatternText(start: 0, count: 0)
        var host = PatternText(start: 0, count: 0)
        var port: Int32 = 0
        var stripsQuery = false
    }

    struct Action: BitwiseCopyable {
        var rewrite = Rewrite()
        /// No bytes: as it was asked.
        var host = PatternText(start: 0, count: 0)
        /// Of an answer from here; 0: none.
        var status: UInt16 = 0
        var body = PatternText(start: 0, count: 0)
        var isRedirect = false
        var redirect = RedirectTo()

        var rewrites: Bool { rewrite.kind != .none || host.count > 0 }
    }

    let text: Slab<UInt8>
    let regexes: RegexTable
    let parts: Slab<Part>
    let drops: Slab<PatternText>
    let adds: Slab<AddedField>
    /// By route.
    let actions: Slab<Action>
    /// The proxy's own first, then one for each share of all routes in order.
    let edits: Slab<Edits>
    /// Whether there are any changes to fields.
    let editsAnything: Bool
    let rewritten: Slab<UInt8>

    /// Bytes of a path that was rewritten; a longer one is nobody's to send on.
    static let pathMost = 16 * 1024
    /// Replacements in one path. Bound: looking for each may take the whole path.
    static let replacementsMost = 32

    /// - Parameter policy: the proxy's own.
    init(_ routes: [ProxyConfiguration.Route], _ policy: HeaderPolicy) {
        var compiler = Compiler(policy)
        for route in routes { compiler.add(route) }
        text = Slab(compiler.patterns.text)
        regexes = RegexTable(compiler.patterns.regexes)
        parts = Slab(compiler.parts)
        drops = Slab(compiler.drops)
        adds = Slab(compiler.adds)
        actions = Slab(compiler.actions)
        edits = Slab(compiler.edits)
        editsAnything = compiler.edits.contains { !$0.request.isEmpty || !$0.answer.isEmpty }
        rewritten = Slab(zeroed: Self.pathMost)
    }

    deinit {
        text.deallocate()
        parts.deallocate()
        drops.deallocate()
        adds.deallocate()
        actions.deallocate()
        edits.deallocate()
        rewritten.deallocate()
    }

    private struct Compiler {
        var patterns = Patterns.Builder()
        var parts: [Part] = []
        var drops: [PatternText] = []
        var adds: [AddedField] = []
        var actions: [Action] = []
        var edits: [Edits] = []
        private let policy: HeaderPolicy

        init(_ policy: HeaderPolicy) {
            self.policy = policy
            edits.append(
                Edits(request: edit([policy.request]), answer: edit([policy.answer])))
        }

        mutating func add(_ route: ProxyConfiguration.Route) {
            var action = Action()
            if let rewrite = route.rewrite ?? route.redirect?.path {
                action.rewrite = compile(rewrite, of: route.path)
            }
            action.host = patterns.add((route.hostRewrite ?? "").utf8)
            if let answer = route.answer {
                action.status = UInt16(answer.status)
                action.body = patterns.add(answer.body.utf8)
            } else if let redirect = route.redirect {
                action.status = UInt16(redirect.status)
                action.isRedirect = true
                action.redirect = RedirectTo(
                    scheme: patterns.add((redirect.scheme ?? "").utf8),
                    host: patterns.add((redirect.host ?? "").utf8),
                    port: Int32(redirect.port ?? 0), stripsQuery: redirect.stripsQuery)
            }
            actions.append(action)
            let shares = route.shares.filter { $0.weight > 0 }
            for share in shares.isEmpty ? [.init("")] : shares { add(share, of: route) }
        }

        private mutating func add(
            _ share: ProxyConfiguration.Share, of route: ProxyConfiguration.Route
        ) {
            let request = [share.requestHeaders, route.requestHeaders]
            let answer = [share.answerHeaders, route.answerHeaders]
            let own = edits[0]
            edits.append(
                Edits(
                    request: request.allSatisfy(\.isEmpty)
                        ? own.request : edit(request + [policy.request]),
                    answer: answer.allSatisfy(\.isEmpty)
                        ? own.answer : edit(answer + [policy.answer])))
        }

        /// What changes made one after the other come to.
        private mutating func edit(_ changes: [HeaderChanges]) -> Edit {
            var dropped: [String] = []
            var added: [HeaderChanges.Field] = []
            func drop(_ name: String) {
                if !dropped.contains(name) { dropped.append(name) }
                added.removeAll { $0.name == name }
            }
            for change in changes {
                for name in change.remove { drop(name) }
                for field in change.set {
                    drop(field.name)
                    added.append(field)
                }
                added += change.add
            }
            let (firstDrop, firstAdd) = (drops.count, adds.count)
            for name in dropped { drops.append(patterns.add(name.utf8)) }
            var growth = 0
            for field in added {
                growth += field.name.utf8.count + field.value.utf8.count + 4
                adds.append(
                    AddedField(
                        name: patterns.add(field.name.utf8), value: patterns.add(field.value.utf8),
                        isContentType: field.name == "content-type"))
            }
            return Edit(
                drops: PatternRange(firstDrop, drops.count),
                adds: PatternRange(firstAdd, adds.count), growth: Int32(growth))
        }

        private mutating func compile(
            _ rewrite: PathRewrite, of path: ProxyConfiguration.PathMatch
        ) -> Rewrite {
            switch rewrite {
            case .path(let text): return Rewrite(kind: .path, text: patterns.add(text.utf8))
            case .prefix(let text):
                guard case .prefix(let prefix) = path else {
                    return Rewrite(kind: .path, text: patterns.add(text.utf8))
                }
                return Rewrite(
                    kind: .prefix, text: patterns.add(text.utf8),
                    replaced: Int32(prefix.utf8.count))
            case .regex(let pattern, let substitution):
                let (number, regex) = patterns.add(regex: pattern)
                let made = try? RegexSubstitution(substitution, groups: regex.groupCount)
                precondition(made != nil, "a substitution that was not checked")
                let first = parts.count
                for part in made?.parts ?? [] {
                    switch part {
                    case .text(let bytes): parts.append(Part(text: patterns.add(bytes), group: -1))
                    case .group(let group):
                        parts.append(
                            Part(text: PatternText(start: 0, count: 0), group: Int8(group)))
                    }
                }
                return Rewrite(
                    kind: .regex, regex: number, parts: PatternRange(first, parts.count))
            }
        }
    }

    func bytes(_ pattern: PatternText) -> Bytes {
        text.bytes(Int(pattern.start)..<Int(pattern.start + pattern.count))
    }

    /// Whether an edit leaves out a field that came.
    @inline(__always)
    func drops(_ name: Bytes, _ edit: Edit) -> Bool {
        for i in edit.drops.indices
        where Int(drops[i].count) == name.count && name.equalsIgnoringCase(bytes(drops[i])) {
            return true
        }
        return false
    }

    /// Whether an edit leaves a field to the proxy that it adds by itself.
    @inline(__always)
    func leaves(_ name: StaticString, _ edit: Edit) -> Bool {
        edit.drops.isEmpty || !drops(Bytes(name), edit)
    }

    // MARK: Paths

    /// Whether a path may become too long; most are seen to fit without being made.
    func mayOverflow(_ path: Bytes, _ rewrite: Rewrite) -> Bool {
        switch rewrite.kind {
        case .none, .path: false
        case .prefix: path.count + Int(rewrite.text.count) + 1 > Self.pathMost
        case .regex: true
        }
    }

    /// What a path becomes, in this table's memory until the next; nil: it is too long.
    /// - Parameter path: without its query.
    func rewrite(_ path: Bytes, _ rewrite: Rewrite) -> Bytes? {
        // `*` and the target of CONNECT are no paths.
        guard rewrite.kind != .none, path.count > 0, path[0] == UInt8(ascii: "/") else {
            return path
        }
        var out = unsafe ByteWriter(rewritten.memory)
        switch rewrite.kind {
        case .none: break
        case .path: out.append(bytes(rewrite.text))
        case .prefix: replacePrefix(path, rewrite, to: &out)
        case .regex: replaceAll(path, rewrite, to: &out)
        }
        guard !out.overflowed else { return nil }
        return rewritten.bytes(0..<out.count)
    }

    /// One slash stands between what is put in and what is left, where there is something: `/a`
    /// replaced by `/` makes `/b` of `/a/b`, as Gateway API asks.
    private func replacePrefix(_ path: Bytes, _ rewrite: Rewrite, to out: inout ByteWriter) {
        let slash = UInt8(ascii: "/")
        let text = bytes(rewrite.text)
        var rest = path[min(path.count, Int(rewrite.replaced))..<path.count]
        let endsInSlash = text.count > 0 && text[text.count - 1] == slash
        out.append(text)
        if rest.count > 0, endsInSlash, rest[0] == slash {
            rest = rest[1..<rest.count]
        } else if rest.count > 0, !endsInSlash, rest[0] != slash {
            out.append(slash)
        }
        out.append(rest)
    }

    private func replaceAll(_ path: Bytes, _ rewrite: Rewrite, to out: inout ByteWriter) {
        var made = 0
        var place = 0
        // Where the last replaced part ended: nothing is not replaced right behind it.
        var last = -1
        let start = out.count
        while place <= path.count, made < Self.replacementsMost,
            regexes.find(rewrite.regex, path, from: place), let found = regexes.group(0)
        {
            if found.isEmpty, found.lowerBound == last {
                guard place < path.count else { break }
                out.append(path[place])
                place += 1
                last = -1
                continue
            }
            out.append(path[place..<found.lowerBound])
            if out.count == start { beginPath(rewrite, path, to: &out) }
            write(rewrite, path, to: &out)
            made += 1
            place = found.upperBound
            last = place
        }
        if out.count == start, place < path.count, path[place] != UInt8(ascii: "/") {
            out.append(UInt8(ascii: "/"))
        }
        out.append(path[min(place, path.count)..<path.count])
        if out.count == start { out.append(UInt8(ascii: "/")) }
    }

    /// A path begins with a slash, whatever the substitution does.
    private func beginPath(_ rewrite: Rewrite, _ path: Bytes, to out: inout ByteWriter) {
        for i in rewrite.parts.indices {
            let part = parts[i]
            let piece = part.group < 0 ? bytes(part.text) : group(part.group, path)
            guard piece.count > 0 else { continue }
            if piece[0] != UInt8(ascii: "/") { out.append(UInt8(ascii: "/")) }
            return
        }
    }

    private func write(_ rewrite: Rewrite, _ path: Bytes, to out: inout ByteWriter) {
        for i in rewrite.parts.indices {
            out.append(parts[i].group < 0 ? bytes(parts[i].text) : group(parts[i].group, path))
        }
    }

    private func group(_ number: Int8, _ path: Bytes) -> Bytes {
        regexes.group(Int(number)).map { path[$0] } ?? Bytes("")
    }
}
