// The time that a request is told to have. A service that keeps deadlines does nothing for one
// whose time is over, and tells the services that it calls what is left.

import Base
import Wire

extension AppWorker {
    /// A request has come that says how long it is waited for.
    func noteDeadline(_ exchange: Int, _ left: Duration) {
        counters.tell(left: left)
        // Calls of gRPC have deadlines of their own, whoever the service is.
        let isCall = exchange >= Self.connectionLimit && isRPC(exchange)
        if keepsDeadlines, !isCall { exchanges[exchange].expires = now + left }
    }

    /// Whether the time of a request is over; then it has its answer.
    func endsLate(_ exchange: Int) -> Bool {
        guard exchanges[exchange].expires <= now else { return false }
        giveUp(exchange)
        return true
    }

    /// Ends a request whose time is over.
    func giveUp(_ exchange: Int) {
        exchanges[exchange].isLate = true
        leave(exchange)
        replyText(exchange, status: 504) { $0.append("the time for the answer is over\n") }
    }

    /// What a call tells of the time that is left, as a line.
    func writeDeadline(of exchange: Int, to out: inout ByteWriter) {
        let expires = exchanges[exchange].expires
        guard expires < .distantFuture else { return }
        out.append("x-envoy-expected-rq-timeout-ms: ")
        out.append(decimal: UInt64(max(1, (expires - now).nanoseconds / 1_000_000)))
        out.append("\r\n")
    }
}
