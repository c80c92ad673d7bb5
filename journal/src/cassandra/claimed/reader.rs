use super::{Ask, Buckets, Found, Next, Reading, Row, Rule, Rules};
use crate::SeqNr;

/// Shows a log to whoever does not own it: only what will never be taken back (P2a), so that it is behind by what is on its way.
#[derive(Debug)]
pub(super) struct Reader {
    rules: Rules,
    buckets: Buckets,
    reading: Option<Reading>,
    /// All up to here was shown.
    position: SeqNr,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Look {
    Ask(Ask),
    Show(Vec<Row>),
}

impl Reader {
    pub(super) fn new(rules: Rules, buckets: Buckets) -> Self {
        Self { rules, buckets, reading: None, position: SeqNr::ZERO }
    }

    /// Begins to look for more.
    pub(super) fn look(&mut self) -> Ask {
        let (reading, ask) = Reading::begin(self.rules, self.buckets, Some(self.position));
        self.reading = Some(reading);
        ask
    }

    pub(super) fn step(&mut self, found: Found) -> Look {
        let Some(reading) = &mut self.reading else { return Look::Show(Vec::new()) };
        let log = match reading.step(found) {
            Next::Ask(ask) => return Look::Ask(ask),
            Next::Resolved(log) => log,
        };
        let to = match self.rules.keep(Rule::ReaderShowsSettled) {
            true => log.shown.max(log.deleted_to).min(log.head()),
            false => log.head(),
        };
        let shown: Vec<_> =
            log.rows(reading.rows(), self.position).filter(|row| row.seq_nr <= to).cloned().collect();
        self.position = self.position.max(to);
        self.reading = None;
        Look::Show(shown)
    }
}
