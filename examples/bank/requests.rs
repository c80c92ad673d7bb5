//! What an account remembers about the requests that changed it, so that a repeated one changes nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The answered requests of one account, oldest first.
///
/// A request is remembered as long as it is among the last [`KEPT_ALWAYS`], and besides for [`KEPT_FOR`] as long as
/// it is among the last [`KEPT_AT_MOST`]. It is a fold over the account's events: the clock is the time stamp of the
/// newest event, so that a replay remembers and forgets exactly what the live account did.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    recent: VecDeque<Remembered>,
    /// Where each id is: its place in `recent` plus `forgotten`.
    places: HashMap<String, u64>,
    /// How many have left `recent` at the front.
    forgotten: u64,
}

/// So many requests are remembered whatever their age.
pub(crate) const KEPT_ALWAYS: usize = 1_000;
/// A younger request is remembered, within [`KEPT_AT_MOST`].
pub(crate) const KEPT_FOR: Duration = Duration::from_hours(24);
/// More are never remembered: it bounds the account's memory and its snapshot (about 2 MiB at the longest ids).
pub(crate) const KEPT_AT_MOST: usize = 10_000;

/// A request that changed the account, and what it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The client's name for the request.
    pub(crate) request_id: String,
    /// What it asked for, in cents: above zero a deposit, below a withdrawal.
    pub(crate) change: i64,
    /// The balance that it was answered, in cents.
    pub(crate) cents: u64,
    /// The sequence number that it was answered.
    pub(crate) seq_nr: u64,
    /// When it was decided, in microseconds since 1970.
    pub(crate) at: u64,
}

impl Requests {
    /// The request of this name, unless it was never answered or is forgotten.
    pub(crate) fn find(&self, request_id: &str) -> Option<&Remembered> {
        let place = self.places.get(request_id)?;
        self.recent.get(usize::try_from(place - self.forgotten).ok()?)
    }

    /// Remembers a request, and forgets those that need not be kept any more.
    pub(crate) fn remember(&mut self, request: Remembered) {
        let now = request.at;
        self.push(request);
        while self.must_forget_oldest(now) {
            self.forget_oldest();
        }
    }

    fn push(&mut self, request: Remembered) {
        let place = self.forgotten + self.recent.len() as u64;
        self.places.insert(request.request_id.clone(), place);
        self.recent.push_back(request);
    }

    fn must_forget_oldest(&self, now: u64) -> bool {
        let Some(oldest) = self.recent.front() else { return false };
        let age = Duration::from_micros(now.saturating_sub(oldest.at));
        self.recent.len() > KEPT_AT_MOST || (self.recent.len() > KEPT_ALWAYS && age > KEPT_FOR)
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.recent.pop_front() else { return };
        if self.places.get(&oldest.request_id) == Some(&self.forgotten) {
            self.places.remove(&oldest.request_id);
        }
        self.forgotten += 1;
    }
}

/// Stored as the plain list; the index is made again when it is read.
impl Serialize for Requests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.recent.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Requests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut requests = Self::default();
        for request in Vec::<Remembered>::deserialize(deserializer)? {
            requests.push(request);
        }
        Ok(requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;

    fn request(number: u64, at: u64) -> Remembered {
        Remembered { request_id: format!("r{number}"), change: 1, cents: number, seq_nr: number, at }
    }

    /// An account with requests 1..=count, all at one time.
    fn requests(count: usize, at: u64) -> Requests {
        let mut requests = Requests::default();
        for number in 1..=count as u64 {
            requests.remember(request(number, at));
        }
        requests
    }

    #[test]
    fn a_request_is_found_with_its_answer() {
        let requests = requests(3, 0);
        assert_eq!(requests.find("r2"), Some(&request(2, 0)));
        assert_eq!(requests.find("r4"), None);
    }

    #[test]
    fn the_last_thousand_are_kept_whatever_their_age() {
        let mut requests = requests(KEPT_ALWAYS, 0);
        requests.remember(request(5_000, 1_000 * HOUR));
        assert_eq!(requests.find("r1"), None);
        assert_eq!(requests.find("r2"), Some(&request(2, 0)));
        assert_eq!(requests.recent.len(), KEPT_ALWAYS);
        assert_eq!(requests.places.len(), KEPT_ALWAYS);
    }

    #[test]
    fn a_day_is_kept_beyond_the_last_thousand() {
        let mut requests = requests(KEPT_ALWAYS + 500, 0);
        requests.remember(request(5_000, 24 * HOUR));
        assert!(requests.find("r1").is_some());
        requests.remember(request(5_001, 24 * HOUR + 1));
        assert!(requests.find("r1").is_none());
        assert_eq!(requests.recent.len(), KEPT_ALWAYS);
    }

    #[test]
    fn the_second_bound_holds_within_a_day() {
        let mut requests = requests(KEPT_AT_MOST, 0);
        requests.remember(request(KEPT_AT_MOST as u64 + 1, 0));
        assert!(requests.find("r1").is_none());
        assert!(requests.find("r2").is_some());
        assert_eq!(requests.recent.len(), KEPT_AT_MOST);
        assert_eq!(requests.places.len(), KEPT_AT_MOST);
    }

    #[test]
    fn a_clock_that_went_back_forgets_nothing_early() {
        let mut requests = requests(KEPT_ALWAYS, 48 * HOUR);
        requests.remember(request(5_000, 0));
        assert!(requests.find("r1").is_some());
    }

    #[test]
    fn what_was_remembered_survives_a_snapshot() {
        let mut before = requests(KEPT_ALWAYS, 0);
        before.remember(request(5_000, 1_000 * HOUR));
        let stored = serde_json::to_vec(&before).unwrap();
        let mut after: Requests = serde_json::from_slice(&stored).unwrap();
        assert_eq!(after.recent, before.recent);
        assert_eq!(after.find("r2"), before.find("r2"));
        assert_eq!(after.find("r1"), None);
        after.remember(request(5_001, 1_000 * HOUR));
        assert_eq!(after.find("r5000"), Some(&request(5_000, 1_000 * HOUR)));
        assert_eq!(after.find("r2"), None);
    }
}
