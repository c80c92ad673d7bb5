//! A node in no cluster: it looks for one, votes, and forms one if a majority of the contact points lets it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::membership::Membership;
use super::{Core, Next};
use crate::flaw::Flaw;
use crate::message::Answer;
use crate::{Event, Input, Message, Moment, NodeAddress, NodeId};

#[derive(Debug, Clone)]
pub(crate) struct Outside {
    since: Moment,
    next_ask: Moment,
    /// What the contact points said last.
    heard: BTreeMap<NodeAddress, (Moment, Heard)>,
    vote: Option<(NodeId, Moment)>,
    candidacy: Option<Candidacy>,
    /// It was told that this node forms nothing.
    complained: bool,
}

#[derive(Debug, Clone)]
enum Heard {
    Outside,
    InCluster(NodeAddress),
}

/// Votes for this node, from contact points, itself among them. Over before the first of them is free again.
#[derive(Debug, Clone)]
struct Candidacy {
    since: Moment,
    votes: BTreeSet<NodeAddress>,
}

impl Outside {
    pub(crate) const fn new(now: Moment) -> Self {
        Self {
            since: now,
            next_ask: now,
            heard: BTreeMap::new(),
            vote: None,
            candidacy: None,
            complained: false,
        }
    }

    pub(crate) fn step(&mut self, core: &mut Core, input: Input) -> Next {
        match input {
            Input::Tick => return self.tick(core),
            Input::Received { from, message } => return self.received(core, &from, message),
            Input::Discovered(contacts) => {
                core.contacts = contacts;
                core.contacts.sort();
                core.contacts.dedup();
            }
            Input::Announce(entries) => drop(core.announce(entries)),
            Input::Leave => return Next::Stopped(crate::StopReason::Left),
            Input::HandedOver | Input::Down(_) | Input::LeaseAnswered { .. } => {}
        }
        Next::Stay
    }

    fn received(&mut self, core: &mut Core, from: &NodeId, message: Message) -> Next {
        match message {
            Message::Ask(theirs) => {
                let objection = core.compatibility().objection(&theirs);
                core.send(from, Message::Answer(objection.map_or(Answer::Outside, Answer::Refused)));
            }
            Message::Answer(answer) => self.answered(core, from, answer),
            Message::RequestVote => {
                let granted = self.vote(core, from);
                core.send(from, Message::Vote { granted });
            }
            Message::Vote { granted: true } => {
                if let Some(candidacy) = &mut self.candidacy {
                    candidacy.votes.insert(from.address.clone());
                }
            }
            Message::Welcome { cluster, founder, members, removed }
                if members.iter().any(|update| update.known.incarnation == core.me()) =>
            {
                return Next::Member(Membership::welcomed(core, cluster, founder, &members, &removed));
            }
            // It was taken in without hearing of it, and then given up: this incarnation never gets in.
            Message::Obituary(_) => return Next::Outside,
            _ => {}
        }
        Next::Stay
    }

    fn answered(&mut self, core: &mut Core, from: &NodeId, answer: Answer) {
        let heard = match answer {
            Answer::Outside => Heard::Outside,
            Answer::InCluster { join_at, .. } => Heard::InCluster(join_at),
            Answer::Refused(reason) => return core.tell(Event::Refused(from.clone(), reason)),
        };
        self.heard.insert(from.address.clone(), (core.now, heard));
    }

    /// For one candidate at a time, for a window, and only while no cluster is known.
    fn vote(&mut self, core: &Core, candidate: &NodeId) -> bool {
        let free = match &self.vote {
            Some((bound_to, until)) => bound_to == candidate || core.now >= *until,
            None => true,
        };
        if !free || self.clusters(core).next().is_some() || !self.may_begin_anew(core) {
            return false;
        }
        if candidate.address != core.identity.id.address {
            self.candidacy = None;
        }
        self.vote = Some((candidate.clone(), core.now + core.settings.forming.vote_window));
        true
    }

    /// Who was downed waits for all whom it remembers: the other side may go on where it cannot be heard.
    fn may_begin_anew(&self, core: &Core) -> bool {
        let Some(memory) = core.memory.as_ref().filter(|memory| memory.downed) else { return true };
        memory.members.iter().all(|address| {
            let is_outside =
                |heard: &(Moment, Heard)| is_fresh(core, heard.0) && matches!(heard.1, Heard::Outside);
            *address == core.identity.id.address || self.heard.get(address).is_some_and(is_outside)
        })
    }

    fn tick(&mut self, core: &mut Core) -> Next {
        if let Some(next) = self.form_if_it_may(core) {
            return next;
        }
        if core.now < self.next_ask {
            return Next::Stay;
        }
        self.next_ask = core.now + core.settings.forming.ask_interval;
        for address in core.others() {
            core.send_to_any(address, Message::Ask(core.compatibility()));
        }
        let clusters: Vec<_> = self.clusters(core).cloned().collect();
        if let Some(address) = core.random.pick(&clusters).cloned() {
            self.candidacy = None;
            let (identity, facts) = (core.identity.clone(), core.facts.clone());
            let compatibility = core.compatibility();
            core.send_to_any(address, Message::Join { identity, facts, compatibility });
        } else {
            self.stand(core);
        }
        Next::Stay
    }

    /// Where somebody takes in, by answers that are not old.
    fn clusters<'a>(&'a self, core: &'a Core) -> impl Iterator<Item = &'a NodeAddress> {
        self.heard.values().filter(|(at, _)| is_fresh(core, *at)).filter_map(|(_, heard)| match heard {
            Heard::InCluster(join_at) => Some(join_at),
            Heard::Outside => None,
        })
    }

    /// Asks for votes, if no contact point with a lower address is there to do so.
    fn stand(&mut self, core: &mut Core) {
        let me = core.identity.id.clone();
        if core.now.since(self.since) < core.settings.forming.look_for {
            return;
        }
        let Some(needed) = core.needed() else {
            if !self.complained {
                self.complained = true;
                core.tell(Event::CountUnknown { found: core.contacts.len() });
            }
            return;
        };
        if !core.contacts.contains(&me.address) {
            return;
        }
        let there =
            |address: &&NodeAddress| self.heard.get(*address).is_some_and(|(at, _)| is_fresh(core, *at));
        let mut answered: Vec<_> = core.contacts.iter().filter(there).cloned().collect();
        let first = answered.first().is_none_or(|lowest| me.address < *lowest);
        answered.push(me.address.clone());
        answered.sort();
        if answered.len() < needed {
            core.tell(Event::Waiting { needed, answered });
        }
        if !first {
            return;
        }
        // A candidacy ends while the votes for it still bind.
        let over = |since: Moment| core.now.since(since) >= core.settings.forming.vote_window * 7 / 10;
        if self.candidacy.as_ref().is_none_or(|candidacy| over(candidacy.since)) {
            self.candidacy = None;
            if !self.vote(core, &me) {
                return;
            }
            self.candidacy = Some(Candidacy { since: core.now, votes: BTreeSet::from([me.address]) });
        }
        for address in core.others() {
            core.send_to_any(address, Message::RequestVote);
        }
    }

    fn form_if_it_may(&mut self, core: &mut Core) -> Option<Next> {
        let needed = core.needed()?;
        let me = &core.identity.id.address;
        let forced = core.settings.forming.form;
        if !forced && !self.may_begin_anew(core) {
            return None;
        }
        let only = needed == 1 && (core.contacts.as_slice() == [me.clone()] || forced);
        let electors = core.others();
        let votes = self.candidacy.as_ref().map_or(0, |candidacy| {
            let counts = |address: &&NodeAddress| electors.contains(address) || *address == me;
            candidacy.votes.iter().filter(counts).count()
        });
        let alone = core.flaws.has(Flaw::FormsAlone) && votes > 0;
        if !only && votes < needed && !alone {
            return None;
        }
        if self.clusters(core).next().is_some() {
            return None;
        }
        let needed = if only || alone { 1 } else { needed };
        Some(Next::Member(Membership::founded(core, needed)))
    }
}

/// Older answers may be of processes that are gone.
const FRESH: Duration = Duration::from_secs(3);

fn is_fresh(core: &Core, at: Moment) -> bool {
    core.now.since(at) <= FRESH.max(core.settings.forming.ask_interval * 3)
}
