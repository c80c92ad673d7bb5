use crate::Incarnation;

/// The record of the lease, judged by the store's clock.
#[derive(Debug, Default)]
pub(super) struct LeaseStore {
    held: Option<(Incarnation, u64)>,
}

impl LeaseStore {
    /// How long a lease lasts without being renewed.
    pub(super) const TERM: u64 = 30_000;
    /// The holder counts it as lost so long before.
    pub(super) const MARGIN: u64 = 5_000;

    /// Takes or renews it.
    pub(super) fn acquire(&mut self, now: u64, owner: Incarnation) -> bool {
        let free = self.held.is_none_or(|(holder, until)| holder == owner || now >= until);
        if free {
            self.held = Some((owner, now + Self::TERM));
        }
        free
    }

    pub(super) fn release(&mut self, owner: Incarnation) {
        if self.held.is_some_and(|(holder, _)| holder == owner) {
            self.held = None;
        }
    }
}
