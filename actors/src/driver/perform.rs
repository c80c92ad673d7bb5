use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use annals_journal::{Journal, JournalError, JournalExt, ReplayRange, SeqNr, Token};
use annals_snapshot::SnapshotError;
use futures::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug, error};

use super::errands::Errands;
use super::recovering::{Recovering, Step};
use super::toolkit::Toolkit;
use super::{Driver, Ending};
use crate::PersistentActor;
use crate::effect::SideEffect;
use crate::entity::{Action, Input, WorkOutput};
use crate::panic::message;
use crate::plain::Halt;
use crate::telemetry::RECOVERY_SPAN;

impl<A: PersistentActor> Driver<A> {
    /// Performs the entity's actions.
    pub(super) fn perform(&mut self) {
        if self.entity.has_actions() {
            let mut actions = self.entity.take_actions();
            for action in actions.drain(..) {
                self.perform_one(action);
            }
            self.entity.reuse(actions);
            // At most so many as may be held.
            let held = u32::try_from(self.entity.held()).unwrap_or(u32::MAX);
            if held != self.held {
                self.entities.node.metrics.held_replies.increment(f64::from(held) - f64::from(self.held));
                self.held = held;
            }
        }
        self.begin_side_effect();
    }

    fn perform_one(&mut self, action: Action<A>) {
        let (node, id) = (&self.entities.node, self.entity.id());
        match action {
            Action::Write(write) => self.writes.issue(&node.journal, write),
            Action::Release(delivery, effects) => {
                if delivery.release() {
                    node.metrics.rejections.increment(1);
                }
                for effect in effects {
                    match effect {
                        SideEffect::Run(effect) => self.errands().side_effects.push_back(effect),
                        SideEffect::Do(deed) => self.toolkit().perform(*deed),
                    }
                }
            }
            Action::Fail(delivery, failure) => node.fail(id, delivery, failure),
            Action::Unknown(delivery) => {
                node.metrics.unknown_outcomes.increment(1);
                delivery.unknown(id);
            }
            Action::RefuseMailbox(failure) => {
                while let Some(delivery) = self.inbox.pop() {
                    node.metrics.mailbox_depth.decrement(1.0);
                    node.fail(id, delivery, failure.clone());
                }
                self.ending().failure = Some(failure);
            }
            Action::Claim(token) => self.claim(token),
            Action::Load(at_most) => {
                let (keeper, id) = (Arc::clone(&node.snapshots), id.clone());
                let limit = node.recovery_timeout;
                let recovering = self.recovering();
                let permit = recovering.permit.take();
                let load = async move {
                    let loaded = match timeout(limit, keeper.load(&id, at_most)).await {
                        Ok(loaded) => loaded,
                        Err(_) => Err(SnapshotError::Unavailable {
                            reason: format!("no answer to a load within {limit:?}"),
                            source: None,
                        }),
                    };
                    (Input::Loaded(loaded), permit)
                };
                recovering.step = Step::Once(load.instrument(recovering.span()).boxed());
            }
            Action::Replay(from, to) => {
                let replay = node.journal.replay(ReplayRange::all(id).from(from).to(to));
                self.recovering().step = Step::Replay(replay);
            }
            Action::ForgetWrites => self.writes.forget(),
            Action::Work(work, limit) => {
                let work = async move {
                    match timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
                        Ok(Ok(output)) => WorkOutput::Done(output),
                        Ok(Err(panic)) => WorkOutput::Panicked(message(&*panic)),
                        Err(_) => WorkOutput::TimedOut,
                    }
                };
                self.errands().work = Some(work.boxed());
            }
            Action::CancelWork => {
                if let Some(errands) = &mut self.errands {
                    errands.work = None;
                }
            }
            Action::ClearToolkit => {
                let limit = self.entities.work_limit;
                if let Some(toolkit) = self.errands.as_mut().and_then(|errands| errands.toolkit.as_mut()) {
                    toolkit.clear(Halt::Now, limit);
                }
            }
            Action::Save(snapshot) => {
                let entities = Arc::clone(&self.entities);
                let save = async move { Input::Saved { stored: entities.save(*snapshot).await } };
                self.errands().save = Some(save.boxed());
            }
            Action::Delete(to) => {
                let (entities, id) = (Arc::clone(&self.entities), id.clone());
                let delete = async move { Input::Saved { stored: entities.delete_revisions(&id, to).await } };
                self.errands().save = Some(delete.boxed());
            }
            Action::LeaveAlone(pause) => {
                let until = Instant::now() + self.entities.spread(id, pause);
                self.ending().left_alone = Some(until);
            }
            Action::Rest(pause) => {
                // Those that rest for one reason do not come back together.
                let pause = self.entities.spread(id, pause);
                let recovering = self.recovering();
                recovering.permit = None;
                let rest = async move {
                    tokio::time::sleep(pause).await;
                    (Input::Rested, None)
                };
                recovering.step = Step::Once(rest.boxed());
            }
            Action::Ready { replayed, snapshot } => {
                self.ending = None;
                let began = self.recovering.take().and_then(|recovering| recovering.episode);
                let took = began.map(|(began, _)| began.elapsed()).unwrap_or_default();
                node.metrics.recoveries.increment(1);
                node.metrics.recovered_events.increment(replayed);
                node.metrics.recovery_seconds.record(took.as_secs_f64());
                debug!(persistence_id = %id, replayed, snapshot = snapshot.get(), ?took, "recovered");
            }
            Action::Report(report) => report.say(id, node),
            Action::Stop(reason) => {
                self.recovering = None;
                self.ending().reason = Some(reason);
            }
        }
    }

    fn claim(&mut self, token: Token) {
        let (node, id) = (&self.entities.node, self.id().clone());
        let (journal, claims) = (Arc::clone(&node.journal), Arc::clone(&node.claims));
        let (recoveries, limit) = (Arc::clone(&node.recoveries), node.recovery_timeout);
        let recovering = self.recovering();
        let (_, span) = recovering.episode.get_or_insert_with(|| {
            let persistence_id = id.as_str();
            let span = tracing::info_span!(RECOVERY_SPAN, persistence_id, seq_nr = tracing::field::Empty);
            (Instant::now(), span)
        });
        let span = span.clone();
        let mut permit = recovering.permit.take();
        let claim = async move {
            let claimed = {
                // Closed only when the node is gone; then there is nobody to bound.
                let _turn = claims.acquire().await;
                timeout(limit, journal.claim(&id, token)).await
            };
            let claimed = claimed.unwrap_or_else(|_| {
                let reason = format!("no answer to a claim within {limit:?}");
                Err(JournalError::Unknown { reason, source: None })
            });
            // Now a replay may follow. An id without events needs none.
            let ready = claimed.as_ref().is_ok_and(|head| head.seq_nr == SeqNr::ZERO);
            if permit.is_none() && !ready {
                permit = recoveries.acquire_owned().await.ok();
            }
            (Input::Claimed(claimed), permit)
        };
        recovering.step = Step::Once(claim.instrument(span).boxed());
    }

    /// Side effects run one after the other.
    fn begin_side_effect(&mut self) {
        let Some(errands) = &mut self.errands else { return };
        if errands.side_effect.is_none()
            && let Some(effect) = errands.side_effects.pop_front()
        {
            let (id, limit) = (self.entity.id().clone(), self.entities.work_limit);
            let run = async move {
                match timeout(limit, AssertUnwindSafe(effect).catch_unwind()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(panic)) => {
                        error!(persistence_id = %id, message = message(&*panic), "a side effect panicked");
                    }
                    Err(_) => {
                        error!(persistence_id = %id, ?limit, "a side effect took longer than its limit and was dropped");
                    }
                }
            };
            errands.side_effect = Some(run.boxed());
        }
    }

    fn recovering(&mut self) -> &mut Recovering<A> {
        self.recovering.get_or_insert_with(|| Box::new(Recovering::new()))
    }

    fn errands(&mut self) -> &mut Errands<A> {
        self.errands.get_or_insert_with(|| Box::new(Errands::new()))
    }

    fn toolkit(&mut self) -> &mut Toolkit<A> {
        let (node, id) = (Arc::clone(&self.entities.node), self.id().clone());
        self.errands().toolkit.get_or_insert_with(|| Box::new(Toolkit::new(node, id)))
    }

    fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }
}
