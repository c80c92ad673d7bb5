use std::collections::BTreeMap;

use super::{Batch, History, Marker, Row, Rule, Rules};
use crate::{SeqNr, Token};

/// Rows of an id, of all who wrote it.
pub(super) type Rows = BTreeMap<(SeqNr, Token), Row>;

/// The one log that rows and markers come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log {
    /// Whose rows it is made of, to its head.
    pub(super) history: History,
    /// The newest owner that has a marker.
    pub(super) owner: Option<Token>,
    /// These are gone, and count as present.
    pub(super) deleted_to: SeqNr,
    /// All up to here is at a quorum.
    pub(super) settled: SeqNr,
    /// The newest owner has acknowledged all up to here, since it took over.
    pub(super) shown: SeqNr,
}

/// A row that the history names and that was not read; the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing(pub(super) SeqNr);

impl Log {
    pub(super) fn head(&self) -> SeqNr {
        self.history.base().max(self.deleted_to)
    }

    /// Its rows above a number.
    pub(super) fn rows<'a>(&'a self, rows: &'a Rows, above: SeqNr) -> impl Iterator<Item = &'a Row> {
        let above = above.max(self.deleted_to);
        let numbers = (above.get() + 1..=self.head().get()).filter_map(SeqNr::new);
        numbers.filter_map(|seq_nr| rows.get(&(seq_nr, self.history.token_of(seq_nr)?)))
    }
}

/// Decides which rows are the log; `rows` has all above `above`.
pub(super) fn resolve(
    rows: &Rows,
    above: SeqNr,
    markers: &[Marker],
    deleted_to: SeqNr,
    rules: Rules,
) -> Result<Log, Missing> {
    if !rules.keep(Rule::MarkerDecides) || !rules.keep(Rule::MarkerInsteadOfRewriting) {
        return Ok(highest_tokens(rows, deleted_to));
    }
    let Some(newest) = markers.iter().max_by_key(|marker| marker.token) else {
        let history = History::default();
        return Ok(Log { history, owner: None, deleted_to, settled: deleted_to, shown: SeqNr::ZERO });
    };
    let history = match rules.keep(Rule::MarkerHasHistory) {
        true => newest.history.clone(),
        false => History::of_bases(markers),
    };
    let base = newest.history.base();
    for number in above.max(deleted_to).get() + 1..=base.get() {
        let seq_nr = SeqNr::ZERO.plus(number);
        let token = history.token_of(seq_nr);
        if !token.is_some_and(|token| rows.contains_key(&(seq_nr, token))) {
            return Err(Missing(seq_nr));
        }
    }
    let is_whole = |from: SeqNr, batch: Batch| {
        let mut numbers = (from.get()..=batch.last.get()).map(|number| SeqNr::ZERO.plus(number));
        numbers.all(|seq_nr| rows.contains_key(&(seq_nr, newest.token)))
    };
    let mut head = base.max(deleted_to);
    let (mut settled, mut shown) = (head, SeqNr::ZERO);
    while let Some(row) = rows.get(&(head.next(), newest.token)) {
        if is_whole(head.next(), row.batch) {
            head = row.batch.last;
        } else if rules.keep(Rule::WholeBatches) {
            break;
        } else {
            head = head.next();
        }
        settled = settled.max(row.settled);
        shown = shown.max(row.settled);
    }
    let history = history.extended(newest.token, head);
    Ok(Log { history, owner: Some(newest.token), deleted_to, settled, shown })
}

/// What it would be without markers: the highest token of each number, up to where a row is older than the one before.
fn highest_tokens(rows: &Rows, deleted_to: SeqNr) -> Log {
    let mut history = History::default();
    let mut owner = Token::NONE;
    let mut settled = deleted_to;
    let mut next = deleted_to.next();
    history = history.extended(Token::NONE, deleted_to);
    while let Some((_, row)) = rows.range((next, owner)..(next.next(), Token::NONE)).next_back() {
        owner = row.token;
        settled = settled.max(row.settled);
        history = history.extended(row.token, next);
        next = next.next();
    }
    Log { history, owner: Some(owner), deleted_to, settled, shown: settled }
}
