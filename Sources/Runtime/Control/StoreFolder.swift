public import Posix

/// What a store asks of the folder that it lives in. The disk is one; the tests have another, which
/// loses power.
///
/// What is written is safe only after `sync`, what is created, renamed or removed only after
/// `syncFolder`. Every function throws what the system says.
public protocol StoreFolder {
    /// An open file, which stays the same when it is renamed.
    associatedtype File

    /// The names of everything in the folder.
    func names() throws(SystemError) -> [String]
    /// All of a file.
    func contents(of name: String) throws(SystemError) -> [UInt8]
    /// A new file; an old one of the name is emptied.
    func create(_ name: String) throws(SystemError) -> File
    /// A file that is there, for writing.
    func open(_ name: String) throws(SystemError) -> File
    /// Writes at `offset`, perhaps not all.
    /// - Returns: the number of bytes written, at least 1 if there are any.
    func write(_ bytes: ArraySlice<UInt8>, to file: File, at offset: Int) throws(SystemError) -> Int
    /// Makes the file `size` bytes long.
    func cut(_ file: File, to size: Int) throws(SystemError)
    /// Brings the file's bytes and its size to the disk.
    func sync(_ file: File) throws(SystemError)
    /// Gives a file another name; one that had it is gone.
    func rename(_ name: String, to newName: String) throws(SystemError)
    func remove(_ name: String) throws(SystemError)
    /// Brings the names to the disk.
    func syncFolder() throws(SystemError)
}
