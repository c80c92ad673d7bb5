use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::loan::Outcome;

/// How many cases there are, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) cases: u64,
    pub(crate) events: u64,
    pub(crate) approved: u64,
    pub(crate) declined: u64,
    pub(crate) cancelled: u64,
    pub(crate) open: u64,
}

impl Totals {
    /// Counts a case.
    pub(crate) fn add(&mut self, events: u64, outcome: Outcome) {
        self.cases += 1;
        self.events += events;
        match outcome {
            Outcome::Approved => self.approved += 1,
            Outcome::Declined => self.declined += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Open => self.open += 1,
        }
    }

    /// One JSON object, with how fast it went.
    pub(crate) fn to_json(self, took: Duration) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Report {
            cases: u64,
            events: u64,
            events_per_second: u64,
            approved: u64,
            declined: u64,
            cancelled: u64,
            open: u64,
        }
        let Self { cases, events, approved, declined, cancelled, open } = self;
        let events_per_second = self.per_second(took);
        serde_json::to_string(&Report {
            cases,
            events,
            events_per_second,
            approved,
            declined,
            cancelled,
            open,
        })
    }

    /// Events in a second.
    pub(crate) fn per_second(self, took: Duration) -> u64 {
        let micros = took.as_micros().max(1);
        u64::try_from(u128::from(self.events) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, events, approved, declined, cancelled, open } = self;
        write!(
            f,
            "cases      {cases:>9}\nevents     {events:>9}\napproved   {approved:>9}\ndeclined   {declined:>9}\n\
             cancelled  {cancelled:>9}\nopen       {open:>9}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_the_rate_and_one_line() {
        let mut totals = Totals::default();
        totals.add(30, Outcome::Approved);
        totals.add(10, Outcome::Open);
        assert_eq!(
            totals.to_json(Duration::from_millis(500)).unwrap(),
            r#"{"cases":2,"events":40,"events_per_second":80,"approved":1,"declined":0,"cancelled":0,"open":1}"#
        );
        assert_eq!(totals.per_second(Duration::ZERO), 40_000_000);
    }
}
