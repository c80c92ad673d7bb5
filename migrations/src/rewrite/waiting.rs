use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::RewriteError;
use crate::MemberError;

/// Waits for those who stand against a rewriting, for so long in all, and says for whom: each reason once.
pub(super) struct Waiting<'a> {
    began: Instant,
    limit: Duration,
    said: BTreeSet<String>,
    says: &'a (dyn Fn(&str) + Send + Sync),
}

impl<'a> Waiting<'a> {
    pub(super) fn new(limit: Duration, says: &'a (dyn Fn(&str) + Send + Sync)) -> Self {
        Self { began: Instant::now(), limit, said: BTreeSet::new(), says }
    }

    /// Waits a little.
    ///
    /// # Errors
    /// The same error when it is none that passes, or it was waited for long enough.
    pub(super) async fn wait_or_give_up(&mut self, error: RewriteError) -> Result<(), RewriteError> {
        let error = match error {
            RewriteError::Member(MemberError::Refused { form, reason }) => {
                RewriteError::InTheWay { form, reason }
            }
            error => error,
        };
        let passes = matches!(
            error,
            RewriteError::InTheWay { .. } | RewriteError::Refused { .. } | RewriteError::Hosted { .. }
        );
        if !passes || self.began.elapsed() >= self.limit {
            return Err(error);
        }
        let sentence = error.to_string();
        if !self.said.contains(&sentence) {
            (self.says)(&sentence);
            self.said.insert(sentence);
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
