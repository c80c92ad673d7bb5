//! What few entities have: timers, watches, children. Made when the first of them is asked for.

mod children;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use annals_journal::PersistenceId;
use tokio::time::Instant;
use tracing::error;

use crate::PersistentActor;
use crate::delivery::Delivery;
use crate::effect::{Deed, Notice, Schedule};
use crate::entity::Entity;
use crate::node::Shared;
use crate::panic::message;
use crate::plain::{
    ActorFailure, ActorId, Alarm, Control, Halt, Terminated, TerminationReason, Timers, Watchable, Watcher,
};
use crate::post::Post;
use children::{Children, Home};

pub(super) struct Toolkit<A: PersistentActor> {
    node: Arc<Shared>,
    id: PersistenceId,
    post: Arc<Post>,
    timers: Timers<Box<dyn Delivery<A>>>,
    alarm: Alarm,
    /// The last command was a timer's: the next is one from the mailbox, so that no timer keeps the entity from it.
    mailbox_first: bool,
    watching: HashMap<ActorId, (Arc<dyn Watchable>, Notice<A>)>,
    /// Of those that are watched, until the entity takes commands.
    notices: VecDeque<Terminated>,
    children: Children,
}

/// What has happened.
pub(super) enum Found<A: PersistentActor> {
    /// A command that was not sent through the mailbox.
    Command(Box<dyn Delivery<A>>),
    /// A child failed, and its entity fails with it.
    Escalated(ActorFailure),
    /// Something that changes what may come next.
    Progress,
}

impl<A: PersistentActor> Toolkit<A> {
    pub(super) fn new(node: Arc<Shared>, id: PersistenceId) -> Self {
        let post = Arc::new(Post::new(node.system().next_id()));
        Self {
            node,
            id,
            post,
            timers: Timers::new(),
            alarm: Alarm::new(),
            mailbox_first: false,
            watching: HashMap::new(),
            notices: VecDeque::new(),
            children: Children::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.timers.is_empty() && self.watching.is_empty() && self.children.is_empty()
    }

    /// Whether children of an entity that has failed or stops are not gone yet.
    pub(super) fn is_clearing(&self) -> bool {
        self.children.are_orphaned()
    }

    /// Whether the mailbox goes first this time.
    pub(super) fn yields_to_mailbox(&mut self) -> bool {
        std::mem::take(&mut self.mailbox_first)
    }

    /// Does what a durable command wants.
    pub(super) fn perform(&mut self, deed: Deed<A>) {
        match deed {
            Deed::StartTimer { key, schedule } => {
                let now = Instant::now();
                match schedule {
                    Schedule::Once(after, command) => self.timers.single(now, key, after, command),
                    Schedule::FixedDelay(every, make) => self.timers.fixed_delay(now, key, every, make),
                    Schedule::FixedRate(every, make) => self.timers.fixed_rate(now, key, every, make),
                }
            }
            Deed::CancelTimer(key) => {
                self.timers.cancel(&key);
            }
            Deed::Watch { watched, notice } => {
                self.watching.insert(watched.id(), (Arc::clone(&watched), notice));
                watched.watched_by(Arc::clone(&self.post) as Arc<dyn Watcher>);
            }
            Deed::Unwatch(watched) => {
                self.watching.remove(&watched.id());
                watched.unwatched_by(self.post.watcher_id());
            }
            Deed::Spawn { name, spawn } => {
                let home = home(&self.node, &self.id, &self.post);
                self.children.spawn(home, name, spawn);
            }
            Deed::TellChild { name, tell } => {
                self.children.tell(&home(&self.node, &self.id, &self.post), &name, tell);
            }
            Deed::StopChild(name) => self.children.stop(&name),
        }
    }

    /// The next thing that has happened; pending when there is none, and the task is woken for it. Commands only when they are
    /// wanted: then those who ended go before timers that are due.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        wants_commands: bool,
        entity: &Entity<A>,
    ) -> Poll<Found<A>> {
        while let Poll::Ready(control) = self.post.poll(cx) {
            match control {
                Control::Terminated(terminated) => self.notices.push_back(terminated),
                Control::ChildGone(child) => {
                    let minds = self.children.gone(home(&self.node, &self.id, &self.post), &child);
                    if let TerminationReason::Escalated(failure) = child.reason
                        && minds
                    {
                        let failure = ActorFailure::Child { child: child.path, failure: Box::new(failure) };
                        return Poll::Ready(Found::Escalated(failure));
                    }
                    if self.children.is_empty() {
                        return Poll::Ready(Found::Progress);
                    }
                }
            }
        }
        let now = Instant::now();
        if self.children.deadline.is_some_and(|deadline| deadline <= now) {
            self.children.abort_orphaned();
        }
        let mut timer = None;
        if wants_commands {
            if let Some(command) = self.noticed(entity) {
                return Poll::Ready(Found::Command(command));
            }
            timer = self.timers.next();
            // A command on its way to the disk may cancel or replace it, or come to nothing.
            let undecided = |key: &str| entity.holds(|deed| deed.is_about_timer(key));
            if self.timers.next_key().is_some_and(|key| undecided(key)) {
                timer = None;
            }
            if timer.is_some_and(|due| due <= now) {
                self.mailbox_first = true;
                let due = made(&self.id, || self.timers.due(now, now));
                return Poll::Ready(due.map_or(Found::Progress, Found::Command));
            }
        }
        if let Some(at) = timer.into_iter().chain(self.children.deadline).min()
            && self.alarm.poll(at, cx).is_ready()
        {
            return Poll::Ready(Found::Progress);
        }
        Poll::Pending
    }

    /// The command of the oldest notice of one that is still watched.
    fn noticed(&mut self, entity: &Entity<A>) -> Option<Box<dyn Delivery<A>>> {
        while let Some(terminated) = self.notices.front() {
            if entity.holds(|deed| deed.is_about_watched(terminated)) {
                return None;
            }
            let terminated = self.notices.pop_front()?;
            if let Some((_, notice)) = self.watching.remove(&terminated.id)
                && let Some(command) = made(&self.id, || Some(notice(terminated)))
            {
                return Some(command);
            }
        }
        None
    }

    /// Ends timers and watches, and has the children stop.
    pub(super) fn clear(&mut self, halt: Halt, patience: Duration) {
        self.timers.clear();
        self.notices.clear();
        for (_, (watched, _)) in self.watching.drain() {
            watched.unwatched_by(self.post.watcher_id());
        }
        self.children.orphan(halt, patience);
    }
}

/// Makes a command with the user's code.
fn made<A: PersistentActor>(
    id: &PersistenceId,
    make: impl FnOnce() -> Option<Box<dyn Delivery<A>>>,
) -> Option<Box<dyn Delivery<A>>> {
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
        let message = message(&*panic);
        error!(persistence_id = %id, message, "making the command of a timer or a notice panicked");
        None
    })
}

fn home<'a>(node: &'a Shared, id: &PersistenceId, post: &Arc<Post>) -> Home<'a> {
    let system = node.system();
    Home { system, path: system.entity_path(id), parent: Arc::clone(post) as Arc<dyn Watcher> }
}

impl<A: PersistentActor> Drop for Toolkit<A> {
    fn drop(&mut self) {
        for (_, (watched, _)) in self.watching.drain() {
            watched.unwatched_by(self.post.watcher_id());
        }
    }
}
