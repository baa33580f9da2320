import Base
import Posix
import Secure
import Support
import Testing

@testable import Runtime

private func get(_ path: String, _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nhost: a\r\n\(fields)\r\n"
}

private func post(_ path: String, _ body: String) -> String {
    "POST \(path) HTTP/1.1\r\nhost: a\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
}

private let small: ServiceLimits = {
    var limits = ServiceLimits()
    limits.headBytes = 1024
    limits.bodyBytes = 100
    limits.bodiesBytes = 150
    return limits
}()

@Suite struct ServiceHTTP1Tests {
    @Test func answersAreWholeAndConnectionsGoOn() {
        let bench = ServiceBench()
        bench.say(post("/echo", "hello"))
        let first = bench.takeText()
        #expect(first.hasPrefix("HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:16:40 GMT\r\n"))
        #expect(first.hasSuffix("x-method: POST\r\ncontent-length: 5\r\n\r\nhello"))
        bench.say(get("/empty"))
        #expect(bench.takeText().hasSuffix(" GMT\r\n\r\n"))
        bench.say(get("/nowhere"))
        #expect(bench.takeText().hasPrefix("HTTP/1.1 404 Not Found\r\n"))
        #expect(bench.ending == nil)
        #expect(bench.handler.requests.map(\.method) == ["POST", "GET", "GET"])
        #expect(bench.handler.requests[0]["content-length"] == "5")
    }

    @Test func headIsGetWithoutTheBody() {
        let bench = ServiceBench()
        bench.say("HEAD /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab" + get("/empty"))
        #expect(bench.takeText().contains("content-length: 2\r\n\r\nHTTP/1.1 204"))
        #expect(bench.handler.requests[0].method == "GET")
        bench.say("HEAD /watch HTTP/1.1\r\nhost: a\r\n\r\n")
        bench.turn()
        #expect(bench.takeText().hasSuffix("transfer-encoding: chunked\r\n\r\n"))
        #expect(bench.handler.endings == [.finished])
        bench.say("POST /method HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(bench.takeText().contains("allow: GET, HEAD\r\n"))
    }

    /// The next request is looked at when the answer before it is out.
    @Test func whoDoesNotReadIsNotRead() {
        let bench = ServiceBench()
        bench.takes = false
        bench.say(get("/echo") + get("/echo"))
        #expect(bench.handler.requests.count == 1)
        #expect(!bench.connection.speech.wantsInput)
        bench.takes = true
        bench.step()
        #expect(bench.handler.requests.count == 2)
        #expect(bench.connection.speech.wantsInput)
    }

    @Test func bodiesAreWelcomedAndDechunked() {
        let bench = ServiceBench()
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
        bench.say(head + "transfer-encoding: chunked\r\n\r\n")
        #expect(bench.takeText() == "HTTP/1.1 100 Continue\r\n\r\n")
        bench.say("3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-after: 1\r\n\r\n")
        #expect(bench.takeText().hasSuffix("content-length: 5\r\n\r\nabcde"))
        // A body that has come unasked needs no welcome.
        bench.say(head + "content-length: 2\r\n\r\nab")
        #expect(bench.takeText().hasPrefix("HTTP/1.1 200"))
        #expect(bench.scope.bodiesBytes == 0)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET\r\n\r\n", 400), ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: more\r\n\r\n", 417),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: " + String(repeating: "x", count: 1024), 431),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 101\r\n\r\n", 413),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n65\r\n"
                + String(repeating: "x", count: 101), 413
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nxx\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", 505),
    ])
    func whatCannotBeServedIsRefused(text: String, status: Int) {
        let bench = ServiceBench(small)
        bench.say(text)
        #expect(bench.text.hasPrefix("HTTP/1.1 \(status) "), "\(bench.text)")
        #expect(bench.text.contains("\r\nconnection: close\r\n"))
        #expect(bench.ending == .inOrder)
        #expect(bench.handler.requests.isEmpty)
        #expect(bench.leaves())
    }

    @Test func longTargetsAreRefused() {
        let bench = ServiceBench()
        bench.say(get("/" + String(repeating: "x", count: 9000)))
        #expect(bench.text.hasPrefix("HTTP/1.1 414 "))
    }

    @Test func valuesCannotSplitAnswers() {
        let bench = ServiceBench()
        bench.say(get("/split"))
        #expect(bench.text.contains("\r\nx-evil: a  b: c\r\n"))
    }

    @Test func slowRequestsAreGivenUp() {
        for start in [
            "P", "PRI * HT", "GET / HT",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab",
        ] {
            let bench = ServiceBench()
            bench.say(start)
            for _ in 0..<29 { bench.pass(.seconds(1)) }
            #expect(bench.ending == nil)
            bench.pass(.seconds(1))
            #expect(bench.text.hasPrefix("HTTP/1.1 408 "), "\(start)")
            #expect(bench.ending == .inOrder)
            #expect(bench.leaves())
        }
    }

    @Test func idleConnectionsEnd() {
        let bench = ServiceBench()
        bench.pass(.seconds(59))
        bench.say(get("/empty"))
        bench.pass(.seconds(59))
        #expect(bench.ending == nil)
        bench.pass(.seconds(1))
        #expect(bench.ending == .inOrder)
    }

    @Test func whoTakesNothingIsReset() {
        let bench = ServiceBench()
        bench.takes = false
        bench.say(get("/big?size=100000"))
        bench.pass(.seconds(29))
        #expect(bench.ending == nil)
        bench.connection.speech.sent(1)
        bench.pass(.seconds(29))
        #expect(bench.ending == nil)
        bench.pass(.seconds(1))
        #expect(bench.ending == .reset)
    }

    @Test func oldClientsAreServed() {
        let bench = ServiceBench()
        bench.say("GET /empty HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        #expect(bench.takeText().contains("connection: keep-alive"))
        bench.say("GET /watch HTTP/1.0\r\n\r\n")
        bench.handler.watches[0].send(Array("{}".utf8))
        bench.handler.watches[0].end()
        bench.step()
        #expect(bench.takeText().hasSuffix("connection: close\r\n\r\n{}\n"))
        #expect(bench.ending == .inOrder)
    }

    @Test func whoHasEndedIsStillAnswered() {
        let bench = ServiceBench()
        bench.takes = false
        bench.say(get("/echo") + get("/empty"))
        bench.endInput()
        bench.takes = true
        bench.step()
        #expect(bench.handler.requests.count == 2)
        #expect(bench.ending == .inOrder)
    }

    @Test func bodiesOfAllAreBounded() throws {
        let bench = ServiceBench(small)
        let other = ServiceConnection(
            bench.scope, slot: 1, peer: ServicePeer(address: .loopback(port: 8)), agreed: nil)
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n"
        Array((head + String(repeating: "x", count: 90)).utf8).withBytes { other.receive($0) }
        #expect(bench.scope.bodiesBytes == 90)
        bench.say(head + String(repeating: "y", count: 61))
        #expect(bench.text.hasPrefix("HTTP/1.1 503 "))
        #expect(bench.scope.bodiesBytes == 90)
        other.speech.abandon(.left)
        #expect(bench.scope.bodiesBytes == 0)
    }

    /// Those without a certificate have a part of it, and never that of others.
    @Test func strangersHaveTheirPart() {
        var limits = small
        limits.strangersBytes = 50
        let bench = ServiceBench(limits)
        let member = ServiceConnection(
            bench.scope, slot: 1,
            peer: ServicePeer(
                address: .loopback(port: 8), isSecure: true, certificate: PeerIdentity()),
            agreed: nil)
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n"
        bench.say(head + String(repeating: "x", count: 51))
        #expect(bench.text.hasPrefix("HTTP/1.1 503 "))
        Array((head + String(repeating: "y", count: 100)).utf8).withBytes { member.receive($0) }
        member.speech.advance()
        #expect(bench.handler.requests.count == 1 && bench.scope.bodiesBytes == 0)
    }
}

@Suite struct ServiceWatchTests {
    @Test func linesGoOutAsChunks() {
        let bench = ServiceBench()
        bench.handler.onWatch = { $0.send(Array("first".utf8)) }
        bench.say(get("/watch"))
        let head = bench.takeText()
        #expect(head.contains("content-type: application/jsonl\r\ntransfer-encoding: chunked\r\n"))
        #expect(head.hasSuffix("\r\n\r\n6\r\nfirst\n\r\n"))
        let watch = bench.handler.watches[0]
        #expect(watch.send([UInt8(ascii: "a")]))
        #expect(watch.send([UInt8(ascii: "b")]))
        #expect(bench.scope.takeMarked() == [0])
        bench.step()
        #expect(bench.takeText() == "4\r\na\nb\n\r\n")
        watch.end()
        #expect(!watch.send([1]))
        #expect(bench.handler.endings.isEmpty)
        bench.step()
        bench.turn()
        #expect(bench.takeText() == "0\r\n\r\n")
        #expect(bench.handler.endings == [.finished])
        // The connection serves on.
        bench.say(get("/empty"))
        #expect(bench.takeText().hasPrefix("HTTP/1.1 204"))
    }

    @Test func silentWatchesShowThatTheyLive() {
        let bench = ServiceBench()
        bench.say(get("/watch"))
        _ = bench.takeText()
        bench.pass(.seconds(14))
        #expect(bench.takeText() == "")
        bench.pass(.seconds(1))
        #expect(bench.takeText() == "1\r\n\n\r\n")
        bench.pass(.seconds(15))
        #expect(bench.takeText() == "1\r\n\n\r\n")
        #expect(bench.ending == nil)
    }

    @Test func aReaderThatStallsIsCutOff() {
        let bench = ServiceBench()
        bench.say(get("/watch"))
        bench.takes = false
        let watch = bench.handler.watches[0]
        // What is on its way does not count: then the backlog fills.
        watch.send([1])
        bench.step()
        #expect(watch.waiting == 0)
        #expect(watch.send([UInt8](repeating: 2, count: 999)))
        #expect(watch.waiting == 1000)
        #expect(bench.handler.endings.isEmpty)
        #expect(!watch.send([]))
        #expect(watch.waiting == 0)
        #expect(bench.ending == .reset)
        // Not from within `send`: who sends may be going through a list of watches.
        #expect(bench.handler.endings.isEmpty)
        bench.turn()
        #expect(bench.handler.endings == [.slow])
        #expect(bench.leaves())
    }

    @Test func aReaderThatTakesNothingIsCutOff() {
        let bench = ServiceBench()
        bench.say(get("/watch"))
        bench.takes = false
        bench.handler.watches[0].send([1])
        bench.step()
        bench.pass(.seconds(30))
        bench.turn()
        #expect(bench.ending == .reset)
        #expect(bench.handler.endings == [.slow])
    }

    @Test func muchThatCanWaitIsSaidAsThereIsRoom() {
        let bench = ServiceBench()
        var left = 100
        bench.handler.onWatch = { watch in
            watch.onDrained = { [unowned watch] in
                guard left > 0 else { return watch.end() }
                left -= 1
                #expect(watch.send([UInt8](repeating: UInt8(ascii: "x"), count: 900)))
            }
            watch.send([])
        }
        bench.say(get("/watch"))
        bench.turn()
        #expect(left == 0)
        #expect(bench.sent.filter { $0 == UInt8(ascii: "x") }.count == 90_000 + 0)
        #expect(bench.handler.endings == [.finished])
    }

    @Test func whoLeavesIsNoticed() {
        let bench = ServiceBench()
        bench.say(get("/watch"))
        bench.endInput()
        bench.turn()
        #expect(bench.handler.endings == [.left])
        #expect(bench.ending == .inOrder)
        #expect(bench.leaves())
    }

    @Test func watchesAreBounded() {
        var limits = ServiceLimits()
        limits.watches = 0
        let bench = ServiceBench(limits)
        bench.say(get("/watch"))
        #expect(bench.takeText().hasPrefix("HTTP/1.1 503 "))
        bench.turn()
        #expect(bench.handler.endings == [.refused])
        bench.handler.onWatch = { $0.send([UInt8](repeating: 0, count: 2000)) }
        bench.say(get("/watch"))
        bench.turn()
        #expect(bench.handler.endings == [.refused, .slow])
        #expect(bench.ending == nil)
    }

    @Test func watchesEndInOrderWhenTheServiceStops() {
        let bench = ServiceBench()
        bench.say(get("/watch"))
        _ = bench.takeText()
        bench.handler.watches[0].send([UInt8(ascii: "z")])
        bench.scope.isDraining = true
        bench.connection.speech.drain()
        bench.step()
        bench.turn()
        #expect(bench.takeText() == "2\r\nz\n\r\n0\r\n\r\n")
        #expect(bench.handler.endings == [.stopped])
        #expect(bench.ending == .inOrder)
    }

    // MARK: Held answers

    /// Nothing goes out before the answer, however long that takes; then the connection goes on.
    @Test func whatIsHeldIsAnsweredWhole() {
        let bench = ServiceBench()
        bench.say(get("/held") + get("/empty"))
        bench.pass(.seconds(600))
        #expect(bench.takeText() == "")
        #expect(bench.handler.watches[0].isOpen)
        #expect(bench.handler.watches[0].answer(200, body: Array("late".utf8)))
        #expect(!bench.handler.watches[0].answer(200))
        bench.turn()
        let text = bench.takeText()
        #expect(text.contains("content-length: 4\r\n\r\nlateHTTP/1.1 204 No Content\r\n"))
        #expect(bench.handler.endings == [.finished])
        #expect(bench.leaves())
    }

    @Test func whatIsHeldMayBeAnsweredAtOnce() {
        let bench = ServiceBench()
        bench.handler.onWatch = { $0.answer(304) }
        bench.say(get("/held"))
        bench.turn()
        #expect(bench.takeText().hasPrefix("HTTP/1.1 304 Not Modified\r\n"))
        #expect(bench.ending == nil)
        #expect(bench.leaves())
    }

    @Test func whatIsHeldEndsWithItsClientAndItsService() {
        let bench = ServiceBench()
        bench.say(get("/held"))
        bench.endInput()
        bench.turn()
        #expect(bench.handler.endings == [.left])
        #expect(!bench.handler.watches[0].answer(200))
        let other = ServiceBench()
        other.say(get("/held"))
        other.scope.isDraining = true
        other.connection.speech.drain()
        other.turn()
        #expect(other.takeText().hasPrefix("HTTP/1.1 503 "))
        #expect(other.handler.endings == [.stopped])
        #expect(other.ending == .inOrder)
    }
}
