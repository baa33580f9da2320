import ControlCore
import Model

/// Those who watch, and how far each has been told. For the service's thread alone.
///
/// Nobody's news are kept for him: they stand in the store's history, and a watch is given as many
/// as it takes (back-pressure). One that has fallen behind what the history holds is ended; when
/// it asks anew it is told that it has to read everything again.
final class ControlWatches {
    private final class Watcher {
        let watch: ServiceWatch
        /// It has been told everything up to here.
        var after: UInt64

        init(_ watch: ServiceWatch, after: UInt64) {
            self.watch = watch
            self.after = after
        }
    }

    private let store: any MeshStore
    private let codec: MeshCodec
    private var watchers: [ObjectIdentifier: Watcher] = [:]
    /// The last line that was made: the others want the same one.
    private var last: (revision: UInt64, line: [UInt8]?)?

    /// Bytes that wait for a client before the history is asked for more.
    private static var room: Int { 256 * 1024 }
    /// Bound: one line, which may be a revision as large as the store takes, beyond `room`. Lines
    /// are shared between watches.
    private static var backlog: Int { StoreLimits.frameBytes + (16 << 20) }

    init(_ store: any MeshStore, codec: MeshCodec) {
        self.store = store
        self.codec = codec
    }

    var count: Int { watchers.count }

    /// A watch of what follows `revision`; nil: the history does not have that.
    func watch(after revision: UInt64) -> ServiceWatch? {
        guard case .commits = store.state.events(after: revision, limit: 1) else { return nil }
        let watch = ServiceWatch(backlog: Self.backlog)
        let watcher = Watcher(watch, after: revision)
        let name = ObjectIdentifier(watch)
        watchers[name] = watcher
        watch.onEnd = { [weak self] _ in self?.watchers[name] = nil }
        watch.onDrained = { [weak self, weak watcher] in
            if let watcher { self?.feed(watcher) }
        }
        feed(watcher)
        return watch
    }

    /// The store has changed.
    func feed() {
        for watcher in watchers.values { feed(watcher) }
    }

    private func feed(_ watcher: Watcher) {
        let watch = watcher.watch
        while watch.isOpen, watch.waiting < Self.room {
            guard case .commits(let commits) = store.state.events(after: watcher.after, limit: 64)
            else { return watch.end() }
            guard !commits.isEmpty else { return }
            for commit in commits {
                if let line = line(commit), !watch.send(line) { return }
                watcher.after = commit.revision
                guard watch.waiting < Self.room else { return }
            }
        }
    }

    private func line(_ commit: StoreCommit) -> [UInt8]? {
        if let last, last.revision == commit.revision { return last.line }
        let line = ControlText.line(commit, codec: codec)
        last = (commit.revision, line)
        return line
    }
}
