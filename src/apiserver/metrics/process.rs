//! The process itself, as every Prometheus client library tells of it.

use super::layers::{head, line};

/// Clock ticks in a second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;

/// Memory, time and files; what `/proc` does not tell is left out.
pub(super) fn render(out: &mut String) {
    let mut gauge = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            head(out, name, kind, help);
            line(out, name, "", value);
        }
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |field: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024.0)
    };
    gauge(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        kib("VmRSS:"),
    );
    gauge(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory size in bytes.",
        kib("VmSize:"),
    );
    // Behind the name in parentheses: utime and stime are fields 14 and 15, starttime is 22.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |field: usize| -> Option<f64> { fields.get(field - 3)?.parse().ok() };
    gauge(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        ticks(14)
            .zip(ticks(15))
            .map(|(user, system)| (user + system) / TICKS),
    );
    let boot = std::fs::read_to_string("/proc/stat").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("btime "));
        line?.trim().parse::<f64>().ok()
    });
    gauge(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        boot.zip(ticks(22)).map(|(boot, start)| boot + start / TICKS),
    );
    let files = std::fs::read_dir("/proc/self/fd").ok();
    gauge(
        "process_open_fds",
        "gauge",
        "Number of open file descriptors.",
        files.map(|files| files.count() as f64),
    );
}
