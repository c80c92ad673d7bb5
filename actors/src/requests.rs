use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use annals_journal::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The answered requests of one aggregate, so that a repeated request gets its first answer and changes nothing.
///
/// A part of the state: [`remember`](Self::remember) is called in `apply`, [`first_answer`](Self::first_answer) in a handler
/// before anything is decided. It is a fold over the events, and what it holds is part of a snapshot, so it survives every
/// restart. What it keeps is bounded by [`KeepRequests`]; its clock is the time of the newest event, so that a replay
/// remembers and forgets exactly what the live entity did.
///
/// `Asked` is what a request asks for, as far as a repeated one must equal the first; `Answer` is what it was answered.
///
/// ```
/// use annals_actors::{KeepRequests, Requests};
/// use annals_journal::Timestamp;
///
/// let mut requests = Requests::<u64, &str>::default();
/// requests.remember("a-1", 500, "first answer", Timestamp::from_micros(1), &KeepRequests::DEFAULT);
/// assert_eq!(requests.first_answer("a-1", &500)?, Some(&"first answer"));
/// assert_eq!(requests.first_answer("a-2", &500)?, None);
/// assert!(requests.first_answer("a-1", &501).is_err());
/// # Ok::<(), annals_actors::RequestIdReused>(())
/// ```
#[derive(Debug, Clone)]
pub struct Requests<Asked, Answer> {
    /// Oldest first.
    recent: VecDeque<Remembered<Asked, Answer>>,
    /// Where each id is: its place in `recent` plus `forgotten`.
    places: HashMap<String, u64>,
    /// How many have left `recent` at the front.
    forgotten: u64,
}

/// How many answered requests are remembered, and for how long.
///
/// A constant of the build: raising a bound takes effect from then on, and does not bring back what was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepRequests {
    /// So many are remembered whatever their age, within `at_most`; default 1,000.
    pub always: usize,
    /// A younger one is remembered, within `at_most`; default 24 hours.
    pub younger_than: Duration,
    /// More are never remembered: bounds the memory of an entity and the size of its snapshot; default 10,000.
    pub at_most: usize,
}

impl KeepRequests {
    /// The last 1,000, and within the last 10,000 those of the last 24 hours.
    pub const DEFAULT: Self = Self { always: 1_000, younger_than: Duration::from_hours(24), at_most: 10_000 };
}

impl Default for KeepRequests {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A request id came again with another request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "request id {request_id:?} was used for another request; send a new id for a new request, \
     or the same request to hear its first answer again"
)]
pub struct RequestIdReused {
    /// The id.
    pub request_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered<Asked, Answer> {
    request_id: String,
    asked: Asked,
    answer: Answer,
    /// Microseconds since 1970.
    at: u64,
}

impl<Asked: PartialEq, Answer> Requests<Asked, Answer> {
    /// What the request was answered, or `None` when it was never answered or is forgotten: then decide it.
    ///
    /// # Errors
    /// [`RequestIdReused`] when the id was answered for something else: reject the command.
    pub fn first_answer(&self, request_id: &str, asked: &Asked) -> Result<Option<&Answer>, RequestIdReused> {
        match self.find(request_id) {
            None => Ok(None),
            Some(first) if first.asked == *asked => Ok(Some(&first.answer)),
            Some(_) => Err(RequestIdReused { request_id: request_id.to_owned() }),
        }
    }
}

impl<Asked, Answer> Requests<Asked, Answer> {
    /// Remembers an answered request, and forgets those that need not be kept any more.
    ///
    /// `at` is the time of the event (`ctx.now()` when it was decided, carried in the event): never the clock in `apply`.
    pub fn remember(
        &mut self,
        request_id: impl Into<String>,
        asked: Asked,
        answer: Answer,
        at: Timestamp,
        keep: &KeepRequests,
    ) {
        let now = at.as_micros();
        self.push(Remembered { request_id: request_id.into(), asked, answer, at: now });
        while self.must_forget_oldest(now, keep) {
            self.forget_oldest();
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.recent.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty()
    }

    fn find(&self, request_id: &str) -> Option<&Remembered<Asked, Answer>> {
        let place = self.places.get(request_id)?;
        self.recent.get(usize::try_from(place - self.forgotten).ok()?)
    }

    fn push(&mut self, request: Remembered<Asked, Answer>) {
        let place = self.forgotten + self.recent.len() as u64;
        self.places.insert(request.request_id.clone(), place);
        self.recent.push_back(request);
    }

    fn must_forget_oldest(&self, now: u64, keep: &KeepRequests) -> bool {
        let Some(oldest) = self.recent.front() else { return false };
        let age = Duration::from_micros(now.saturating_sub(oldest.at));
        self.recent.len() > keep.at_most || (self.recent.len() > keep.always && age > keep.younger_than)
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.recent.pop_front() else { return };
        // An id that was remembered again has its newer place.
        if self.places.get(&oldest.request_id) == Some(&self.forgotten) {
            self.places.remove(&oldest.request_id);
        }
        self.forgotten += 1;
    }
}

impl<Asked, Answer> Default for Requests<Asked, Answer> {
    fn default() -> Self {
        Self { recent: VecDeque::new(), places: HashMap::new(), forgotten: 0 }
    }
}

/// The same requests are remembered, in the same order.
impl<Asked: PartialEq, Answer: PartialEq> PartialEq for Requests<Asked, Answer> {
    fn eq(&self, other: &Self) -> bool {
        self.recent == other.recent
    }
}

/// Stored as the plain list; the index is made again when it is read.
impl<Asked: Serialize, Answer: Serialize> Serialize for Requests<Asked, Answer> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.recent.serialize(serializer)
    }
}

impl<'de, Asked: Deserialize<'de>, Answer: Deserialize<'de>> Deserialize<'de> for Requests<Asked, Answer> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut requests = Self::default();
        for request in Vec::<Remembered<Asked, Answer>>::deserialize(deserializer)? {
            requests.push(request);
        }
        Ok(requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const KEEP: KeepRequests = KeepRequests::DEFAULT;

    fn remember(requests: &mut Requests<u64, u64>, number: u64, at: u64) {
        requests.remember(format!("r{number}"), number, number * 2, Timestamp::from_micros(at), &KEEP);
    }

    /// Requests 1..=count, all at one time; request n asks for n and is answered 2n.
    fn requests(count: usize, at: u64) -> Requests<u64, u64> {
        let mut requests = Requests::default();
        for number in 1..=count as u64 {
            remember(&mut requests, number, at);
        }
        requests
    }

    fn remembers(requests: &Requests<u64, u64>, number: u64) -> bool {
        requests.first_answer(&format!("r{number}"), &number) == Ok(Some(&(number * 2)))
    }

    #[test]
    fn a_request_is_found_with_its_answer() {
        let requests = requests(3, 0);
        assert_eq!(requests.first_answer("r2", &2), Ok(Some(&4)));
        assert_eq!(requests.first_answer("r4", &4), Ok(None));
    }

    #[test]
    fn a_known_id_with_another_request_is_an_error() {
        let reused = requests(3, 0).first_answer("r2", &3).unwrap_err();
        assert!(reused.to_string().contains("\"r2\" was used for another request"));
    }

    #[test]
    fn the_last_thousand_are_kept_whatever_their_age() {
        let mut requests = requests(KEEP.always, 0);
        remember(&mut requests, 5_000, 1_000 * HOUR);
        assert!(!remembers(&requests, 1));
        assert!(remembers(&requests, 2));
        assert_eq!(requests.len(), KEEP.always);
        assert_eq!(requests.places.len(), KEEP.always);
    }

    #[test]
    fn a_day_is_kept_beyond_the_last_thousand() {
        let mut requests = requests(KEEP.always + 500, 0);
        remember(&mut requests, 5_000, 24 * HOUR);
        assert!(remembers(&requests, 1));
        remember(&mut requests, 5_001, 24 * HOUR + 1);
        assert!(!remembers(&requests, 1));
        assert_eq!(requests.len(), KEEP.always);
    }

    #[test]
    fn the_second_bound_holds_within_a_day() {
        let mut requests = requests(KEEP.at_most, 0);
        remember(&mut requests, KEEP.at_most as u64 + 1, 0);
        assert!(!remembers(&requests, 1));
        assert!(remembers(&requests, 2));
        assert_eq!(requests.len(), KEEP.at_most);
        assert_eq!(requests.places.len(), KEEP.at_most);
    }

    #[test]
    fn the_bounds_are_settings() {
        let keep = KeepRequests { always: 0, younger_than: Duration::from_secs(1), at_most: 2 };
        let mut requests = Requests::<(), ()>::default();
        for number in 0..5 {
            requests.remember(number.to_string(), (), (), Timestamp::from_micros(0), &keep);
        }
        assert_eq!(requests.len(), 2);
        requests.remember("late", (), (), Timestamp::from_micros(2_000_000), &keep);
        assert_eq!(requests.len(), 1);
    }

    #[test]
    fn an_id_that_was_remembered_again_has_its_newer_answer() {
        let keep = KeepRequests { at_most: 2, ..KEEP };
        let mut requests = Requests::default();
        for (id, answer) in [("a", 1), ("a", 2), ("b", 3)] {
            requests.remember(id, (), answer, Timestamp::from_micros(0), &keep);
        }
        assert_eq!(requests.first_answer("a", &()), Ok(Some(&2)));
    }

    #[test]
    fn a_clock_that_went_back_forgets_nothing_early() {
        let mut requests = requests(KEEP.always, 48 * HOUR);
        remember(&mut requests, 5_000, 0);
        assert!(remembers(&requests, 1));
    }

    #[test]
    fn what_was_remembered_survives_a_snapshot() {
        let mut before = requests(KEEP.always, 0);
        remember(&mut before, 5_000, 1_000 * HOUR);
        let stored = serde_json::to_vec(&before).unwrap();
        let mut after: Requests<u64, u64> = serde_json::from_slice(&stored).unwrap();
        assert_eq!(after, before);
        assert!(remembers(&after, 2) && !remembers(&after, 1));
        remember(&mut after, 5_001, 1_000 * HOUR);
        assert!(remembers(&after, 5_000) && !remembers(&after, 2));
    }
}
