//! How much memory a process took, where the system tells.

/// Largest resident set of this process so far, in bytes; `None` where the system
/// does not tell (Linux does, in `/proc`).
pub fn peak_bytes() -> Option<u64> {
    peak_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM` of the text of a process's `/proc/<id>/status`, in bytes.
pub fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kilobytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_a_processs_status() {
        let status = "Name:\tspar\nVmPeak:\t  900000 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_in(status), Some(12_345 * 1024));
        assert_eq!(peak_in("Name:\tspar\n"), None);
    }
}
