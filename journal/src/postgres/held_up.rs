//! Says how long readers have been held up by transactions that are open, and by whom.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::Gauge;
use sqlx::Row as _;

use super::Database;
use crate::telemetry::READERS_HELD_SECONDS;

/// Since when something lies behind an open transaction. Without a clock: callers say the time.
#[derive(Default)]
pub(super) struct HeldUp {
    state: Mutex<Option<Since>>,
}

struct Since {
    began: Instant,
    said: Option<Instant>,
}

impl HeldUp {
    /// A page was read; `complete`: nothing lay behind an open transaction. How long readers have been held up, and whether that is to be
    /// said aloud.
    fn read(&self, complete: bool, now: Instant) -> (Duration, bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if complete {
            *state = None;
            return (Duration::ZERO, false);
        }
        let since = state.get_or_insert(Since { began: now, said: None });
        let held = now.saturating_duration_since(since.began);
        let last = since.said.map_or(held, |said| now.saturating_duration_since(said));
        let say = last >= if since.said.is_some() { BETWEEN } else { FIRST };
        if say {
            since.said = Some(now);
        }
        (held, say)
    }
}

/// Takes note of a page.
pub(super) async fn note(database: &Database, complete: bool) {
    let (held, say) = database.held_up().read(complete, Instant::now());
    gauge().set(held.as_secs_f64());
    if say {
        match holders(database).await {
            Ok(holders) => tracing::warn!(
                server = database.server(),
                held_seconds = held.as_secs(),
                holders,
                "readers are held up by a transaction that is open: nothing is lost; end it, or see docs/backends.md#offsets"
            ),
            Err(error) => tracing::debug!(%error, "who holds readers up cannot be asked"),
        }
    }
}

/// The transactions that hold readers up, the oldest number first: process, role, database, application, state, age. Never their statements.
async fn holders(database: &Database) -> Result<String, crate::JournalError> {
    const OLDEST: &str = "\
        SELECT said FROM (
            SELECT format('process %s of role %s in database %s (%s, %s, %s s)', pid, usename, datname, application_name, state,
                          round(extract(epoch FROM clock_timestamp() - xact_start))) AS said, age(backend_xid) AS age
            FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
            UNION ALL
            SELECT format('prepared transaction %s of role %s in database %s (%s s)', gid, owner, database,
                          round(extract(epoch FROM clock_timestamp() - prepared))), age(transaction)
            FROM pg_prepared_xacts
        ) open ORDER BY age DESC LIMIT 5";
    let rows = database.rows(|| sqlx::query(OLDEST)).await?;
    let holders: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    Ok(if holders.is_empty() {
        "none that this role may see (grant it pg_read_all_stats)".to_owned()
    } else {
        holders.join("; ")
    })
}

fn gauge() -> Gauge {
    metrics::gauge!(READERS_HELD_SECONDS)
}

/// An append of another node is over before.
const FIRST: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_and_not_too_often() {
        let (held, t) = (HeldUp::default(), Instant::now());
        let at = |millis| t + Duration::from_millis(millis);
        assert_eq!(held.read(false, at(0)), (Duration::ZERO, false));
        assert_eq!(held.read(false, at(999)), (Duration::from_millis(999), false));
        assert_eq!(held.read(false, at(1_000)), (Duration::from_secs(1), true));
        assert_eq!(held.read(false, at(30_000)), (Duration::from_secs(30), false));
        assert_eq!(held.read(false, at(31_000)), (Duration::from_secs(31), true));
        assert_eq!(held.read(true, at(32_000)), (Duration::ZERO, false));
        assert_eq!(held.read(false, at(40_000)), (Duration::ZERO, false));
    }
}
