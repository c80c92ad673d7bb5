//! What the leader does when all have seen what it acts on.

use super::Core;
use super::membership::Membership;
use crate::flaw::Flaw;
use crate::{Incarnation, Member, MemberStatus};

impl Membership {
    pub(super) fn lead(&mut self, core: &mut Core) {
        let converged = self.is_converged();
        if converged {
            self.last_converged = core.now;
        }
        if self.assessment.leader != Some(core.me()) {
            return;
        }
        if converged || core.flaws.has(Flaw::LeaderWithoutConvergence) {
            if self.may_establish() {
                self.admit(core);
                self.let_go(core);
            }
        } else if core.now.since(self.last_converged) >= core.settings.weakly_up_after
            && self.founding.is_none()
        {
            let joining = self.all(|member| member.status == MemberStatus::Joining);
            for incarnation in joining {
                if !self.assessment.unreachable.contains(&incarnation) {
                    self.raise(incarnation, MemberStatus::WeaklyUp);
                }
            }
        }
        if core.flaws.has(Flaw::RemovesByTimeout) {
            for incarnation in self.assessment.unreachable.clone() {
                self.state.remove(incarnation, core.now, core.flaws);
            }
        }
    }

    fn all(&self, which: impl Fn(&Member) -> bool) -> Vec<Incarnation> {
        self.state.members().values().filter(|member| which(member)).map(Member::incarnation).collect()
    }

    fn admit(&mut self, core: &Core) {
        let mut joining: Vec<_> = self
            .state
            .members()
            .values()
            .filter(|member| member.status <= MemberStatus::WeaklyUp)
            .map(|member| member.identity.id.clone())
            .collect();
        joining.sort();
        // The founder is the oldest.
        joining.sort_by_key(|id| id.incarnation != self.state.founder());
        let mut age = self.state.members().values().filter_map(|member| member.age).max().unwrap_or(0);
        if core.flaws.has(Flaw::AgesAreCounted) {
            age = u32::try_from(self.state.members().len() - joining.len()).unwrap_or(0);
        }
        for id in joining {
            if self.assessment.unreachable.contains(&id.incarnation) && id.incarnation != core.me() {
                continue;
            }
            age += 1;
            self.state.change(id.incarnation, |member| {
                member.status = MemberStatus::Up;
                member.age = Some(age);
            });
        }
    }

    fn let_go(&mut self, core: &Core) {
        // What is removed was down or exiting in the state that all have seen, not in one that comes to be in this step.
        let unreachable = &self.assessment.unreachable;
        let gone = self.all(|member| match member.status {
            MemberStatus::Down => true,
            MemberStatus::Exiting => member.exit_confirmed || unreachable.contains(&member.incarnation()),
            _ => false,
        });
        for incarnation in gone {
            self.state.remove(incarnation, core.now, core.flaws);
        }
        for incarnation in self.all(|member| member.status == MemberStatus::Leaving) {
            self.raise(incarnation, MemberStatus::Exiting);
        }
    }
}
