// What every part of a run needs: where the program is, where files go, and who may stop it.

import Base
import Posix

/// The surroundings of one run.
public struct Workplace {
    /// The program whose roles are started; absolute.
    public var program: String
    public var folder: ResultsFolder
    public var interrupts: Interrupts
    let journal: Journal

    public init(program: String, folder: ResultsFolder, interrupts: Interrupts) throws(RigError) {
        self.program = program
        self.folder = folder
        self.interrupts = interrupts
        journal = try Journal(path: folder.path + "/journal.jsonl")
    }

    /// Waits until one of `descriptors` is readable or `deadline` comes, and watches for the user's
    /// wish to stop.
    /// - Throws: `.interrupted`.
    func wait(for descriptors: [Int32], until deadline: Instant) throws(RigError) {
        _ = waitReadable(descriptors + [interrupts.descriptor], for: deadline - Clock.now())
        try interrupts.check()
    }
}
