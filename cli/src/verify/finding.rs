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
    /// The data key that sealed an event or a snapshot is not there, or cannot be opened.
    NoKey,
    /// A sealed event does not follow from the one before it.
    BrokenChain,
    /// The newest event is not the one that the id's mark is about.
    CutOff,
    /// Something is in the clear, and nothing was to be.
    Plaintext,
    /// A data key of an id that has nothing.
    OrphanedKey,
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
    /// The master keys that were given are not those of the journal.
    WrongKeys,
    /// SQLite finds its file damaged.
    DamagedFile,
    /// The journal or the snapshot store could not be asked.
    Unavailable,
    /// An id has more findings than are listed.
    More,
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

    /// About several numbers of an id.
    pub(super) fn between(
        id: &PersistenceId,
        from: SeqNr,
        to: SeqNr,
        kind: Kind,
        what: impl ToString,
    ) -> Self {
        let to = (to > from).then_some(to.get());
        Self { to, ..Self::at(id, from, kind, what) }
    }

    /// About the journal as a whole.
    pub(super) fn of_journal(kind: Kind, what: impl ToString) -> Self {
        Self { kind, persistence_id: None, seq_nr: None, to: None, what: what.to_string() }
    }

    /// Whether another finding is of the same kind and begins in the same place; an owner may have made it longer meanwhile.
    fn is_where(&self, other: &Self) -> bool {
        let place = |finding: &Self| (finding.kind, finding.seq_nr);
        place(self) == place(other) && self.persistence_id == other.persistence_id
    }

    /// Takes in the next number, when it is about the same; otherwise gives the finding back.
    fn extend(&mut self, next: Self) -> Option<Self> {
        let follows = |last: u64| next.to.is_none() && next.seq_nr == Some(last + 1);
        let follows = self.to.or(self.seq_nr).is_some_and(follows);
        let alike = self.kind == next.kind && self.persistence_id == next.persistence_id;
        if !(follows && alike && (self.kind == Kind::Gap || self.what == next.what)) {
            return Some(next);
        }
        self.to = next.seq_nr;
        if self.kind == Kind::Gap {
            self.what = "the events are missing".into();
        }
        None
    }
}

/// What was found about an id, in the order of its numbers. Numbers that follow each other with the same finding are one; however
/// many there are, as many as fit are listed, and the rest is told as one.
#[derive(Debug, Default)]
pub(super) struct Findings {
    listed: Vec<Finding>,
    /// The last that did not fit, and how many there were.
    more: Option<(Finding, u64)>,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        let finding = match self.listed.last_mut() {
            Some(last) => last.extend(finding),
            None => Some(finding),
        };
        let Some(finding) = finding else { return };
        if self.listed.len() < MOST {
            self.listed.push(finding);
            return;
        }
        let count = self.more.take().map_or(1, |(_, count)| count + 1);
        self.more = Some((finding, count));
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Those that are also in another look at the same id.
    pub(super) fn also_in(mut self, again: &Self) -> Self {
        self.listed.retain(|finding| again.listed.iter().any(|other| finding.is_where(other)));
        self.more = self.more.filter(|_| again.more.is_some());
        self
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        let Self { mut listed, more } = self;
        if let Some((last, count)) = more {
            let what = format!("{count} more findings of this id are not listed; the last: {last}");
            listed.push(Finding { kind: Kind::More, what, ..last });
        }
        listed
    }
}

/// A few megabytes.
const MOST: usize = 10_000;

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
        let mut findings = Findings::default();
        let mut push = |at, kind, what: &str| findings.push(Finding::at(&id, number(at), kind, what));
        for at in [7, 8, 9, 11] {
            push(at, Kind::Gap, &format!("event {at} is missing"));
        }
        for at in [12, 13, 14] {
            push(at, Kind::NoKey, "generation 2 is not there");
        }
        push(15, Kind::NoKey, "generation 3 is not there");
        let told: Vec<_> = findings.into_vec().iter().map(ToString::to_string).collect();
        let expected = [
            "account|alice #7..9: gap: the events are missing",
            "account|alice #11: gap: event 11 is missing",
            "account|alice #12..14: no-key: generation 2 is not there",
            "account|alice #15: no-key: generation 3 is not there",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn findings_without_end_are_told_in_bounded_memory() {
        let id = PersistenceId::new("account", "alice").unwrap();
        let mut findings = Findings::default();
        for at in (1..).step_by(2).take(MOST + 5) {
            findings.push(Finding::at(
                &id,
                SeqNr::new(at).unwrap(),
                Kind::Unreadable,
                "it is not what was written",
            ));
        }
        assert!(findings.listed.len() == MOST);
        let told = findings.into_vec();
        assert_eq!(told.len(), MOST + 1);
        let last = told.last().unwrap().to_string();
        assert!(last.contains("#20009: more: 5 more findings"), "{last}");
    }
}
