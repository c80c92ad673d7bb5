use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Cause, Downing, Verdict, View};
use crate::flaw::{Flaw, Flaws};
use crate::{Incarnation, MemberStatus, Moment};

/// Waits until a decision may be taken.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    settings: Downing,
    flaws: Flaws,
    /// Nothing has changed since.
    stable_since: Moment,
    /// The first and the last change of who is unreachable, since the last calm.
    unrest: Option<(Moment, Moment)>,
    unreachable: BTreeSet<Incarnation>,
    statuses: BTreeMap<Incarnation, MemberStatus>,
    lease: Lease,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    None,
    Due { at: Moment, verdict: Verdict },
    Asked { verdict: Verdict },
    Held { idle_since: Option<Moment> },
}

/// What the resolver wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Decide(Verdict, Cause),
    AcquireLease,
    ReleaseLease,
}

impl Resolver {
    pub(crate) const fn new(settings: Downing, now: Moment, flaws: Flaws) -> Self {
        Self {
            settings,
            flaws,
            stable_since: now,
            unrest: None,
            unreachable: BTreeSet::new(),
            statuses: BTreeMap::new(),
            lease: Lease::None,
        }
    }

    /// Members or who of them is unreachable may have changed.
    pub(crate) fn observe(
        &mut self,
        now: Moment,
        members: impl Iterator<Item = (Incarnation, MemberStatus)>,
        unreachable: BTreeSet<Incarnation>,
    ) {
        if unreachable != self.unreachable {
            self.unreachable = unreachable;
            self.stable_since = now;
            let first = self.unrest.map_or(now, |(first, _)| first);
            self.unrest = Some((first, now));
        }
        let statuses: BTreeMap<_, _> = members.collect();
        // Joining, leaving and being removed change nothing for who counts; coming up, exiting and going down do.
        let counts = |(incarnation, status): (&Incarnation, &MemberStatus)| {
            !matches!(status, MemberStatus::Joining | MemberStatus::Leaving)
                && self.statuses.get(incarnation) != Some(status)
        };
        if statuses.iter().any(counts) {
            self.stable_since = now;
        }
        self.statuses = statuses;
    }

    /// The node was away: what it has seen is not what is.
    pub(crate) fn start_again(&mut self, now: Moment) {
        self.stable_since = now;
        self.unrest = self.unrest.map(|_| (now, now));
        if !matches!(self.lease, Lease::Held { .. }) {
            self.lease = Lease::None;
        }
    }

    /// Whether something is to be done now. `decides`: this node is the leader of those it reaches.
    pub(crate) fn tick(&mut self, now: Moment, view: &View, decides: bool) -> Option<Step> {
        let pending = self.has_pending(view);
        if let Some(step) = self.mind_the_lease(now, pending, decides) {
            return Some(step);
        }
        let calm = now.since(self.stable_since) >= self.window();
        if let Some((first, last)) = self.unrest {
            let limit = self.settings.down_all_when_unstable.map(|more| self.settings.stable_after + more);
            if !calm && pending && limit.is_some_and(|limit| now.since(first) > limit) {
                self.unrest = None;
                return Some(Step::Decide(Verdict::DownAll, Cause::Unstable));
            }
            if now.since(last) >= self.settings.stable_after * 2 || (calm && view.unreachable.is_empty()) {
                self.unrest = None;
            }
        }
        if !calm || !pending || !decides || matches!(self.lease, Lease::Due { .. } | Lease::Asked { .. }) {
            return None;
        }
        let verdict = self.settings.strategy.decide_with(view, self.flaws);
        let Some(delay) = verdict.lease_delay() else {
            self.unrest = None;
            return Some(Step::Decide(verdict, Cause::Stable));
        };
        if matches!(self.lease, Lease::Held { .. }) {
            return Some(Step::Decide(verdict.with_lease(true), Cause::Lease { acquired: true }));
        }
        self.lease = Lease::Due { at: now + delay, verdict };
        self.mind_the_lease(now, pending, decides)
    }

    fn window(&self) -> Duration {
        if self.flaws.has(Flaw::NoStabilityWindow) { Duration::ZERO } else { self.settings.stable_after }
    }

    /// Somebody is unreachable about whom nothing is decided yet.
    fn has_pending(&self, view: &View) -> bool {
        view.members.iter().any(|member| view.is_unreachable(member) && !member.status.is_going())
    }

    fn mind_the_lease(&mut self, now: Moment, pending: bool, decides: bool) -> Option<Step> {
        match self.lease {
            Lease::Due { .. } if !pending || !decides => {
                self.lease = Lease::None;
                None
            }
            Lease::Due { at, verdict } if now >= at => {
                self.lease = Lease::Asked { verdict };
                Some(Step::AcquireLease)
            }
            Lease::Held { idle_since } if !self.unreachable.is_empty() => {
                if idle_since.is_some() {
                    self.lease = Lease::Held { idle_since: None };
                }
                None
            }
            Lease::Held { idle_since } => {
                let since = idle_since.unwrap_or(now);
                if now.since(since) >= self.settings.release_lease_after {
                    self.lease = Lease::None;
                    return Some(Step::ReleaseLease);
                }
                self.lease = Lease::Held { idle_since: Some(since) };
                None
            }
            _ => None,
        }
    }

    /// The store's answer. A lease that came too late to matter is given back.
    pub(crate) fn lease_answered(&mut self, view: &View, acquired: bool) -> Option<Step> {
        let acquired = acquired || self.flaws.has(Flaw::IgnoresTheLease);
        let Lease::Asked { verdict } = self.lease else {
            let held = matches!(self.lease, Lease::Held { .. });
            if held && !acquired {
                self.lease = Lease::None;
            }
            return (acquired && !held).then_some(Step::ReleaseLease);
        };
        if !self.has_pending(view) {
            self.lease = Lease::None;
            return acquired.then_some(Step::ReleaseLease);
        }
        self.lease = if acquired { Lease::Held { idle_since: None } } else { Lease::None };
        self.unrest = None;
        Some(Step::Decide(verdict.with_lease(acquired), Cause::Lease { acquired }))
    }
}
