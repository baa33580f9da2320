import Glibc

/// How many descriptors this process may have open.
public enum DescriptorLimit {
    /// Takes as many as the system lets us have, and returns how many that is.
    @discardableResult
    public static func raise() -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard unsafe getrlimit(resource, &limit) == 0 else { return .max }
        limit.rlim_cur = limit.rlim_max
        unsafe _ = setrlimit(resource, &limit)
        return Int(clamping: limit.rlim_cur)
    }
}
