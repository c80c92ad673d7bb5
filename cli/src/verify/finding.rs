use std::fmt;

use annals_journal::{PersistenceId, SeqNr};
use serde::Serialize;

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistence_id: Option<String>,
    /// The first number that it is about, and the last when it is about several.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq_nr: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    what: String,
}

/// What is wrong. The names are those that `--json` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Events are missing.
    Gap,
    /// An event cannot be read.
    Unreadable,
    /// An event of an older token stands behind one of a newer token.
    StaleWriter,
    /// A snapshot has seen more events than there are.
    SnapshotAhead,
    /// A snapshot cannot be read.
    SnapshotUnreadable,
    /// A snapshot was folded from other events.
    SnapshotForeign,
    /// Events were deleted, and no snapshot stands for them.
    NotRecoverable,
    /// An anchor has seen more, or other events.
    WentBack,
    /// The ids cannot be listed any further.
    Unlistable,
    /// The epoch counter is behind the events.
    EpochBehind,
    /// A named record cannot be read.
    UnreadableRecord,
    /// SQLite finds its file damaged.
    DamagedFile,
    /// The journal or the snapshot store could not be asked.
    Unavailable,
}

impl Finding {
    /// About an id as a whole.
    pub(super) fn of(id: &PersistenceId, kind: Kind, what: impl ToString) -> Self {
        Self { kind, persistence_id: Some(id.to_string()), seq_nr: None, to: None, what: what.to_string() }
    }

    /// About one number of an id.
    pub(super) fn at(id: &PersistenceId, seq_nr: SeqNr, kind: Kind, what: impl ToString) -> Self {
        Self { seq_nr: Some(seq_nr.get()), ..Self::of(id, kind, what) }
    }

    /// About the journal as a whole.
    pub(super) fn of_journal(kind: Kind, what: impl ToString) -> Self {
        Self { kind, persistence_id: None, seq_nr: None, to: None, what: what.to_string() }
    }

    /// Whether another finding is of the same kind and about the same place.
    pub(super) fn is_where(&self, other: &Self) -> bool {
        let place = |finding: &Self| (finding.kind, finding.seq_nr, finding.to);
        place(self) == place(other) && self.persistence_id == other.persistence_id
    }

    /// Takes in the next number, when it is about the same; `false`: it is not.
    pub(super) fn extend(&mut self, kind: Kind, seq_nr: SeqNr) -> bool {
        let follows = self.to.or(self.seq_nr).is_some_and(|last| last + 1 == seq_nr.get());
        let extended = kind == Kind::Gap && self.kind == Kind::Gap && follows;
        if extended {
            self.to = Some(seq_nr.get());
            self.what = "the events are missing".into();
        }
        extended
    }
}

impl fmt::Display for Finding {
    /// `account|alice #7..9: gap: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.persistence_id {
            Some(id) => f.write_str(id)?,
            None => f.write_str("journal")?,
        }
        match (self.seq_nr, self.to) {
            (Some(from), Some(to)) => write!(f, " #{from}..{to}")?,
            (Some(at), None) => write!(f, " #{at}")?,
            (None, _) => {}
        }
        let kind = serde_json::to_value(self.kind).unwrap_or_default();
        write!(f, ": {}: {}", kind.as_str().unwrap_or_default(), self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_one_finding_however_wide() {
        let id = PersistenceId::new("account", "alice").unwrap();
        let number = |number| SeqNr::new(number).unwrap();
        let mut gap = Finding::at(&id, number(7), Kind::Gap, "the event is missing");
        assert_eq!(gap.to_string(), "account|alice #7: gap: the event is missing");
        assert!(gap.extend(Kind::Gap, number(8)) && gap.extend(Kind::Gap, number(9)));
        assert!(!gap.extend(Kind::Gap, number(11)) && !gap.extend(Kind::Unreadable, number(10)));
        assert_eq!(gap.to_string(), "account|alice #7..9: gap: the events are missing");
    }
}
