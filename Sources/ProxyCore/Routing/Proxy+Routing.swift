// What routes do with requests and answers, beside where they send them.

import Base
import Model
import Wire

/// What becomes of a head on its way, by its route.
struct HeadEdit {
    var fields = RouteActions.Edit()
    /// In place of the path; nil: as it came. The query follows.
    var path: Bytes?
    var query = Bytes("")
    var host: Bytes?
    /// Whether the host is told to be a mirror's.
    var marksHost = false
    /// Of an answer: what it tells of rate limits.
    var limit = LimitNote()
    /// Bytes by which the head may grow.
    var growth = 0

    /// The host that is asked for in place of `asked`.
    func writeHost(_ asked: Bytes, to out: inout ByteWriter) {
        let host = host ?? asked
        guard marksHost, host.count > 0 else { return out.append(host) }
        let name = Router.withoutPort(host)
        out.append(name)
        out.append(RequestMirror<String>.mark)
        out.append(host[name.count..<host.count])
    }
}

extension Proxy {
    /// What becomes of the request in hand.
    @inline(__always)
    func requestEdit(_ slot: Int, _ bytes: Bytes) -> HeadEdit {
        guard connections[slot].exchange.filters.contains(.edits) else {
            return headEdit(slot)
        }
        return edit(request: slot, bytes)
    }

    /// Of a request whose route changes nothing.
    @inline(__always)
    private func headEdit(_ slot: Int) -> HeadEdit {
        var edit = HeadEdit()
        edit.marksHost = connections[slot].marksHost
        return edit
    }

    private func edit(request slot: Int, _ bytes: Bytes) -> HeadEdit {
        let route = connections[slot].exchange.route
        var edit = headEdit(slot)
        edit.fields = router.edits(route, connections[slot].exchange.share).request
        edit.growth = Int(edit.fields.growth)
        guard route >= 0 else { return edit }
        let action = router.actions.actions[Int(route)]
        guard action.rewrites, !connections[slot].exchange.isConnect, !action.isRedirect else {
            return edit
        }
        if action.rewrite.kind != .none {
            let path = head.patternPath(bytes)
            if let rewritten = router.actions.rewrite(path, action.rewrite), !(path == "*") {
                edit.path = rewritten
                let target = bytes[head.path]
                let mark = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
                edit.query = target[mark..<target.count]
                edit.growth += rewritten.count + target.count + 32
            }
        }
        if action.host.count > 0 {
            edit.host = router.actions.bytes(action.host)
            edit.growth += Int(action.host.count)
        }
        return edit
    }

    /// What becomes of an answer to a client.
    @inline(__always)
    func answerEdit(_ client: Int) -> HeadEdit {
        var edit = HeadEdit()
        if connections[client].exchange.limit.burst > 0 {
            edit.limit = connections[client].exchange.limit
            edit.growth = LimitNote.growth
        }
        guard connections[client].exchange.filters.contains(.edits) else { return edit }
        let route = connections[client].exchange.route
        edit.fields = router.edits(route, connections[client].exchange.share).answer
        edit.growth += Int(edit.fields.growth)
        return edit
    }

    /// Whether the request in hand goes on to a cluster; else its route has answered it.
    @inline(__always)
    func passesAction(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard connections[slot].exchange.filters.contains(.action) else { return true }
        return act(slot, bytes, now: now)
    }

    /// - Returns: whether the request goes on to a cluster.
    private func act(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        let exchange = connections[slot].exchange
        guard exchange.route >= 0 else { return true }
        let action = router.actions.actions[Int(exchange.route)]
        guard action.status > 0 else {
            let path = head.patternPath(bytes)
            guard router.actions.mayOverflow(path, action.rewrite),
                router.actions.rewrite(path, action.rewrite) == nil
            else { return true }
            reply(slot, status: 414, flag: nil, detail: .rewrittenPathTooLong, now: now)
            return false
        }
        var out = unsafe ByteWriter(replyFields.memory)
        var fits = true
        if action.isRedirect { fits = writeLocation(slot, action, bytes, to: &out) }
        var parts = ReplyParts()
        let edit = router.edits(exchange.route, exchange.share).answer
        for i in edit.adds.indices {
            let field = router.actions.adds[i]
            if field.isContentType { parts.saysContentType = true }
            out.append(router.actions.bytes(field.name))
            out.append(": ")
            out.append(router.actions.bytes(field.value))
            out.append("\r\n")
        }
        guard fits, !out.overflowed else {
            reply(slot, status: 414, flag: nil, detail: .redirectTooLong, now: now)
            return false
        }
        parts.fields = replyFields.bytes(0..<out.count)
        parts.body = router.actions.bytes(action.body)
        reply(
            slot, status: Int(action.status), flag: nil,
            detail: action.isRedirect ? .redirect : .directResponse, parts: parts, now: now)
        return false
    }

    /// - Returns: false: the new path is too long. The one that came would be another place.
    private func writeLocation(
        _ slot: Int, _ action: RouteActions.Action, _ bytes: Bytes, to out: inout ByteWriter
    ) -> Bool {
        let redirect = action.redirect
        let isSecured = connections[slot].isSecured || isSecuredStream(slot)
        let scheme =
            redirect.scheme.count > 0
            ? router.actions.bytes(redirect.scheme) : Bytes(isSecured ? "https" : "http")
        let changesScheme = !(scheme == (isSecured ? "https" : "http"))
        out.append("location: ")
        out.append(scheme)
        out.append("://")
        if redirect.host.count > 0 {
            out.append(router.actions.bytes(redirect.host))
        } else {
            let authority = bytes[head.authority]
            let keepsPort = redirect.port == 0 && !changesScheme
            out.append(keepsPort ? authority : Router.withoutPort(authority))
        }
        if redirect.port > 0 {
            out.append(UInt8(ascii: ":"))
            out.append(decimal: UInt64(redirect.port))
        }
        let path = head.patternPath(bytes)
        if path == "*" {
            out.append("/")
        } else {
            guard let rewritten = router.actions.rewrite(path, action.rewrite) else {
                return false
            }
            out.append(rewritten)
        }
        let target = bytes[head.path]
        if !redirect.stripsQuery, let mark = target.firstIndex(of: UInt8(ascii: "?")) {
            out.append(target[mark..<target.count])
        }
        out.append("\r\n")
        return true
    }

    private func isSecuredStream(_ slot: Int) -> Bool {
        connections[slot].isStream && connections[Int(connections[slot].carrier)].isSecured
    }
}
