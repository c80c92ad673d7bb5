use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::scenario::Load;

/// Someone who does the work of a scenario.
pub(crate) trait Contestant {
    fn name(&self) -> &'static str;

    /// Persists all events of a load in a new file, and says how that went.
    ///
    /// What counts is completed work: the clock stops at the last reply that was given after its event was durable.
    /// `rows_a_commit` is what one commit should hold, for those who choose it.
    fn persist(&self, load: &Load, folder: &Path, rows_a_commit: u32) -> Result<Persisted>;

    /// Brings all entities back that [`Contestant::persist`] put into `folder`; the clock runs from the first read to the
    /// moment at which all are ready to decide, and does not count opening the file.
    fn recover(&self, load: &Load, folder: &Path) -> Result<Duration>;
}

/// How persisting went.
pub(crate) struct Persisted {
    pub(crate) elapsed: Duration,
    /// Nanoseconds from command to reply.
    pub(crate) latencies: Histogram<u64>,
    /// `None`: not known.
    pub(crate) commits: Option<u32>,
}

impl Persisted {
    pub(crate) fn rows_a_commit(&self, load: &Load) -> Option<f64> {
        let commits = self.commits.filter(|commits| *commits > 0)?;
        Some(f64::from(load.events()) / f64::from(commits))
    }

    pub(crate) fn rounded_rows_a_commit(&self, load: &Load) -> Option<u32> {
        let commits = self.commits.filter(|commits| *commits > 0)?;
        Some(((load.events() + commits / 2) / commits).max(1))
    }
}
