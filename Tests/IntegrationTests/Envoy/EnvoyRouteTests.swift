// An Envoy and a reference proxy are told the same routes and asked the same: what one answers, the
// other does.

import Support
import Testing

@Suite(.serialized) struct EnvoyRouteTests {
    private static let conditions = [
        #""headers":{"a":{"present":true}}"#, #""headers":{"a":{"absent":true}}"#,
        #""headers":{"a":"x"}"#, #""headers":{"a":{"prefix":"x"}}"#,
        #""headers":{"a":{"suffix":"y"}}"#, #""headers":{"a":{"contains":"xy"}}"#,
        #""headers":{"a":{"regex":"x+y?"}}"#, #""headers":{"a":{"from":-7,"to":5}}"#,
        #""headers":{"a":{"exact":"x","not":true}}"#,
        #""headers":{"a":{"prefix":"x","not":true}}"#,
        #""headers":{"a":{"from":0,"to":9,"not":true}}"#,
        #""query":{"a":{"present":true}}"#, #""query":{"a":{"absent":true}}"#,
        #""query":{"a":"x"}"#, #""query":{"a":{"suffix":"y"}}"#,
        #""cookies":{"a":{"present":true}}"#, #""cookies":{"a":{"absent":true}}"#,
        #""cookies":{"a":{"regex":"x.*"}}"#, #""cookies":{"a":{"suffix":"5"}}"#,
        #""regex":"/[a-c]+""#,
    ]

    private static let requests: [(target: String, fields: [String])] = [
        ("/", []), ("/abc", ["a:"]), ("/abcd", ["a: x"]), ("/", ["a: xy"]), ("/", ["a: yxyx"]),
        ("/", ["a: 4"]), ("/", ["a: 5"]), ("/", ["a: -7"]), ("/", ["a: +4"]), ("/", ["a: 4x"]),
        ("/?a", []), ("/?b=1&a=x&a=y", []), ("/?a=xy", []), ("/", ["cookie: b=1; a=x"]),
        ("/", ["cookie: a=5"]), ("/", ["cookie: a=yx; a=x"]),
    ]

    private static let rewrites = [
        (#""prefix":"/a""#, #""prefix":"/b""#), (#""prefix":"/a""#, #""prefix":"/""#),
        (#""prefix":"/a/""#, #""prefix":"/b""#), (#""prefix":"/a/""#, #""prefix":"/b/""#),
        (#""prefix":"/""#, #""prefix":"/b""#), (#""path":"/a""#, #""prefix":"/b""#),
        (#""prefix":"/a""#, #""path":"/n""#),
        (#""prefix":"/""#, #""regex":"x(y?)","substitution":"<\\1>""#),
    ]

    @Test func envoyAnswersAsTheReferenceProxyDoes() throws {
        let pair = try EnvoyPair(EnvoyMesh())
        for (index, condition) in Self.conditions.enumerated() {
            try pair.mesh.declare(
                "routes/shop/c\(index)",
                #""kind":"route","name":"c\#(index)","hosts":["c\#(index)"],"to":["web"],"#
                    + #""answer":{"status":299},"matches":[{\#(condition)}]"#)
        }
        for (index, (match, path)) in Self.rewrites.enumerated() {
            try pair.mesh.declare(
                "routes/shop/w\(index)",
                #""kind":"route","name":"w\#(index)","hosts":["w\#(index)"],"to":["web"],"#
                    + #""redirect":{"status":307,"host":"y",\#(path)},"matches":[{\#(match)}]"#)
        }
        let last = "w\(Self.rewrites.count - 1)"
        try eventually("the routes are in force: \(pair.envoy.tail)") {
            try [pair.envoy.outbound, pair.outbound].allSatisfy {
                try get("/", host: last, at: $0).status == 307
            }
        }
        for index in Self.conditions.indices {
            var answers: Set<Int> = []
            for (target, fields) in Self.requests {
                let said = try [pair.envoy.outbound, pair.outbound].map {
                    try get(target, host: "c\(index)", fields: fields, at: $0).status
                }
                #expect(said[0] == said[1], "\(Self.conditions[index]): \(target) \(fields)")
                answers.formUnion(said)
            }
            #expect(answers == [299, 404], "\(Self.conditions[index]) tells nothing apart")
        }
        for index in Self.rewrites.indices {
            for target in ["/a", "/a/", "/a/xy", "/a//x?q=x", "/a/x/?", "/xyz/x", "/"] {
                let said = try [pair.envoy.outbound, pair.outbound].map { address in
                    let answer = try get(target, host: "w\(index)", at: address)
                    return "\(answer.status) \(answer["location"] ?? "")"
                }
                #expect(said[0] == said[1], "\(Self.rewrites[index]): \(target)")
            }
        }
    }
}
