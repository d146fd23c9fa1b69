//! What a process takes of the machine, from Linux's `/proc`.

use std::time::Duration;

/// Linux counts the time of processes in hundredths of a second, whatever the kernel was built with.
const TICK: Duration = Duration::from_millis(10);

/// What a process has taken so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Time on processors, all together.
    pub cpu: Duration,
    /// Memory that is in use, in bytes.
    pub memory: u64,
}

impl Usage {
    /// Of this process or another one; `None` where that cannot be told.
    pub(super) fn of(pid: Option<u32>) -> Option<Self> {
        let folder = pid.map_or_else(|| "/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(format!("{folder}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
        Self::parse(&stat, &status)
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The program's name stands in brackets and may have spaces; user and system time are the 12th and 13th field behind it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u32>().ok();
        let cpu = TICK.checked_mul(ticks()?.checked_add(ticks()?)?)?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Self { cpu, memory: kilobytes * 1024 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 1 1 1";
        let status = "Name:\ta\nVmHWM:\t  9999 kB\nVmRSS:\t    2048 kB\n";
        let usage = Usage::parse(stat, status).unwrap();
        assert_eq!(usage, Usage { cpu: Duration::from_secs(2), memory: 2 << 20 });
        assert!(Usage::parse("nonsense", status).is_none());
    }
}
