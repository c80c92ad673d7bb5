use std::collections::HashMap;

use annals_journal::PersistenceId;
use tokio::time::Instant;

use crate::Failure;
use crate::entity::Supervision;

/// Entities that could not recover, or panicked too often: for a while their commands are answered with the failure, at
/// once. So a flood of commands to one of them does not replay its journal for each command. Bounded; no clock of its own.
#[derive(Debug, Default)]
pub(crate) struct LeftAlone(HashMap<PersistenceId, Remembered>);

#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) failure: Failure,
    /// When its next command wakes it.
    pub(crate) until: Instant,
    /// How it has fared, for when it is woken.
    pub(crate) supervision: Option<Box<Supervision>>,
}

/// So many are remembered in one part of a kind's entities.
const MOST: usize = 128;

impl LeftAlone {
    /// Whether the entity may be woken, with what is known of it.
    pub(crate) fn wake(
        &mut self,
        id: &PersistenceId,
        now: Instant,
    ) -> Result<Option<Box<Supervision>>, Failure> {
        match self.0.get(id) {
            None => Ok(None),
            Some(remembered) if now < remembered.until => {
                Err(remembered.failure.clone().after(remembered.until - now))
            }
            Some(_) => Ok(self.0.remove(id).and_then(|remembered| remembered.supervision)),
        }
    }

    /// Forgets all, or one.
    #[cfg(feature = "testing")]
    pub(crate) fn forget(&mut self, only: Option<&PersistenceId>) {
        self.0.retain(|id, _| only.is_some_and(|only| only != id));
    }

    /// Remembers one. When there are too many, the one whose time is up first is forgotten: its next command wakes it.
    pub(crate) fn remember(&mut self, id: PersistenceId, remembered: Remembered) {
        if self.0.len() >= MOST
            && !self.0.contains_key(&id)
            && let Some(first) = self.0.iter().min_by_key(|(_, other)| other.until).map(|(id, _)| id.clone())
        {
            self.0.remove(&first);
        }
        self.0.insert(id, remembered);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::RecoveryError;

    const SEC: Duration = Duration::from_secs(1);

    fn id(number: usize) -> PersistenceId {
        PersistenceId::new("counter", &number.to_string()).unwrap()
    }

    fn failed(number: usize, until: Instant) -> Remembered {
        let reason = RecoveryError::TimedOut;
        let failure = Failure::RecoveryFailed { persistence_id: id(number), reason, retry_after: 99 * SEC };
        Remembered { failure, until, supervision: None }
    }

    #[test]
    fn the_failure_says_how_long_it_is_still_left_alone() {
        let (now, mut left_alone) = (Instant::now(), LeftAlone::default());
        left_alone.remember(id(1), failed(1, now + 3 * SEC));
        let failure = left_alone.wake(&id(1), now + SEC).unwrap_err();
        assert!(matches!(failure, Failure::RecoveryFailed { retry_after, .. } if retry_after == 2 * SEC));
        assert!(left_alone.wake(&id(2), now).is_ok());
        assert!(left_alone.wake(&id(1), now + 3 * SEC).is_ok());
        assert!(left_alone.0.is_empty(), "it is in memory now");
    }

    #[test]
    fn however_many_fail_so_many_are_remembered_those_that_have_longest_to_go() {
        let (now, mut left_alone) = (Instant::now(), LeftAlone::default());
        for number in 0..10 * MOST {
            left_alone.remember(id(number), failed(number, now + number as u32 * SEC));
            assert!(left_alone.0.len() <= MOST);
        }
        assert!(left_alone.wake(&id(9 * MOST - 1), now).is_ok());
        assert!(left_alone.wake(&id(9 * MOST), now).is_err());
        left_alone.remember(id(9 * MOST), failed(9 * MOST, now));
        assert_eq!(left_alone.0.len(), MOST, "one that fails again takes no other's place");
    }
}
