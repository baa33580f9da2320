// Heads as they go out on a stream: pseudo-fields, then the fields as they came, without those that
// concern one connection of HTTP/1.1 only (RFC 9113, 8.2.2), then what this proxy adds.

import Base
import Model
import Wire

extension HeadWriter {
    /// Lists a request's fields.
    /// - Parameters:
    ///   - client: the client's address as text; empty: unknown.
    ///   - scheme: `http` or `https`, as the next connection is.
    ///   - passesUpgrade: whether the request goes on as one for another protocol (RFC 8441, 4).
    ///   - timeLeft: what a gRPC request is given instead of the time it came with; nil: the same.
    func list(
        request head: borrowing Head, _ bytes: Bytes, _ edit: HeadEdit,
        _ actions: borrowing RouteActions, client: Bytes, scheme: StaticString,
        passesUpgrade: Bool, timeLeft: Duration?, cameByHTTP2: Bool, attempt: AttemptFields,
        random: inout SeededRandom, to fields: FieldList
    ) {
        fields.removeAll()
        if passesUpgrade {
            fields.add(":method", "CONNECT")
            for i in 0..<head.fieldCount where head.fields[i].name == .upgrade {
                fields.add(":protocol", bytes[head.fields[i].valueRange])
            }
        } else {
            fields.add(":method", bytes[head.method])
        }
        fields.add(":authority") { edit.writeHost(bytes[head.authority], to: &$0) }
        // A CONNECT has no more of them (RFC 9113, 8.5), unless it is an extended one.
        if passesUpgrade || !(bytes[head.method] == "CONNECT") {
            fields.add(":scheme", Bytes(scheme))
            if let path = edit.path {
                let query = edit.query
                fields.add(":path") { out in
                    out.append(path)
                    out.append(query)
                }
            } else {
                listPath(":path", head, bytes, to: fields)
            }
        }
        let appendsForwarded =
            policy.forwardedFor && client.count > 0
            && actions.leaves("x-forwarded-for", edit.fields)
        let maxForwards = head.maxForwards(bytes)
        var hasID = false
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            if isHopByHop(field, head, bytes) { continue }
            switch field.name {
            case .host: continue
            case .forwardedFor where appendsForwarded: continue
            case .maxForwards where maxForwards != nil: continue
            case .webSocketKey where passesUpgrade: continue
            case .grpcTimeout where timeLeft != nil: continue
            case .envoy where isConsumed(field, bytes, rewrites: edit.path != nil, attempt):
                continue
            default: break
            }
            if !edit.fields.drops.isEmpty, actions.drops(bytes[field.nameRange], edit.fields) {
                continue
            }
            fields.add(bytes[field.nameRange], bytes[field.valueRange])
            guard field.name == .requestID else { continue }
            hasID = true
            if !fields.overflowed { fields.leaveUnindexed(fields.count - 1) }
        }
        list(attempt, to: fields)
        if let timeLeft { fields.add("grpc-timeout") { GRPCTimeout.write(timeLeft, to: &$0) } }
        if let maxForwards { fields.add("max-forwards", decimal: maxForwards - 1) }
        if appendsForwarded {
            fields.add("x-forwarded-for") { out in
                for i in 0..<head.fieldCount where head.fields[i].name == .forwardedFor {
                    let value = bytes[head.fields[i].valueRange]
                    guard value.count > 0 else { continue }
                    out.append(value)
                    out.append(", ")
                }
                out.append(client)
            }
        }
        if policy.requestID, !hasID, actions.leaves("x-request-id", edit.fields) {
            fields.add("x-request-id") { writeID(&random, to: &$0) }
            if !fields.overflowed { fields.leaveUnindexed(fields.count - 1) }
        }
        if edit.path != nil { listPath("x-envoy-original-path", head, bytes, to: fields) }
        listAdded(edit.fields, actions, to: fields)
        listVia(head, cameByHTTP2: cameByHTTP2, to: fields)
        if head.acceptsTrailers(bytes) { fields.add("te", "trailers") }
    }

    private func listAdded(
        _ edit: RouteActions.Edit, _ actions: borrowing RouteActions, to fields: FieldList
    ) {
        for i in edit.adds.indices {
            fields.add(actions.bytes(actions.adds[i].name), actions.bytes(actions.adds[i].value))
        }
    }

    private func listPath(
        _ name: StaticString, _ head: borrowing Head, _ bytes: Bytes, to fields: FieldList
    ) {
        let path = bytes[head.path]
        if path.count == 0 {
            fields.add(name, bytes[head.method] == "OPTIONS" ? "*" : "/")
        } else if path[0] == UInt8(ascii: "?") {
            fields.add(name) { out in
                out.append(UInt8(ascii: "/"))
                out.append(path)
            }
        } else {
            fields.add(name, path)
        }
    }

    private func listVia(_ head: borrowing Head, cameByHTTP2: Bool, to fields: FieldList) {
        guard policy.via != nil else { return }
        fields.add("via") { writeViaValue(head, cameByHTTP2: cameByHTTP2, to: &$0) }
    }

    /// Lists an answer's fields.
    /// - Parameters:
    ///   - switchesProtocol: it grants what an extended CONNECT asked for, which 200 says (RFC
    ///     8441, 5).
    ///   - date: for a final answer that came without one.
    func list(
        response head: borrowing Head, _ bytes: Bytes, _ edit: HeadEdit,
        _ actions: borrowing RouteActions, switchesProtocol: Bool, cameByHTTP2: Bool,
        date: DateLine, attempt: AttemptFields, to fields: FieldList
    ) {
        fields.removeAll()
        fields.add(":status", decimal: switchesProtocol ? 200 : head.status)
        let dropsLength = head.status == 204 || head.status < 200
        let changes = head.status < 200 ? RouteActions.Edit() : edit.fields
        var hasDate = head.status < 200 || !actions.leaves("date", changes)
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            if isHopByHop(field, head, bytes) { continue }
            switch field.name {
            case .contentLength where dropsLength: continue
            case .webSocketAccept where switchesProtocol: continue
            case .envoy where isReplaced(field, bytes, attempt): continue
            default: break
            }
            if !changes.drops.isEmpty, actions.drops(bytes[field.nameRange], changes) { continue }
            if field.name == .date { hasDate = true }
            fields.add(bytes[field.nameRange], bytes[field.valueRange])
        }
        list(attempt, to: fields)
        if !hasDate, !date.isEmpty { fields.add("date") { date.appendValue(to: &$0) } }
        listAdded(changes, actions, to: fields)
        if head.status >= 200 { edit.limit.list(to: fields) }
        listVia(head, cameByHTTP2: cameByHTTP2, to: fields)
    }
}

extension Head {
    /// Whether a request is one of gRPC's (grpc/doc/PROTOCOL-HTTP2.md, "Requests").
    borrowing func isGRPC(_ bytes: Bytes) -> Bool {
        for i in 0..<fieldCount where fields[i].name == .contentType {
            return Wire.isGRPC(contentType: bytes[fields[i].valueRange])
        }
        return false
    }

    /// How long a gRPC client waits, from now on; nil: it does not say, or in no way that counts.
    borrowing func grpcTimeout(_ bytes: Bytes) -> Duration? {
        for i in 0..<fieldCount where fields[i].name == .grpcTimeout {
            return GRPCTimeout.parse(bytes[fields[i].valueRange])
        }
        return nil
    }
}
