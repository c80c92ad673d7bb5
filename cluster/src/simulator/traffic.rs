use super::Scenario;
use super::world::World;
use crate::{Input, MemberStatus};

/// What a cluster without faults sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// How many nodes.
    pub nodes: u64,
    /// Virtual milliseconds until all were up, from the start of the first; all start within five seconds.
    pub formed: u64,
    /// What forming cost, in bytes a node and member.
    pub forming_bytes: u64,
    /// At rest, all messages: bytes a node and second.
    pub rest: u64,
    /// At rest, gossip alone.
    pub rest_gossip: u64,
    /// What one change cost beyond that, in thousandths of a byte a node and member: one member announced other facts of 16 bytes.
    pub change_milli: u64,
    /// Virtual milliseconds until all knew of it.
    pub spread: u64,
}

/// Counts what the messages of so many nodes weigh. `None`: they did not come together in time.
pub fn traffic(seed: u64, nodes: usize) -> Option<Traffic> {
    let mut scenario = Scenario::calm(seed, nodes);
    scenario.settle = 600_000;
    let mut world = World::new(&scenario, false);
    world.count_bytes();
    let until = |world: &mut World<'_>, at: u64| world.run_until(at).is_ok();
    let mut formed = 0;
    while world.together_at().is_none() {
        formed += 500;
        if formed > 300_000 || !until(&mut world, formed) {
            return None;
        }
    }
    let count = nodes as u64;
    let forming_bytes = world.bytes().0 / count / count;
    let begin = formed + 10_000;
    until(&mut world, begin);
    let before = world.bytes();
    until(&mut world, begin + 10_000);
    let after = world.bytes();
    let rest = (after.0 - before.0) / 10 / count;
    let rest_gossip = (after.1 - before.1) / 10 / count;
    let facts = [("keys".to_owned(), vec![7; 12])].into();
    world.step(0, Input::Announce(facts)).ok()?;
    let before = world.bytes();
    let mut at = begin + 10_000;
    let mut spread = None;
    while spread.is_none() || at < begin + 30_000 {
        at += 250;
        if at > begin + 120_000 || !until(&mut world, at) {
            return None;
        }
        if spread.is_none() && world.all_have_the_same() {
            spread = Some(at - begin - 10_000);
        }
    }
    let seconds = (at - begin - 10_000) / 1_000;
    let more = (world.bytes().0 - before.0).saturating_sub(rest * count * seconds);
    let change_milli = more * 1_000 / count / count;
    let spread = spread?;
    Some(Traffic { nodes: count, formed, forming_bytes, rest, rest_gossip, change_milli, spread })
}

impl World<'_> {
    /// All are converged on one state.
    fn all_have_the_same(&self) -> bool {
        let mut states = self.nodes().map(|node| node.state().map(crate::ClusterState::fingerprint));
        let first = states.next().flatten();
        let converged = self.nodes().all(crate::Node::is_converged);
        first.is_some()
            && converged
            && states.all(|other| other == first)
            && self.nodes().all(|node| {
                node.state().is_some_and(|state| {
                    state.members().values().all(|member| member.status == MemberStatus::Up)
                })
            })
    }
}
