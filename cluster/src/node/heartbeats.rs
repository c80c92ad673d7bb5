//! Heartbeats, suspicion, and asking others before a member is called unreachable.

use std::sync::Arc;

use super::Core;
use super::membership::Membership;
use crate::member::Observations;
use crate::{Incarnation, MemberStatus, Message, Moment, NodeId};

/// A member that has been silent for too long.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion {
    since: Moment,
    asked: Moment,
    vouched: Option<Moment>,
}

impl Membership {
    /// This node was away: its silence about others says nothing.
    pub(super) fn catch_up(&mut self, core: &mut Core) {
        let detector = &core.settings.detector;
        self.catching_up_until = Some(core.now + detector.heartbeat_interval + detector.acceptable_pause);
        self.start_again(core);
        self.next_heartbeat = core.now;
        self.next_gossip = core.now;
    }

    fn start_again(&mut self, core: &Core) {
        self.pulses.values_mut().for_each(|pulse| pulse.excuse(core.now));
        self.suspicions.clear();
        self.resolver.start_again(core.now);
        self.last_converged = core.now;
    }

    pub(super) fn observe(&mut self, core: &mut Core) {
        if core.now >= self.next_heartbeat {
            self.next_heartbeat = core.now + core.settings.detector.heartbeat_interval;
            let cluster = self.state.id();
            for subject in self.pulses.keys() {
                if let Some(member) = self.state.member(*subject) {
                    core.send(&member.identity.id, Message::Heartbeat { cluster, asks: None });
                }
            }
        }
        match self.catching_up_until {
            Some(until) if core.now < until => return,
            Some(_) => {
                self.catching_up_until = None;
                self.start_again(core);
            }
            None => {}
        }
        self.suspect(core);
    }

    pub(super) const fn is_catching_up(&self) -> bool {
        self.catching_up_until.is_some()
    }

    fn suspect(&mut self, core: &mut Core) {
        let settings = core.settings.clone();
        let detector = &settings.detector;
        let silent = |subject: &Incarnation| {
            self.pulses
                .get(subject)
                .is_some_and(|pulse| pulse.milli_phi(core.now, detector) >= detector.threshold_milli)
        };
        let (silent, heard): (Vec<_>, Vec<_>) = self.pulses.keys().copied().partition(silent);
        for subject in heard {
            let suspected = self.suspicions.remove(&subject).is_some();
            // After a silence the pulse must have been felt again, not only have been excused.
            let recently = Moment::from_millis(core.now.as_millis().saturating_sub(2_000));
            if suspected || self.pulses.get(&subject).is_some_and(|pulse| pulse.answered_since(recently)) {
                self.mark(core, subject, false);
            }
        }
        for subject in silent {
            let suspicion = self.suspicions.entry(subject).or_insert(Suspicion {
                since: core.now,
                asked: Moment::default(),
                vouched: None,
            });
            let vouched = suspicion.vouched.unwrap_or(suspicion.since);
            let overdue = core.now.since(vouched) >= detector.confirm_within;
            let is_vouched_for = suspicion.vouched.is_some() && !overdue;
            let ask = core.now.since(suspicion.asked) >= detector.confirm_within / 2;
            if ask {
                suspicion.asked = core.now;
            }
            let asked = if ask { self.ask_helpers(core, subject) } else { 1 };
            if is_vouched_for {
                self.mark(core, subject, false);
            } else if overdue || asked == 0 {
                self.mark(core, subject, true);
            }
        }
    }

    /// Says how many could be asked.
    fn ask_helpers(&self, core: &mut Core, subject: Incarnation) -> usize {
        let mut helpers: Vec<_> = self
            .state
            .members()
            .values()
            .filter(|member| {
                let incarnation = member.incarnation();
                incarnation != core.me()
                    && incarnation != subject
                    && !member.status.is_going()
                    && !self.assessment.unreachable.contains(&incarnation)
                    && !self.suspicions.contains_key(&incarnation)
            })
            .map(|member| &member.identity.id)
            .collect();
        core.random.shuffle(&mut helpers);
        helpers.truncate(core.settings.detector.helpers);
        for helper in &helpers {
            core.send(helper, Message::Probe { cluster: self.state.id(), subject });
        }
        helpers.len()
    }

    /// Notes that this node reaches a member, or not.
    fn mark(&mut self, core: &Core, subject: Incarnation, unreachable: bool) {
        let Some(me) = self.state.member(core.me()) else { return };
        let is_member = self.state.member(subject).is_some_and(|member| member.status != MemberStatus::Down);
        if me.observations.unreachable.contains(&subject) == unreachable || (unreachable && !is_member) {
            return;
        }
        let mut next = Observations::clone(&me.observations);
        next.version += 1;
        next.unreachable.retain(|subject| self.state.member(*subject).is_some());
        if unreachable {
            next.unreachable.insert(subject);
        } else {
            next.unreachable.remove(&subject);
        }
        self.state.change(core.me(), |me| me.observations = Arc::new(next));
    }

    pub(super) fn received_of_detector(&mut self, core: &mut Core, from: &NodeId, message: &Message) {
        let cluster = self.state.id();
        match message {
            Message::Heartbeat { asks, .. } => {
                core.send(from, Message::HeartbeatAnswer { cluster, asked: *asks });
            }
            Message::HeartbeatAnswer { asked: None, .. } => {
                if let Some(pulse) = self.pulses.get_mut(&from.incarnation) {
                    pulse.beat(core.now, &core.settings.detector);
                }
            }
            Message::HeartbeatAnswer { asked: Some(asked), .. } => {
                if let Some(asked) = self.state.member(*asked) {
                    core.send(&asked.identity.id, Message::Vouch { cluster, subject: from.incarnation });
                }
            }
            Message::Probe { subject, .. } => {
                if let Some(subject) = self.state.member(*subject) {
                    let asks = Some(from.incarnation);
                    core.send(&subject.identity.id, Message::Heartbeat { cluster, asks });
                }
            }
            Message::Vouch { subject, .. } => {
                if let Some(suspicion) = self.suspicions.get_mut(subject) {
                    suspicion.vouched = Some(core.now);
                }
            }
            _ => {}
        }
    }
}
