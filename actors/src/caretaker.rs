use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::PersistentActor;
use crate::entities::Entities;
use crate::inbox::Call;

/// Looks after the entities of one kind: passivates those that are idle, has quiet ones give memory back, and stops all with
/// their node. One task for a kind, so that an entity needs no timer and no listener of its own.
pub(crate) async fn take_care<A: PersistentActor>(entities: Weak<Entities<A>>) {
    let Some((stop, period)) = entities.upgrade().map(|entities| {
        let period = entities.passivate_after.map_or(LONGEST, |limit| limit / LOOKS_AN_IDLE_TIME);
        (entities.node.stop.clone(), period.clamp(SHORTEST, LONGEST))
    }) else {
        return;
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep(period) => {
                let Some(entities) = entities.upgrade() else { return };
                look(&entities);
            }
        }
    }
    if let Some(entities) = entities.upgrade() {
        entities.each(|inbox| inbox.stop(Call::Drain));
    }
}

fn look<A: PersistentActor>(entities: &Arc<Entities<A>>) {
    let now = Instant::now();
    entities.each(|inbox| {
        if let Some(call) = inbox.due(now, entities.passivate_after) {
            inbox.call(call);
        }
    });
}

/// An entity is passivated at most so much of its idle time too late.
const LOOKS_AN_IDLE_TIME: u32 = 16;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(5);
