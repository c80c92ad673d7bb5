use std::fmt;
use std::time::Duration;

use super::gate::Bars;

/// What becomes of one call: when it goes on, and with which answer.
#[derive(Clone)]
pub struct Fault<A> {
    /// What it is answered.
    pub answer: A,
    pub(super) gate: Option<Bars>,
    pub(super) delay: Duration,
    pub(super) answer_delay: Duration,
    pub(super) after_events: u64,
}

impl<A: Default> Default for Fault<A> {
    /// Nothing: the truth, at once.
    fn default() -> Self {
        Self::new(A::default())
    }
}

impl<A> Fault<A> {
    /// This answer, at once.
    pub fn new(answer: A) -> Self {
        Self { answer, gate: None, delay: Duration::ZERO, answer_delay: Duration::ZERO, after_events: 0 }
    }

    /// The same, begun so much later; in a replay, so long a silence.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same in the middle of a replay: it gives so many events first.
    #[must_use]
    pub fn after_events(self, events: u64) -> Self {
        Self { after_events: events, ..self }
    }

    /// Waits until the call may go on.
    pub async fn begin(&self) {
        Self::begin_all(std::slice::from_ref(self)).await;
    }

    /// Waits until a list of calls may go on, which are one call to the store: for each gate once, and for the longest delay.
    pub async fn begin_all(faults: &[Self]) {
        let mut passed: Vec<&Bars> = Vec::new();
        for bars in faults.iter().filter_map(|fault| fault.gate.as_ref()) {
            if !passed.iter().any(|other| other.same(bars)) {
                bars.pass().await;
                passed.push(bars);
            }
        }
        sleep(faults.iter().map(|fault| fault.delay).max()).await;
    }

    /// Waits until a list of calls, which are one call to the store, may be answered.
    pub async fn end_all(faults: &[Self]) {
        sleep(faults.iter().map(|fault| fault.answer_delay).max()).await;
    }
}

/// Not even a timer for nothing: stores are also asked outside of a runtime.
async fn sleep(time: Option<Duration>) {
    if let Some(time) = time
        && !time.is_zero()
    {
        tokio::time::sleep(time).await;
    }
}

impl<A: fmt::Debug> fmt::Debug for Fault<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("answer", &self.answer).finish_non_exhaustive()
    }
}
