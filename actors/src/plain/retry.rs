use std::hash::{BuildHasher, RandomState};

use backon::Retryable;
use metrics::counter;
use tracing::debug;

use super::Backoff;
use crate::telemetry::RETRIES;

/// Repeats an operation that failed, with growing pauses, as long as `again` says that another try may help.
///
/// At most `retries` times after the first; then the last error comes back. Repeat only what may be done twice.
///
/// ```
/// # use std::time::Duration;
/// # use annals_actors::plain::{ActorRef, Backoff, NoAnswer, ReplyTo, retry};
/// # enum Till { Total { reply_to: ReplyTo<u64> } }
/// # async fn example(till: ActorRef<Till>) -> Result<(), NoAnswer> {
/// let cents = retry(
///     Backoff::default(),
///     3,
///     || till.ask(|reply_to| Till::Total { reply_to }, Duration::from_secs(1)),
///     |error| matches!(error, NoAnswer::TimedOut { .. }),
/// )
/// .await?;
/// # let _: u64 = cents;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The operation's last error.
///
/// # Cancel safety
/// Dropping the future drops the try that is under way.
pub async fn retry<T, E, F>(
    backoff: Backoff,
    retries: usize,
    operation: impl FnMut() -> F,
    again: impl FnMut(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let chance = RandomState::new();
    let pauses = (0..retries).map(move |before| {
        let bits = u32::try_from(chance.hash_one(before) >> 32).unwrap_or_default();
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        backoff.pause(before, f64::from(bits) / f64::from(u32::MAX))
    });
    operation
        .retry(pauses)
        .sleep(tokio::time::sleep)
        .when(again)
        .notify(|_, pause| {
            counter!(RETRIES).increment(1);
            debug!(?pause, "failed: tries again");
        })
        .await
}
