import CShims

/// The part of a process's memory that is its program.
public enum ProgramMemory {
    /// Gives back what is mapped of the program's code and constants. What is used again comes back
    /// from the page cache, in pieces of 64 KiB; what only the start needed does not: of a proxy,
    /// reading configurations, joining and all that goes with them.
    public static func release() { mb_release_program() }
}
