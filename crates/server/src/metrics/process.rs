//! What the system says about our process, from `/proc`. A value that cannot be read is left out.

use super::Page;
use std::fs;

/// Clock ticks a second in `/proc`, the same on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Writes the `process_*` and `os_fd_*` families.
pub(crate) fn collect_process(page: &mut Page) {
    stat(page);
    if let Some((open, limit)) = descriptors() {
        page.gauge("os_fd_used", "File descriptors in use.", open as f64);
        page.gauge(
            "os_fd_limit",
            "File descriptors that may be in use.",
            limit as f64,
        );
        page.gauge("process_open_fds", "File descriptors in use.", open as f64);
        page.gauge(
            "process_max_fds",
            "File descriptors that may be in use.",
            limit as f64,
        );
    }
    if let Some(limit) = limit("Max address space") {
        let name = "process_virtual_memory_max_bytes";
        page.gauge(
            name,
            "Virtual memory that may be in use, in bytes.",
            limit as f64,
        );
    }
    network(page);
}

fn stat(page: &mut Page) -> Option<()> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold blanks.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<f64> = fields
        .split(' ')
        .map(|n| n.trim().parse().unwrap_or(0.0))
        .collect();
    // Numbers as in proc(5), less the three fields before the first of ours.
    let field = |number: usize| fields.get(number - 3).copied();
    let ticks = field(14)? + field(15)?;
    page.counters(
        "process_cpu_seconds_total",
        "Processor time used, in seconds.",
    )
    .row(&[], ticks / TICKS_PER_SECOND);
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot = boot
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse::<f64>()
        .ok()?;
    let start = boot + field(22)? / TICKS_PER_SECOND;
    page.gauge(
        "process_start_time_seconds",
        "When the process began, in unix seconds.",
        start,
    );
    page.gauge(
        "process_virtual_memory_bytes",
        "Virtual memory in use, in bytes.",
        field(23)?,
    );
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    let resident = kibibytes * 1024.0;
    page.gauge(
        "process_resident_memory_bytes",
        "Memory in use, in bytes.",
        resident,
    );
    Some(())
}

/// File descriptors in use and how many may be.
pub(crate) fn descriptors() -> Option<(u64, u64)> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some((open, limit("Max open files")?))
}

/// The soft limit in the line of `/proc/self/limits` that starts with `name`.
fn limit(name: &str) -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn network(page: &mut Page) -> Option<()> {
    let netstat = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = netstat.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let find = |name: &str| {
        let at = names.split(' ').position(|found| found == name)?;
        values.split(' ').nth(at)?.parse::<u64>().ok()
    };
    for (name, help, octets) in [
        (
            "process_network_receive_bytes_total",
            "Bytes received over the network.",
            "InOctets",
        ),
        (
            "process_network_transmit_bytes_total",
            "Bytes sent over the network.",
            "OutOctets",
        ),
    ] {
        page.counter(name, help, find(octets)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_describes_itself() {
        let mut page = Page::new();
        collect_process(&mut page);
        let text = page.print();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.expect(name).parse().expect(name)
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("os_fd_limit") >= value("os_fd_used"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
