// What an `EtcdStore` needs of the world: somebody who asks etcd, and news of what it holds.

import Base
import ControlCore

/// What became of a question.
enum EtcdReply: Equatable {
    case answer(status: Int, body: [UInt8])
    /// It was not asked: nobody took the connection.
    case unsent(String)
    /// It may have been asked, and the answer has not come.
    case unanswered(String)
}

/// What happens without being asked for.
enum EtcdNews: Sendable {
    case update(EtcdUpdate)
    /// A lease that should have been kept alive has ended.
    case ended(lease: UInt64)
    /// Etcd has answered the one who watches it, at this instant.
    case well(Instant)
    /// It has not, for this reason.
    case trouble(String)
}

/// The way to etcd. For one thread.
protocol EtcdLink: AnyObject {
    var now: Instant { get }
    /// Asks, and waits for the answer until `deadline` at the latest. What is asked next may go to
    /// another member of the cluster.
    func ask(_ request: EtcdRequest, until deadline: Instant) -> EtcdReply
    /// The news since, in order.
    func takeNews() -> [EtcdNews]
    /// Waits until there are news, or the deadline has come.
    func waitForNews(until deadline: Instant)
    /// Asks for a lease to be kept alive, soon. Does not wait.
    func keepAlive(_ lease: UInt64)
}
