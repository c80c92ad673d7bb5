use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use annals_journal::{Journal, JournalError, JournalExt, ReplayRange};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span, debug, error};

use super::{Driver, Step};
use crate::PersistentActor;
use crate::entity::{Action, Input, WorkOutput};
use crate::panic::message;
use crate::telemetry::RECOVERY_SPAN;

impl<A: PersistentActor> Driver<A> {
    /// Performs the entity's actions.
    pub(super) fn perform(&mut self) {
        let node = Arc::clone(&self.entities.node);
        for action in self.entity.actions() {
            match action {
                Action::Write(write) => self.writes.issue(&node.journal, write),
                Action::Release(delivery, effects) => {
                    if delivery.release() {
                        node.metrics.rejections.increment(1);
                    }
                    self.side_effects.extend(effects);
                }
                Action::Fail(delivery, failure) => node.fail(&self.id, delivery, failure),
                Action::Unknown(delivery) => {
                    node.metrics.unknown_outcomes.increment(1);
                    delivery.unknown(&self.id);
                }
                Action::RefuseMailbox(failure) => {
                    while let Ok(delivery) = self.mailbox.try_recv() {
                        node.metrics.mailbox_depth.decrement(1.0);
                        node.fail(&self.id, delivery, failure.clone());
                    }
                    self.failure = Some(failure);
                }
                Action::Claim(token) => {
                    let (journal, id) = (Arc::clone(&node.journal), self.id.clone());
                    let (limit, permits) = (node.recovery_timeout, Arc::clone(&node.recoveries));
                    let held = self.permit.take();
                    if self.recovery.is_none() {
                        self.recovery_began = Instant::now();
                        self.recovery = tracing::info_span!(
                            RECOVERY_SPAN,
                            persistence_id = self.id.as_str(),
                            seq_nr = tracing::field::Empty,
                        );
                    }
                    self.step = Step::Once(
                        async move {
                            let permit = match held {
                                Some(permit) => Some(permit),
                                // Closed only when the node is gone; then there is nobody to bound.
                                None => permits.acquire_owned().await.ok(),
                            };
                            let claimed = match timeout(limit, journal.claim(&id, token)).await {
                                Ok(claimed) => claimed,
                                Err(_) => Err(JournalError::Unknown {
                                    reason: format!("no answer to a claim within {limit:?}"),
                                    source: None,
                                }),
                            };
                            (Input::Claimed(claimed), permit)
                        }
                        .instrument(self.recovery.clone())
                        .boxed(),
                    );
                }
                Action::Load(at_most) => {
                    let (keeper, id, limit) =
                        (Arc::clone(&node.snapshots), self.id.clone(), node.recovery_timeout);
                    let permit = self.permit.take();
                    self.step = Step::Once(
                        async move {
                            let loaded = match timeout(limit, keeper.load(&id, at_most)).await {
                                Ok(loaded) => loaded,
                                Err(_) => Err(annals_snapshot::SnapshotError::Unavailable {
                                    reason: format!("no answer to a load within {limit:?}"),
                                    source: None,
                                }),
                            };
                            (Input::Loaded(loaded), permit)
                        }
                        .instrument(self.recovery.clone())
                        .boxed(),
                    );
                }
                Action::Replay(from, to) => {
                    self.step =
                        Step::Replay(node.journal.replay(ReplayRange::all(&self.id).from(from).to(to)));
                }
                Action::ForgetWrites => self.writes.forget(),
                Action::Work(work, limit) => {
                    self.work = Some(
                        async move {
                            match timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
                                Ok(Ok(output)) => WorkOutput::Done(output),
                                Ok(Err(panic)) => WorkOutput::Panicked(message(&*panic)),
                                Err(_) => WorkOutput::TimedOut,
                            }
                        }
                        .boxed(),
                    );
                }
                Action::CancelWork => self.work = None,
                Action::Save(snapshot) => {
                    let entities = Arc::clone(&self.entities);
                    self.save =
                        Some(async move { Input::Saved { stored: entities.save(*snapshot).await } }.boxed());
                }
                Action::LeaveAlone(pause) => {
                    let pause = self.entities.spread(&self.id, pause);
                    self.left_alone = Some(Instant::now() + pause);
                }
                Action::Rest(pause) => {
                    self.permit = None;
                    // Those that rest for one reason do not come back together.
                    let pause = self.entities.spread(&self.id, pause);
                    self.step = Step::Once(
                        async move {
                            tokio::time::sleep(pause).await;
                            (Input::Rested, None)
                        }
                        .boxed(),
                    );
                }
                Action::Ready { replayed, snapshot } => {
                    self.permit = None;
                    self.step = Step::None;
                    self.failure = None;
                    let took = self.recovery_began.elapsed();
                    node.metrics.recoveries.increment(1);
                    node.metrics.recovered_events.increment(replayed);
                    node.metrics.recovery_seconds.record(took.as_secs_f64());
                    debug!(persistence_id = %self.id, replayed, snapshot = snapshot.get(), ?took, "recovered");
                    self.recovery = Span::none();
                }
                Action::Report(report) => report.say(&self.id, &node),
                Action::Stop(reason) => {
                    self.recovery = Span::none();
                    self.permit = None;
                    self.step = Step::None;
                    self.stop = Some(reason);
                }
            }
        }
        let held = self.entity.held();
        if held != self.held {
            node.metrics.held_replies.increment(held as f64 - self.held as f64);
            self.held = held;
        }
        if self.side_effect.is_none() {
            self.side_effect = self.next_side_effect();
        }
    }

    fn next_side_effect(&mut self) -> Option<BoxFuture<'static, ()>> {
        let effect = self.side_effects.pop_front()?;
        let (id, limit) = (self.id.clone(), self.entities.work_limit);
        Some(
            async move {
                match timeout(limit, AssertUnwindSafe(effect).catch_unwind()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(panic)) => {
                        error!(persistence_id = %id, message = message(&*panic), "a side effect panicked");
                    }
                    Err(_) => {
                        error!(persistence_id = %id, ?limit, "a side effect took longer than its limit and was dropped");
                    }
                }
            }
            .boxed(),
        )
    }
}
