import CShims

/// FNV-1a, 64 bits, of a whole file: which build it was, not a defence against anybody. Nil where
/// the file cannot be read.
public func fileHash(_ path: String) -> UInt64? {
    var hash: UInt64 = 0
    return unsafe mb_hash_file(path, &hash) == 0 ? hash : nil
}
