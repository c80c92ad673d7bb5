use indicatif::HumanBytes;
use serde::Serialize;

use super::entity::Entity;

/// An id, as `--ids` prints it.
#[derive(Serialize)]
pub(super) struct IdLine<'a> {
    persistence_id: &'a str,
    head: u64,
    deleted_to: u64,
    events: u64,
    bytes: u64,
    payload_bytes: u64,
    sealed: u64,
    unreadable: u64,
    snapshots: Vec<u64>,
    first: Option<String>,
    last: Option<String>,
}

impl<'a> IdLine<'a> {
    pub(super) const HEADING: &'static str = "    head   deleted    events        bytes  snapshot  id";

    pub(super) fn of(entity: &'a Entity) -> Self {
        Self {
            persistence_id: entity.id.as_str(),
            head: entity.head.seq_nr.get(),
            deleted_to: entity.head.deleted_to.get(),
            events: entity.events.events,
            bytes: entity.events.bytes,
            payload_bytes: entity.events.payload_bytes,
            sealed: entity.sealed,
            unreadable: entity.unreadable,
            snapshots: entity.snapshots.iter().map(|seq_nr| seq_nr.get()).collect(),
            first: entity.first.map(|time| time.to_string()),
            last: entity.last.map(|time| time.to_string()),
        }
    }

    /// In columns of a fixed width: the lines come one by one.
    pub(super) fn text(&self) -> String {
        let snapshot = self.snapshots.last().map_or("-".to_owned(), u64::to_string);
        let unreadable =
            if self.unreadable > 0 { format!("  ({} unreadable)", self.unreadable) } else { String::new() };
        format!(
            "{:>8}  {:>8}  {:>8}  {:>11}  {snapshot:>8}  {}{unreadable}",
            self.head,
            self.deleted_to,
            self.events,
            HumanBytes(self.bytes).to_string(),
            self.persistence_id,
        )
    }
}
