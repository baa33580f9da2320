// What every part of a run needs: which program is started, where files go, and who may stop it.

import Base
import Posix

/// The surroundings of one run.
public struct Workplace {
    let program: Program
    /// The copy of the program from which the proxies under test are started; absolute.
    let proxyProgram: String
    public var folder: ResultsFolder
    public var interrupts: Interrupts
    let journal: Journal
    /// Nil where no arm needs any.
    private(set) var credentials: Credentials?

    public init(program: Program, folder: ResultsFolder, interrupts: Interrupts) throws(RigError) {
        self.program = program
        self.folder = folder
        // The pages of the proxies' code are theirs alone; see `Program.copy(to:)`.
        proxyProgram = absolutePath(try folder.folder("scratch/program")) + "/meshbench"
        try program.copy(to: proxyProgram)
        self.interrupts = interrupts
        journal = try Journal(path: folder.path + "/journal.jsonl")
    }

    /// Makes the certificates of the run, where any are needed.
    mutating func issue(_ identities: Set<String>) throws(RigError) {
        guard !identities.isEmpty else { return }
        let folder = absolutePath(try folder.folder("scratch")) + "/credentials"
        credentials = try Credentials(identities, in: folder)
        journal.note("certificates", ["of": identities.sorted().joined(separator: " ")])
    }

    /// Waits until one of `descriptors` is readable or `deadline` comes, and watches for the user's
    /// wish to stop.
    /// - Throws: `.interrupted`.
    func wait(for descriptors: [Int32], until deadline: Instant) throws(RigError) {
        _ = waitReadable(descriptors + [interrupts.descriptor], for: deadline - Clock.now())
        try interrupts.check()
    }
}
