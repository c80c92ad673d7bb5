//! The actor of a projection: takes it over, lets its readers run, and does what it is asked for.
//!
//! ```text
//!            ┌──────────── failed: after a pause ───────────┐
//!            ▼                                              │
//!  start ─▶ Starting ── claimed ─▶ Running ── a reader stops ─▶ Stopped ─┐
//!            ▲    └── it is paused ─▶ Paused ◀─ pause ─┘ └─ fenced ─▶ Fenced ─┤
//!            └────────────────────────── resume, reset ◀──────────────────────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use annals_actors::plain::{Actor, ActorContext, BoxError, ReplyTo, Signal};
use annals_journal::{JournalError, ReaderName, Readers, Timestamp};
use futures::FutureExt as _;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::batch::Batch;
use crate::progress::ranges;
use crate::reader::{End, Reader, worker};
use crate::status::{Phase, ReaderStatus, Status};
use crate::store::{Claimed, Store, StoreError};
use crate::telemetry::ReaderMetrics;
use crate::{FailurePolicy, ProjectionError, Source};

/// What all instances of a projection in this process share.
pub(crate) struct Plan<E> {
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<Source<E>>,
    pub(crate) store: Arc<dyn Store<E>>,
    pub(crate) parallelism: u16,
    pub(crate) batch: usize,
    pub(crate) policy: FailurePolicy,
    pub(crate) reader: ReaderName,
    pub(crate) status: Arc<watch::Sender<Status>>,
    pub(crate) questions: Arc<watch::Sender<u64>>,
}

pub(crate) struct Instance<E> {
    plan: Arc<Plan<E>>,
    /// Of the last claim.
    token: u64,
    /// Readers of another run have nothing to say.
    run: u64,
    readers: Tasks,
    /// Something is under way; requests wait.
    busy: bool,
    failures: u32,
}

pub(crate) enum Message {
    Request {
        request: Request,
        reply_to: ReplyTo<Result<(), ProjectionError>>,
    },
    Claimed {
        claimed: Result<Claimed, StoreError>,
        reply_to: Option<ReplyTo<Result<(), ProjectionError>>>,
    },
    /// A request was carried out.
    Did {
        done: Result<(), StoreError>,
        request: Request,
        reply_to: ReplyTo<Result<(), ProjectionError>>,
    },
    Ended {
        run: u64,
        end: Option<End>,
    },
    /// It is time to try the claim again.
    Again,
    /// It is time to say how far it is.
    Advance,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Pause,
    Resume,
    Reset,
    /// The projection of this name.
    Replace(Arc<str>),
}

/// Tasks that end with their owner.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    /// Ends them, and waits until they have.
    fn end(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let tasks = std::mem::take(&mut self.0);
        tasks.iter().for_each(JoinHandle::abort);
        join_all(tasks).map(|_| ())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl<E: Send + Sync + 'static> Instance<E> {
    pub(crate) fn new(plan: Arc<Plan<E>>) -> Self {
        Self { plan, token: 0, run: 0, readers: Tasks::default(), busy: false, failures: 0 }
    }

    fn phase(&self, phase: Phase) {
        self.plan.status.send_modify(|status| {
            if phase != Phase::Running {
                status.readers.iter_mut().for_each(|reader| reader.caught_up = false);
            }
            status.phase = phase;
        });
    }

    /// Ends the readers and takes the projection over; at the end of it the readers run.
    fn claim(
        &mut self,
        resume: bool,
        reply_to: Option<ReplyTo<Result<(), ProjectionError>>>,
        ctx: &mut ActorContext<Self>,
    ) -> Result<(), BoxError> {
        self.busy = true;
        ctx.cancel_timer(AGAIN);
        let (ended, plan) = (self.readers.end(), Arc::clone(&self.plan));
        let claim = async move {
            ended.await;
            plan.store.claim(&ranges(plan.parallelism), resume).await
        };
        ctx.pipe_to_self(claim, |claimed| Message::Claimed { claimed, reply_to })?;
        Ok(())
    }

    fn claimed(
        &mut self,
        claimed: Result<Claimed, StoreError>,
        ctx: &mut ActorContext<Self>,
    ) -> Result<(), ProjectionError> {
        self.busy = false;
        ctx.unstash_all();
        match claimed {
            Ok(claimed) => {
                self.failures = 0;
                self.token = claimed.token;
                if claimed.paused {
                    self.show(&claimed, Phase::Paused);
                } else {
                    self.show(&claimed, Phase::Running);
                    self.read(claimed, ctx);
                }
                Ok(())
            }
            Err(StoreError::Refused(reason)) => {
                tracing::error!(projection = &*self.plan.name, reason, "a projection cannot start");
                self.phase(Phase::Stopped { error: reason.clone() });
                Err(ProjectionError::of(StoreError::Refused(reason), &self.plan.name))
            }
            Err(error) => {
                let error = ProjectionError::of(error, &self.plan.name);
                tracing::warn!(projection = &*self.plan.name, %error, "a projection cannot start for now");
                self.phase(Phase::Starting { error: Some(error.to_string()) });
                let pause = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
                self.failures = self.failures.saturating_add(1);
                ctx.start_single_timer(AGAIN, pause.min(LONGEST_PAUSE), Message::Again);
                Err(error)
            }
        }
    }

    fn show(&self, claimed: &Claimed, phase: Phase) {
        let ranges = ranges(self.plan.parallelism);
        let readers = ranges.into_iter().zip(&claimed.progress);
        let readers = readers.map(|(slices, progress)| ReaderStatus::new(slices, progress)).collect();
        self.plan.status.send_replace(Status { phase, readers });
    }

    fn read(&mut self, claimed: Claimed, ctx: &ActorContext<Self>) {
        self.run += 1;
        let (plan, run) = (&self.plan, self.run);
        let readers = ranges(plan.parallelism).into_iter().zip(claimed.progress).enumerate();
        self.readers.0 = readers
            .map(|(index, (slices, progress))| {
                let reader = Reader {
                    name: Arc::clone(&plan.name),
                    token: claimed.token,
                    slices,
                    source: Arc::clone(&plan.source),
                    store: Arc::clone(&plan.store),
                    pages: plan.source.query(slices).page_size(plan.batch).pages(),
                    page_size: plan.batch,
                    worker: worker(plan.policy.clone(), progress),
                    batch: Arc::new(Batch::new()),
                    index,
                    status: Arc::clone(&plan.status),
                    questions: plan.questions.subscribe(),
                    metrics: ReaderMetrics::new(&plan.name, slices),
                };
                let myself = ctx.myself();
                tokio::spawn(async move {
                    // Handlers are caught one by one; what is left to panic is a bug of ours, or an adapter of the user's.
                    let end = std::panic::AssertUnwindSafe(reader.run()).catch_unwind().await.ok();
                    // Whoever stopped knows already.
                    let _ = myself.tell(Message::Ended { run, end }).await;
                })
            })
            .collect();
    }

    fn ended(&mut self, end: Option<End>, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        let name = &*self.plan.name;
        let phase = match end {
            None => return Err(format!("a reader of the projection {name:?} panicked").into()),
            Some(End::Fenced) => {
                tracing::warn!(projection = name, "a newer instance has taken the projection over");
                Phase::Fenced
            }
            Some(End::Stopped(error)) => {
                tracing::error!(
                    projection = name,
                    error,
                    "a projection has stopped: see what its handler says, and resume it"
                );
                Phase::Stopped { error }
            }
        };
        self.run += 1;
        let ended = self.readers.end();
        self.phase(phase);
        // Nothing waits for it.
        ctx.pipe_to_self(ended, |()| Message::Advance)?;
        Ok(())
    }

    fn request(
        &mut self,
        request: Request,
        reply_to: ReplyTo<Result<(), ProjectionError>>,
        ctx: &mut ActorContext<Self>,
    ) -> Result<(), BoxError> {
        if self.busy {
            ctx.stash(Message::Request { request, reply_to })?;
            return Ok(());
        }
        if request == Request::Resume {
            return self.claim(true, Some(reply_to), ctx);
        }
        self.busy = true;
        // What its readers still say is of a run that is over.
        self.run += 1;
        let (ended, plan, token) = (self.readers.end(), Arc::clone(&self.plan), self.token);
        let what = request.clone();
        let doing = async move {
            ended.await;
            match what {
                Request::Reset => plan.store.reset(token).await,
                Request::Replace(other) => plan.store.replace(token, &other).await,
                Request::Pause | Request::Resume => plan.store.pause(token).await,
            }
        };
        ctx.pipe_to_self(doing, move |done| Message::Did { done, request, reply_to })?;
        Ok(())
    }

    fn did(
        &mut self,
        done: Result<(), StoreError>,
        request: Request,
        reply_to: ReplyTo<Result<(), ProjectionError>>,
        ctx: &mut ActorContext<Self>,
    ) -> Result<(), BoxError> {
        self.busy = false;
        match done {
            Ok(()) if request != Request::Reset => {
                let paused = request == Request::Pause;
                self.phase(if paused { Phase::Paused } else { Phase::Replaced });
                reply_to.send(Ok(()));
                ctx.unstash_all();
                Ok(())
            }
            Ok(()) => self.claim(false, Some(reply_to), ctx),
            Err(StoreError::Fenced) => {
                self.phase(Phase::Fenced);
                reply_to.send(Err(ProjectionError::of(StoreError::Fenced, &self.plan.name)));
                ctx.unstash_all();
                Ok(())
            }
            Err(error) => {
                reply_to.send(Err(ProjectionError::of(error, &self.plan.name)));
                // It goes on as it was.
                self.claim(false, None, ctx)
            }
        }
    }

    /// Says how far the projection is, to whoever deletes events.
    fn advance(&self) {
        let Some(offset) = self.plan.status.borrow().offset() else { return };
        let (readers, name) =
            (Readers::new(Arc::clone(self.plan.source.records())), self.plan.reader.clone());
        tokio::spawn(async move {
            let said = async {
                let now = Timestamp::now();
                if readers.advance(&name, offset, now).await?.is_none() {
                    readers.register(&name, offset, now).await?;
                }
                Ok::<_, JournalError>(())
            };
            if let Err(error) = said.await {
                tracing::debug!(reader = name.as_str(), %error, "a projection could not say how far it is");
            }
        });
    }
}

impl<E: Send + Sync + 'static> Actor for Instance<E> {
    type Message = Message;

    async fn receive(&mut self, message: Message, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match message {
            Message::Request { request, reply_to } => self.request(request, reply_to, ctx),
            Message::Claimed { claimed, reply_to } => {
                let claimed = self.claimed(claimed, ctx);
                self.advance();
                if let Some(reply_to) = reply_to {
                    reply_to.send(claimed);
                }
                Ok(())
            }
            Message::Did { done, request, reply_to } => self.did(done, request, reply_to, ctx),
            Message::Ended { run, end } if run == self.run && !self.busy => self.ended(end, ctx),
            Message::Again if !self.busy => self.claim(false, None, ctx),
            Message::Ended { .. } | Message::Again => Ok(()),
            Message::Advance => {
                self.advance();
                Ok(())
            }
        }
    }

    async fn signal(&mut self, signal: Signal, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match signal {
            Signal::Started => {
                self.phase(Phase::Starting { error: None });
                ctx.start_timer_with_fixed_delay("advance", ADVANCE, || Message::Advance);
                self.claim(false, None, ctx)
            }
            // The stores are closed after the actors.
            Signal::PreRestart | Signal::PostStop => {
                self.readers.end().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

const AGAIN: &str = "again";
const ADVANCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
