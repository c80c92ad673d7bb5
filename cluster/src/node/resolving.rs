//! From the state to decisions about unreachable members, and what they do.

use std::collections::BTreeSet;

use super::Core;
use super::membership::Membership;
use crate::downing::{Cause, Decision, Step, Verdict, View};
use crate::{Action, Incarnation, MemberStatus, Message, NodeId};

impl Membership {
    pub(super) fn observe_for_downing(&mut self, core: &Core) {
        let state = &self.state;
        let data_center = state.member(core.me()).map(|me| me.identity.data_center.as_str());
        let near = |incarnation: Incarnation| {
            state
                .member(incarnation)
                .is_some_and(|member| Some(member.identity.data_center.as_str()) == data_center)
        };
        let members = state.members().iter().filter(|(incarnation, _)| near(**incarnation));
        let unreachable =
            self.assessment.unreachable.iter().copied().filter(|subject| near(*subject)).collect();
        let statuses = members.map(|(incarnation, member)| (*incarnation, member.status));
        self.resolver.observe(core.now, statuses, unreachable);
    }

    fn view(&self, core: &Core) -> View {
        if self.assessment.unreachable.is_empty() {
            return View::default();
        }
        let seen = self.assessment.order.iter().enumerate().filter(|(index, _)| self.seen.contains(*index));
        View::of(&self.state, core.me(), seen.map(|(_, incarnation)| *incarnation).collect())
    }

    pub(super) fn resolve(&mut self, core: &mut Core) {
        if self.is_catching_up() || self.founding.is_some() {
            return;
        }
        let view = self.view(core);
        // Leaders of the own data center decide about it.
        let near = view.members.iter().filter(|member| member.status != MemberStatus::Down);
        let reachable =
            near.filter(|member| !view.is_unreachable(member) || member.incarnation() == core.me());
        let leader = reachable
            .min_by_key(|member| (!member.status.is_settled(), member.status.is_going(), &member.identity.id))
            .map(|member| member.incarnation());
        let step = self.resolver.tick(core.now, &view, leader == Some(core.me()));
        self.perform(core, step, view);
    }

    pub(super) fn lease_answered(&mut self, core: &mut Core, acquired: bool) {
        let view = self.view(core);
        let step = self.resolver.lease_answered(&view, acquired);
        self.perform(core, step, view);
    }

    fn perform(&mut self, core: &mut Core, step: Option<Step>, view: View) {
        match step {
            None => {}
            Some(Step::AcquireLease) => core.out.push(Action::AcquireLease),
            Some(Step::ReleaseLease) => core.out.push(Action::ReleaseLease),
            Some(Step::Decide(verdict, cause)) => {
                let to_down = core.settings.downing.strategy.to_down(&view, verdict);
                self.down_in(core, to_down, verdict, cause, view);
            }
        }
    }

    pub(super) fn down_for_operator(&mut self, core: &mut Core, incarnation: Incarnation) {
        self.down(core, BTreeSet::from([incarnation]), Verdict::DownUnreachable, Cause::Operator);
    }

    pub(super) fn down(
        &mut self,
        core: &mut Core,
        whom: BTreeSet<Incarnation>,
        verdict: Verdict,
        cause: Cause,
    ) {
        let view = View::of(&self.state, core.me(), BTreeSet::new());
        self.down_in(core, whom, verdict, cause, view);
    }

    fn down_in(
        &mut self,
        core: &mut Core,
        whom: BTreeSet<Incarnation>,
        verdict: Verdict,
        cause: Cause,
        view: View,
    ) {
        let mut downed: Vec<NodeId> = Vec::new();
        for incarnation in whom {
            self.raise(incarnation, MemberStatus::Down);
            if let Some(member) = self.state.member(incarnation) {
                downed.push(member.identity.id.clone());
            }
        }
        // Told at once, because a downed leader is not there to gossip.
        for id in &downed {
            if id.incarnation != core.me() {
                core.send(id, Message::Obituary(self.state.id()));
            }
        }
        let by = core.identity.id.clone();
        core.keep(Decision { at: core.now, by, cause, verdict, downed, view });
        self.settle(core);
        self.gossip_at_once(core);
    }
}
