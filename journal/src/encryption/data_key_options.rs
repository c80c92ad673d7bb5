use std::time::Duration;

use super::ScopeOf;
use crate::WriterId;

/// How [`DataKeys`](super::DataKeys) are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyOptions {
    /// Of how many ids the keys are kept in memory, about 600 bytes each; 100,000 by default.
    pub cached_ids: usize,
    /// How long this process counts as running after it was heard of, by the store's clock; 30 seconds by default. It says so three times
    /// as often. A rotation waits as long for a process that was killed.
    pub lease: Duration,
    /// How often the master keys are looked at for newer ones; 5 seconds by default.
    pub watch: Duration,
    /// As what the process is registered; `None`, the default, draws an id.
    pub process: Option<WriterId>,
    /// To which scope an id belongs, so that it is erased with the others; `None`, the default: to none.
    pub scopes: Option<ScopeOf>,
}

impl Default for DataKeyOptions {
    fn default() -> Self {
        let (lease, watch) = (Duration::from_secs(30), Duration::from_secs(5));
        Self { cached_ids: 100_000, lease, watch, process: None, scopes: None }
    }
}
