use std::fs;

/// What the machine did, in ticks since it started; to tell how much of it was not ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    total: u64,
    idle: u64,
    steal: u64,
    own: u64,
}

impl Ticks {
    /// `None` where there is no `/proc`.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let cpu: Vec<u64> =
            stat.lines().next()?.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guest time is part of user time.
        let [_, _, _, idle, iowait, _, _, steal] = *cpu.first_chunk()?;
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is a name that may hold blanks; user and system time are the 14th and 15th, those of children that
        // have ended the 16th and 17th.
        let fields = own.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        let own = fields.map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self { total: cpu.iter().take(8).sum(), idle: idle + iowait, steal, own })
    }

    /// What others had of the machine since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Option<Others> {
        let total = self.total.checked_sub(earlier.total).filter(|ticks| *ticks > 0)?;
        let idle = self.idle.saturating_sub(earlier.idle);
        let steal = self.steal.saturating_sub(earlier.steal);
        let own = self.own.saturating_sub(earlier.own);
        let others = total.saturating_sub(idle + steal + own);
        Some(Others { processes: percent(others, total), steal: percent(steal, total) })
    }
}

/// Percent of the machine's time that others had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Others {
    /// Other processes, and the kernel on its own account.
    pub(crate) processes: f64,
    /// Other virtual machines.
    steal: f64,
}

impl Others {
    /// Too much to trust more than the ratios.
    pub(crate) fn disturbed(self) -> bool {
        self.processes > MUCH_PERCENT || self.steal > MUCH_STEAL_PERCENT
    }

    pub(crate) fn describe(self) -> String {
        format!("others had {:.0} % of the machine, {:.1} % was stolen from it", self.processes, self.steal)
    }
}

/// The load average of the last minute.
pub(crate) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[allow(clippy::cast_precision_loss, reason = "percents of ticks need few digits")]
fn percent(part: u64, total: u64) -> f64 {
    100.0 * part as f64 / total as f64
}

const MUCH_PERCENT: f64 = 15.0;
const MUCH_STEAL_PERCENT: f64 = 3.0;
