use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::Timestamp;
use uuid::{NoContext, Uuid};

/// Tells the time; tests set it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// This moment.
    fn now(&self) -> Timestamp;
}

/// Makes new ids; tests set them.
pub trait Ids: fmt::Debug + Send + Sync + 'static {
    /// A new UUIDv7 of this moment.
    fn new_id(&self, now: Timestamp) -> Uuid;
}

/// 30 years: longer than any process runs, and still a moment that a clock can show. What a user's `Duration::MAX` becomes.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Where time and randomness come from.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), ids: Arc::new(RandomIds) }
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Ids from the system's source of randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn new_id(&self, now: Timestamp) -> Uuid {
        let micros = now.as_micros();
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or_default() * 1_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, micros / 1_000_000, nanos))
    }
}
