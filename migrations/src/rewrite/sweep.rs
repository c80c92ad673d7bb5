use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use annals_journal::{Journal, Offset};
use annals_snapshot::SnapshotStore;
use futures::future::BoxFuture;

use super::standing::Compared;
use super::{RewriteError, RewriteReport, Rewriter, Rewritten, Target};
use crate::{AdaptError, Encoded, Form};

/// Puts the events and snapshots of a journal in other versions in their place, while their owners write.
///
/// Id, number, offset, time stamp, token and tags stay. Each event is replaced only where its bytes are still those that were read, so
/// nothing that an owner does is undone, and no owner is fenced: one that recovers meanwhile reads each event in its old form or in its new one,
/// which mean the same. What is done is done: a sweep that was killed is started again, and passes over it.
///
/// # Cancel safety
/// A sweep whose future is dropped has replaced some events and not others; start it again.
pub struct Sweep {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) snapshots: Arc<dyn SnapshotStore>,
    pub(super) rewriter: Rewriter,
    pub(super) target: Target,
    pub(super) settings: RewriteSettings,
    pub(super) clear: Option<Clear>,
    /// Forms that may be written.
    pub(super) cleared: Mutex<BTreeSet<(String, Form)>>,
}

/// Asks whether a kind's events may be written in a form; the error is the sentence that says who cannot read it.
pub type Clear = Box<dyn Fn(String, Form) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// How a sweep goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RewriteSettings {
    /// At most so many events a second are looked at; default: as fast as it goes.
    pub events_per_second: Option<u32>,
    /// Also rewrite what is no longer the same when it is read back, because a step down leaves something out; default: it is left alone.
    /// Nobody should host the kinds meanwhile: live state would not be what replay gives.
    pub allow_loss: bool,
}

impl Sweep {
    /// A sweep over a journal and the snapshots beside it.
    pub fn new(
        journal: Arc<dyn Journal>,
        snapshots: Arc<dyn SnapshotStore>,
        rewriter: Rewriter,
        target: Target,
    ) -> Self {
        let (settings, cleared) = Default::default();
        Self { journal, snapshots, rewriter, target, settings, clear: None, cleared }
    }

    /// How it goes.
    #[must_use]
    pub fn settings(mut self, settings: RewriteSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Asks before the first event of a kind is written in a form, so that nothing is written that somebody who runs cannot read (I11).
    #[must_use]
    pub fn clear_with(mut self, clear: Clear) -> Self {
        self.clear = Some(clear);
        self
    }

    /// What [`Sweep::apply`] would do. Writes nothing. `progress` is told how many events, and snapshots, were looked at.
    ///
    /// # Errors
    /// [`RewriteError`] when something cannot be read.
    pub async fn plan(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<RewriteReport, RewriteError> {
        let mut report = RewriteReport::default();
        self.look(Offset::BEGINNING, None, &mut report, progress).await?;
        self.states(false, &mut report, progress).await?;
        Ok(report)
    }

    /// Rewrites, and looks at everything again until there is nothing left to rewrite, at most [`ROUNDS`](Self::ROUNDS) times. The first report says
    /// what was done, the second what the last look found: [`RewriteReport::replaced`] of it is what is still to do, and
    /// [`RewriteReport::compared`] how many events it has found equal to what the rewriting had in mind.
    ///
    /// # Errors
    /// [`RewriteError`]; what was done stays.
    pub async fn apply(
        &self,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(RewriteReport, RewriteReport), RewriteError> {
        let (done, mut found) = self.round(progress).await?;
        for _ in 1..Self::ROUNDS {
            if found.replaced() == 0 {
                break;
            }
            // Owners that run an older build have written meanwhile.
            found = self.round(progress).await?.1;
        }
        Ok((done, found))
    }

    /// Rewrites everything, looks at everything, and compares: one part after the other, and each is looked at while the next is rewritten.
    async fn round(
        &self,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(RewriteReport, RewriteReport), RewriteError> {
        let (mut done, mut found) = (RewriteReport::default(), RewriteReport::default());
        let (mut from, mut compared) = (Offset::BEGINNING, Compared::default());
        let mut part = self.rewrite(from, &mut done, progress).await?;
        while !part.is_last {
            let look = self.look(from, Some(&part), &mut found, progress);
            let (looked, next) = if self.settings.events_per_second.is_none() {
                futures::try_join!(look, self.rewrite(part.end, &mut done, progress))?
            } else {
                // Together they would be twice as fast as they may.
                (look.await?, self.rewrite(part.end, &mut done, progress).await?)
            };
            compared.add(looked);
            from = std::mem::replace(&mut part, next).end;
        }
        compared.add(self.look(from, Some(&part), &mut found, progress).await?);
        self.states(true, &mut done, progress).await?;
        self.states(false, &mut found, progress).await?;
        if compared.has_lost() {
            return Err(RewriteError::Different { of: compared.same });
        }
        found.compared = Some(compared.same);
        Ok((done, found))
    }

    /// How often a sweep begins anew when owners write what it would rewrite.
    pub const ROUNDS: usize = 3;

    pub(super) fn judge(&self, rewritten: Result<Rewritten, AdaptError>) -> Judged {
        match rewritten {
            Ok(Rewritten::Stays) => Judged::Stays,
            Ok(Rewritten::NotHosted) => Judged::NotHosted,
            Ok(Rewritten::Becomes { encoded, loses }) if !loses || self.settings.allow_loss => {
                Judged::Becomes(encoded)
            }
            Ok(Rewritten::Becomes { encoded, .. }) => Judged::Cannot(format!(
                "as {} version {} it would lose something: read back it is not what it was",
                encoded.manifest, encoded.schema_version
            )),
            Err(error) => Judged::Cannot(error.to_string()),
        }
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep")
            .field("journal", &self.journal)
            .field("rewriter", &self.rewriter)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

pub(super) enum Judged {
    Stays,
    NotHosted,
    Becomes(Encoded),
    Cannot(String),
}
