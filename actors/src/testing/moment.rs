use std::sync::atomic::{AtomicU64, Ordering};

use annals_journal::Timestamp;
use uuid::Uuid;

use crate::{Clock, Ids};

/// The time of a test that sets none: 2026-01-01 00:00 UTC.
pub(super) const NEW_YEAR: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// A clock that stands.
#[derive(Debug)]
pub(super) struct Standing(pub(super) Timestamp);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The ids that a test names, then numbered ones: the same in every run.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    named: Vec<Uuid>,
    used: AtomicU64,
}

impl Numbered {
    pub(super) fn first(named: Vec<Uuid>) -> Self {
        Self { named, used: AtomicU64::new(0) }
    }
}

impl Ids for Numbered {
    fn new_id(&self, now: Timestamp) -> Uuid {
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        let named = usize::try_from(number).ok().and_then(|at| self.named.get(at));
        named.copied().unwrap_or_else(|| {
            let mut bytes = [0; 10];
            bytes[2..].copy_from_slice(&number.to_be_bytes());
            uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &bytes).into_uuid()
        })
    }
}
