//! Names of the metrics of projections. Each has the label `projection`; the gauges have `slices`, too.
//!
//! | metric | kind | unit | what |
//! |---|---|---|---|
//! | `annals_projection_events` | counter | events | handed to the handler, and stored |
//! | `annals_projection_batch_seconds` | histogram | seconds | from handing a batch to the handler to its commit |
//! | `annals_projection_delay_seconds` | histogram | seconds | from the decision about the last event of a batch to the batch's commit |
//! | `annals_projection_lag_seconds` | gauge | seconds | age of the last projected event while there are more; 0: nothing waits |
//! | `annals_projection_failures` | counter | failures | a handler could not take what it was given |
//! | `annals_projection_skipped` | counter | events | became dead letters |
//! | `annals_projection_interruptions` | counter | times | the journal or the view's database could not be asked |
//! | `annals_projection_fencings` | counter | times | a newer instance took a projection over from this one |

use annals_journal::{SliceRange, Timestamp};
use metrics::{Counter, Gauge, Histogram};

use crate::progress::name_of;

/// Events that were handed to the handler, and stored.
pub const EVENTS: &str = "annals_projection_events";
/// How long a batch took, in seconds.
pub const BATCH_SECONDS: &str = "annals_projection_batch_seconds";
/// How long after its decision the last event of a batch was projected, in seconds.
pub const DELAY_SECONDS: &str = "annals_projection_delay_seconds";
/// Age of the last projected event while there are more, in seconds.
pub const LAG_SECONDS: &str = "annals_projection_lag_seconds";
/// What handlers could not take.
pub const FAILURES: &str = "annals_projection_failures";
/// Events that became dead letters.
pub const SKIPPED: &str = "annals_projection_skipped";
/// Times in which the journal or the view's database could not be asked.
pub const INTERRUPTIONS: &str = "annals_projection_interruptions";
/// Times in which a newer instance took over.
pub const FENCINGS: &str = "annals_projection_fencings";

/// Handles of the metrics of one reader, made once.
pub(crate) struct ReaderMetrics {
    pub(crate) events: Counter,
    pub(crate) batch_seconds: Histogram,
    pub(crate) delay_seconds: Histogram,
    lag_seconds: Gauge,
    pub(crate) failures: Counter,
    pub(crate) skipped: Counter,
    pub(crate) interruptions: Counter,
    pub(crate) fencings: Counter,
}

impl ReaderMetrics {
    pub(crate) fn new(name: &str, slices: SliceRange) -> Self {
        let name = || name.to_owned();
        Self {
            events: metrics::counter!(EVENTS, "projection" => name()),
            batch_seconds: metrics::histogram!(BATCH_SECONDS, "projection" => name()),
            delay_seconds: metrics::histogram!(DELAY_SECONDS, "projection" => name()),
            lag_seconds: metrics::gauge!(LAG_SECONDS, "projection" => name(), "slices" => name_of(slices)),
            failures: metrics::counter!(FAILURES, "projection" => name()),
            skipped: metrics::counter!(SKIPPED, "projection" => name()),
            interruptions: metrics::counter!(INTERRUPTIONS, "projection" => name()),
            fencings: metrics::counter!(FENCINGS, "projection" => name()),
        }
    }

    /// `last`: when the last projected event was decided, while there are more.
    pub(crate) fn lags(&self, last: Option<Timestamp>) {
        self.lag_seconds.set(last.map_or(0.0, |last| Timestamp::now().since(last).as_secs_f64()));
    }
}
