use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// Counts what it was told; with `PRUNED` its events are deleted behind snapshots.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Account<const PRUNED: bool> {
    last: u64,
    holder: String,
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    Counted { number: u64, holder: String },
}

impl<const PRUNED: bool> PersistentActor for Account<PRUNED> {
    const KIND: &'static str = if PRUNED { "pruned" } else { "account" };
    type Event = AccountEvent;
    type Commands = (Count,);

    fn apply(&mut self, event: &AccountEvent) {
        let AccountEvent::Counted { number, holder } = event;
        self.last = *number;
        self.holder.clone_from(holder);
    }
}

/// Says a number; one that was said is counted once.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Count(pub(crate) u64);

impl<const PRUNED: bool> Handle<Count> for Account<PRUNED> {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, count: &Count, ctx: &mut Context<Self, Count>) -> Effect<Self, Count> {
        if count.0 <= self.last {
            return ctx.reply(self.last);
        }
        let event = AccountEvent::Counted { number: count.0, holder: HOLDER.to_owned() };
        ctx.persist(event).reply(|account| account.last)
    }
}

impl<const PRUNED: bool> Account<PRUNED> {
    pub(crate) fn kind() -> Kind<Self> {
        let kind = Kind::new().snapshots(SnapshotPolicy::every_events(20));
        if PRUNED { kind.retention(Retention::keep(2).delete_events()) } else { kind }
    }
}

/// What nobody is to find in a file.
pub(crate) const HOLDER: &str = "Alice Pleasance Liddell";
