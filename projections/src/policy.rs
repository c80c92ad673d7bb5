use std::time::Duration;

/// What a projection does with an event that its handler cannot take.
///
/// The event is tried again after pauses that double; the other events of its batch are projected meanwhile, up to the one in
/// front of it. What cannot be reached (the database of the view, the journal) is no failure of the handler: it is waited for without an end.
///
/// ```
/// use std::time::Duration;
/// use annals_projections::FailurePolicy;
///
/// FailurePolicy::skip().retries(3).pauses(Duration::from_millis(50), Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct FailurePolicy {
    pub(crate) retries: u32,
    first: Duration,
    longest: Duration,
    pub(crate) then: Then,
}

/// What comes after the last try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Skip,
    Stop,
    Again,
}

impl FailurePolicy {
    /// After the last try the projection stops, and goes on at this event when it is [resumed](crate::Projection::resume) or the node starts.
    /// The default, because nothing is missing in the view.
    pub fn stop() -> Self {
        Self {
            retries: 5,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(30),
            then: Then::Stop,
        }
    }

    /// After the last try the event becomes a [dead letter](crate::DeadLetter), and the projection goes on behind it.
    pub fn skip() -> Self {
        Self { then: Then::Skip, ..Self::stop() }
    }

    /// It is tried for ever.
    pub fn retry() -> Self {
        Self { then: Then::Again, ..Self::stop() }
    }

    /// How often an event is tried again; default 5. Nothing for [`FailurePolicy::retry`].
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// The first pause and the longest; default 200 ms and 30 s.
    pub fn pauses(self, first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), ..self }
    }

    /// The pause after so many failures, from 1.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self::stop()
    }
}
