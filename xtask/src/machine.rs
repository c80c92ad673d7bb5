use std::fs;

/// What this machine is, in a few words; for reports. Unknown parts are left out.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut parts = vec![format!("{cores} cores")];
    parts.extend(field("/proc/cpuinfo", "model name"));
    parts.extend(field("/proc/meminfo", "MemTotal").and_then(|total| {
        let kib: u64 = total.trim_end_matches("kB").trim().parse().ok()?;
        Some(format!("{} GiB of memory", kib.div_ceil(1 << 20)))
    }));
    parts.extend(
        fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| format!("kernel {}", text.trim())),
    );
    parts.join(", ")
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
