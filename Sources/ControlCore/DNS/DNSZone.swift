// What the control plane says as a DNS server: bytes of a question and a mesh in, bytes of an
// answer out. It is the only server of the zone `mesh`, which is made of the declarations:
//
//     cart.shop.mesh               A, AAAA, SRV of the healthy endpoints of shop/cart
//     cart.mesh                    the same of default/cart
//     _http._tcp.cart.shop.mesh    SRV (RFC 2782), whatever stands in place of `http`
//     cart-1.cart.shop.mesh        A or AAAA of one endpoint, whatever its health

public import Base
public import Model
public import Wire

/// The zone `mesh`.
public struct DNSZone: Sendable {
    /// How a question came, which is how its answer goes.
    public enum Transport: String, CaseIterable, Sendable {
        case udp
        case tcp
    }

    public enum Reply: Equatable, Sendable {
        case answer([UInt8], DNSCode, isTruncated: Bool)
        /// It is of another zone, and may be asked elsewhere.
        /// - Parameter limit: bytes of an answer at most.
        case forward(DNSQuestion, limit: Int)
        /// It is no question; an answer to it could be one to a forged sender.
        case none
    }

    /// The zone's own name.
    public static let name: DNSName = "mesh"
    /// How long answers hold, those too that say that there is nothing: seconds.
    public static let life: UInt32 = 1
    /// Bytes of an answer over UDP at most.
    public static let payload = DNSMessage.usualPayload
    /// Endpoints in one answer at most, from a random one on; of more, several questions tell.
    public static let endpointLimit = 512

    /// An endpoint that takes requests.
    private struct Entry {
        var host: DNSName
        var address: [UInt8]
        var port: UInt16
        var weight: Int
    }

    /// What a name stands for.
    private enum Owner {
        case zone
        case service(MeshName)
        /// A name of RFC 2782.
        case discovery(MeshName)
        case endpoint(MeshEndpoint)
        /// There are names below it, and nothing else (RFC 8020).
        case nothing
    }

    private let canForward: Bool
    private var random: SeededRandom
    /// Of services that somebody has asked for, as of the last `forget`. Bound: the mesh's.
    private var entries: [MeshName: [Entry]] = [:]
    private var namespaces: Set<String>?

    /// - Parameter canForward: whether questions of other zones are forwarded; else they are
    ///   refused.
    public init(canForward: Bool, random: SeededRandom) {
        self.canForward = canForward
        self.random = random
    }

    /// The mesh has changed, or what is held of the health of its endpoints.
    public mutating func forget() {
        entries = [:]
        namespaces = nil
    }

    /// What becomes of a message.
    /// - Parameters:
    ///   - serial: of the zone: rises with its changes (RFC 1035, 3.3.13).
    ///   - isWell: whether checks find an endpoint, by its name, healthy. Asked of those that are
    ///     declared to be.
    public mutating func reply(
        to bytes: [UInt8], over transport: Transport, in mesh: MeshState, serial: UInt32,
        isWell: (MeshName) -> Bool = { _ in true }
    ) -> Reply {
        guard let header = DNSHeader(bytes), !header.isResponse else { return .none }
        guard header.opcode == 0 else { return failure(header, .notImplemented) }
        let query: DNSMessage
        do throws(DNSError) {
            query = try DNSMessage(bytes)
        } catch {
            return failure(header, .formatError)
        }
        guard query.questions.count == 1, let question = query.questions.first else {
            return failure(header, .formatError)
        }
        var answer = DNSMessage(self.header(header))
        answer.questions = [question]
        if query.extension != nil {
            answer.extension = DNSExtension(payload: UInt16(Self.payload))
        }
        // RFC 6891, 6.2.3: values below 512 mean that.
        let payload = max(Int(query.extension?.payload ?? 0), DNSMessage.datagramLimit)
        let limit = transport == .udp ? payload : DNSMessage.byteLimit
        if let version = query.extension?.version, version != 0 {
            answer.code = .badVersion
        } else if let labels = question.name.labels(below: Self.name),
            question.class == .internet || question.class == .any
        {
            answer.header.isAuthoritative = true
            fill(&answer, question, labels, mesh, serial, isWell)
        } else if canForward, header.recursionDesired {
            return .forward(question, limit: limit)
        } else {
            answer.code = .refused
        }
        return finished(answer, limit: transport == .udp ? min(limit, Self.payload) : limit)
    }

    /// What is answered where nobody knows what is asked: the question with an error.
    /// - Parameter bytes: a question that was to be forwarded.
    public func failure(for bytes: [UInt8], _ code: DNSCode = .serverFailure) -> Reply {
        guard let header = DNSHeader(bytes) else { return .none }
        guard let question = DNSQuestion(of: bytes) else { return failure(header, code) }
        var answer = DNSMessage(self.header(header))
        answer.questions = [question]
        answer.code = code
        return finished(answer, limit: DNSMessage.datagramLimit)
    }

    // MARK: Headers

    private func header(_ query: DNSHeader) -> DNSHeader {
        var header = DNSHeader(id: query.id)
        header.isResponse = true
        header.opcode = query.opcode
        header.recursionDesired = query.recursionDesired
        header.recursionAvailable = canForward
        header.isCheckingDisabled = query.isCheckingDisabled
        return header
    }

    /// An answer without a question: that could not be read.
    private func failure(_ query: DNSHeader, _ code: DNSCode) -> Reply {
        var answer = DNSMessage(header(query))
        answer.code = code
        return finished(answer, limit: DNSMessage.datagramLimit)
    }

    private func finished(_ answer: DNSMessage, limit: Int) -> Reply {
        let bytes = answer.encoded(limit: limit)
        let isTruncated = DNSHeader(bytes)?.isTruncated ?? false
        return .answer(bytes, answer.code, isTruncated: isTruncated)
    }

    // MARK: Records

    private mutating func fill(
        _ answer: inout DNSMessage, _ question: DNSQuestion, _ labels: [[UInt8]],
        _ mesh: MeshState, _ serial: UInt32, _ isWell: (MeshName) -> Bool
    ) {
        if let owner = owner(labels, mesh) {
            // Of all there is one suffices (RFC 8482, 4.1).
            let types: [DNSType] =
                question.type == .any ? [.a, .aaaa, .srv, .soa] : [question.type]
            for type in types where answer.answers.isEmpty {
                fill(&answer, question.name, type, owner, mesh, serial, isWell)
            }
        } else {
            answer.code = .nameError
        }
        if answer.answers.isEmpty { answer.authorities = [start(serial)] }
    }

    private mutating func fill(
        _ answer: inout DNSMessage, _ name: DNSName, _ type: DNSType, _ owner: Owner,
        _ mesh: MeshState, _ serial: UInt32, _ isWell: (MeshName) -> Bool
    ) {
        switch (owner, type) {
        case (.zone, .soa): answer.answers = [start(serial)]
        case (.service(let service), .a), (.service(let service), .aaaa):
            var seen: Set<[UInt8]> = []
            for entry in rotated(service, mesh, isWell) where seen.insert(entry.address).inserted {
                if let record = address(entry, name), record.type == type {
                    answer.answers.append(record)
                }
            }
        case (.service(let service), .srv), (.discovery(let service), .srv):
            let entries = rotated(service, mesh, isWell)
            let most = entries.reduce(0) { max($0, $1.weight) }
            for entry in entries {
                // SRV has 16 bits, and 0 would be none of the share.
                let weight =
                    most <= 0xFFFF ? entry.weight : max(1, entry.weight * 0xFFFF / most)
                answer.answers.append(
                    DNSRecord(
                        name, .srv, life: Self.life,
                        .service(
                            priority: 0, weight: UInt16(weight), port: entry.port,
                            target: entry.host)))
                if let record = address(entry, entry.host) { answer.additionals.append(record) }
            }
        case (.endpoint(let endpoint), .a), (.endpoint(let endpoint), .aaaa):
            if let entry = Self.entry(endpoint), let record = address(entry, name),
                record.type == type
            {
                answer.answers = [record]
            }
        default: break
        }
    }

    private func start(_ serial: UInt32) -> DNSRecord {
        DNSRecord(
            Self.name, .soa, life: Self.life,
            .start(
                primary: Self.name, mailbox: "hostmaster.mesh", serial: serial, refresh: 60,
                retry: 10, expire: 3600, minimum: Self.life))
    }

    private func address(_ entry: Entry, _ name: DNSName) -> DNSRecord? {
        DNSRecord(
            name, entry.address.count == 4 ? .a : .aaaa, life: Self.life, .address(entry.address))
    }

    // MARK: The mesh

    private mutating func owner(_ labels: [[UInt8]], _ mesh: MeshState) -> Owner? {
        let words = labels.map { String(decoding: $0, as: UTF8.self) }
        guard let first = words.first else { return .zone }
        guard !first.hasPrefix("_") else {
            if first == "_tcp" { return service(words.dropFirst(), mesh).map { _ in .nothing } }
            guard words.count > 1, words[1] == "_tcp" else { return nil }
            return service(words.dropFirst(2), mesh).map { .discovery($0) }
        }
        if let name = service(words[...], mesh) { return .service(name) }
        switch words.count {
        case 1: return isNamespace(first, mesh) ? .nothing : nil
        case 3:
            guard let endpoint = mesh.endpoints[MeshName(first, in: words[2])],
                endpoint.service == words[1]
            else { return nil }
            return .endpoint(endpoint)
        default: return nil
        }
    }

    /// The service that one or two labels mean.
    private func service(_ words: ArraySlice<String>, _ mesh: MeshState) -> MeshName? {
        guard let name = words.first, words.count <= 2 else { return nil }
        let service =
            words.count == 1
            ? MeshName(name) : MeshName(name, in: words[words.startIndex + 1])
        return mesh.services[service] == nil ? nil : service
    }

    private mutating func isNamespace(_ word: String, _ mesh: MeshState) -> Bool {
        let known = namespaces ?? Set(mesh.services.keys.map(\.namespace))
        namespaces = known
        return known.contains(word)
    }

    /// The endpoints that take requests, from a random one on.
    private mutating func rotated(
        _ service: MeshName, _ mesh: MeshState, _ isWell: (MeshName) -> Bool
    ) -> [Entry] {
        let all: [Entry]
        if let known = entries[service] {
            all = known
        } else {
            all = mesh.endpoints(of: service)
                .filter { $0.health == .healthy && isWell($0.meshName) }
                .compactMap { Self.entry($0) }
            entries[service] = all
        }
        guard all.count > 1 else { return all }
        let begin = random.below(all.count)
        let front = all[begin...].prefix(Self.endpointLimit)
        return Array(front) + all[..<begin].prefix(Self.endpointLimit - front.count)
    }

    private static func entry(_ endpoint: MeshEndpoint) -> Entry? {
        guard let address = NumericAddress(endpoint.address), let bytes = address.hostBytes,
            let port = UInt16(exactly: address.port),
            let host = DNSName("\(endpoint.name).\(endpoint.service).\(endpoint.namespace).mesh")
        else { return nil }
        return Entry(host: host, address: bytes, port: port, weight: endpoint.weight)
    }
}
