use std::future::IntoFuture;
use std::time::Duration;

use annals::prelude::*;

/// Asks until there is an answer or it is clear that there will be none; only for commands that may be repeated.
///
/// A failure that may pass (the journal is busy, the disk is full) and an unknown outcome are asked again, in all for about half a
/// minute; a rejection and other failures are final.
pub(crate) async fn insist<T, R, A>(mut ask: impl FnMut() -> A) -> Result<T, AskError<R>>
where
    A: IntoFuture<Output = Result<T, AskError<R>>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match ask().await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let may_pass = match &error {
            AskError::Rejected(_) => false,
            AskError::Failed(failure) => failure.is_transient(),
            AskError::Unknown(_) => true,
        };
        if !may_pass || pause > LONGEST_PAUSE {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);
