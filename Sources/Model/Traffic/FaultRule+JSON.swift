// A fault as JSON: what leases carry. Every key but `point` may be absent, none may be unknown.
//
//     {"point": "per-attempt", "chance": 0.1, "abort": {"http": 503}, "first_attempts": 2}

extension FaultRule: Codable {
    private enum Key: String, CodingKey, CaseIterable {
        case name, seed, point, listener, cluster, match, chance, delay, abort, hangs, capacity
        case firstAttempts = "first_attempts"
        case trustsHeaders = "trusts_headers"
        case responseRate = "response_rate"
    }

    public init(from decoder: any Decoder) throws {
        try decoder.refuseOthers(than: Key.self)
        let fields = try decoder.container(keyedBy: Key.self)
        self.init(
            name: try fields.decodeIfPresent(String.self, forKey: .name) ?? "",
            seed: try fields.decodeIfPresent(UInt64.self, forKey: .seed) ?? 0,
            point: try fields.decode(Point.self, forKey: .point))
        listener = try fields.decodeIfPresent(String.self, forKey: .listener)
        cluster = try fields.decodeIfPresent(String.self, forKey: .cluster)
        match = try fields.decodeIfPresent(Match.self, forKey: .match) ?? Match()
        chance = try fields.decodeIfPresent(Double.self, forKey: .chance) ?? 1
        firstAttempts = try fields.decodeIfPresent(Int.self, forKey: .firstAttempts)
        trustsHeaders = try fields.decodeIfPresent(Bool.self, forKey: .trustsHeaders) ?? false
        delay = try fields.decodeIfPresent(DelayDistribution.self, forKey: .delay)
        abort = try fields.decodeIfPresent(Abort.self, forKey: .abort)
        responseRate = try fields.decodeIfPresent(Int.self, forKey: .responseRate)
        hangs = try fields.decodeIfPresent(Bool.self, forKey: .hangs) ?? false
        capacity = try fields.decodeIfPresent(AppCapacity.self, forKey: .capacity)
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: Key.self)
        try fields.encode(name, forKey: .name)
        try fields.encode(seed, forKey: .seed)
        try fields.encode(point, forKey: .point)
        try fields.encodeIfPresent(listener, forKey: .listener)
        try fields.encodeIfPresent(cluster, forKey: .cluster)
        if !match.isAny { try fields.encode(match, forKey: .match) }
        try fields.encode(chance, forKey: .chance)
        try fields.encodeIfPresent(firstAttempts, forKey: .firstAttempts)
        if trustsHeaders { try fields.encode(true, forKey: .trustsHeaders) }
        try fields.encodeIfPresent(delay, forKey: .delay)
        try fields.encodeIfPresent(abort, forKey: .abort)
        try fields.encodeIfPresent(responseRate, forKey: .responseRate)
        if hangs { try fields.encode(true, forKey: .hangs) }
        try fields.encodeIfPresent(capacity, forKey: .capacity)
    }
}

extension FaultRule.Abort: Codable {
    private enum Key: String, CodingKey, CaseIterable {
        case http, grpc
    }

    public init(from decoder: any Decoder) throws {
        try decoder.refuseOthers(than: Key.self)
        let fields = try decoder.container(keyedBy: Key.self)
        switch (
            try fields.decodeIfPresent(Int.self, forKey: .http),
            try fields.decodeIfPresent(Int.self, forKey: .grpc)
        ) {
        case (let status?, nil): self = .http(status)
        case (nil, let status?): self = .grpc(status)
        default:
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "either http or grpc"))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: Key.self)
        switch self {
        case .http(let status): try fields.encode(status, forKey: .http)
        case .grpc(let status): try fields.encode(status, forKey: .grpc)
        }
    }
}

extension FaultRule.Match: Codable {
    private enum Key: String, CodingKey, CaseIterable {
        case path, methods, headers
    }

    public init(from decoder: any Decoder) throws {
        try decoder.refuseOthers(than: Key.self)
        let fields = try decoder.container(keyedBy: Key.self)
        self.init()
        path = try fields.decodeIfPresent(type(of: path), forKey: .path) ?? path
        methods = try fields.decodeIfPresent([String].self, forKey: .methods) ?? []
        headers = try fields.decodeIfPresent(type(of: headers), forKey: .headers) ?? []
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: Key.self)
        try fields.encode(path, forKey: .path)
        if !methods.isEmpty { try fields.encode(methods, forKey: .methods) }
        if !headers.isEmpty { try fields.encode(headers, forKey: .headers) }
    }
}

/// Any key of an object.
private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

extension Decoder {
    /// A key that is spelled wrong would silently leave something out.
    /// - Throws: where the object has another key than these.
    func refuseOthers<Key: CodingKey & CaseIterable>(than keys: Key.Type) throws {
        let known = Set(Key.allCases.map(\.stringValue))
        for key in try container(keyedBy: AnyKey.self).allKeys
        where !known.contains(key.stringValue) {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: codingPath,
                    debugDescription: "there is no '\(key.stringValue.prefix(64))'"))
        }
    }
}
