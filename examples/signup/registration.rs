//! The steps: reserve the address, register the user, confirm the address. Each may be repeated.
//!
//! A crash between two of them leaves a reservation. Its time-out does not release it, because the user may be registered
//! already; it lets the next one who wants the address find out, and make sure that it stays so:
//!
//! ```text
//! reservation expired ──> Abandon the user ──┬── never registered ──> Release, and reserve it oneself
//!                                            └── registered ────────> Confirm for them: taken
//! ```

use std::time::Duration;

use annals::prelude::*;

use crate::address::{Address, Confirm, NotFree, Release, Reserve};
use crate::user::{Abandon, NotRegistered, Register, User};

/// Signs users up; cheap to clone.
#[derive(Clone)]
pub(crate) struct Registration {
    node: Node,
    reservation: Duration,
}

/// How a sign-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The user is registered and the address is theirs.
    Welcome,
    /// Another user has the address.
    Taken,
    /// Another user is signing up with it.
    Busy,
    /// The user took too long, and another was let through.
    Expired,
}

impl Registration {
    pub(crate) fn new(node: Node, reservation: Duration) -> Self {
        Self { node, reservation }
    }

    /// Signs a user up with an address. Without an answer: call it again, it counts once.
    pub(crate) async fn sign_up(&self, user: &str, address: &str) -> anyhow::Result<Outcome> {
        let address = address.to_lowercase();
        match self.reserve(user, &address).await {
            Ok(()) => {}
            Err(AskError::Rejected(NotFree::Taken)) => return Ok(Outcome::Taken),
            Err(AskError::Rejected(NotFree::Reserved)) => return Ok(Outcome::Busy),
            Err(AskError::Rejected(NotFree::Expired { user: other })) => {
                self.settle(&other, &address).await?;
                // Once: whoever else wants it may have been faster, and then they are the busy one.
                match self.reserve(user, &address).await {
                    Ok(()) => {}
                    Err(AskError::Rejected(NotFree::Taken)) => return Ok(Outcome::Taken),
                    Err(AskError::Rejected(_)) => return Ok(Outcome::Busy),
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
        match self.register(user, &address).await {
            Ok(()) => {}
            Err(AskError::Rejected(NotRegistered::Abandoned)) => {
                // The next one would do it; this is only sooner.
                self.address(&address).ask(Release { user: user.to_owned() }).await?;
                return Ok(Outcome::Expired);
            }
            Err(error) => return Err(error.into()),
        }
        self.confirm(user, &address).await?;
        Ok(Outcome::Welcome)
    }

    async fn reserve(&self, user: &str, address: &str) -> Result<(), AskError<NotFree>> {
        let milliseconds = u64::try_from(self.reservation.as_millis()).unwrap_or(u64::MAX);
        self.address(address).ask(Reserve { user: user.to_owned(), milliseconds }).await
    }

    async fn register(&self, user: &str, address: &str) -> Result<(), AskError<NotRegistered>> {
        self.node.entity::<User>(user).ask(Register { address: address.to_owned() }).await
    }

    async fn confirm(&self, user: &str, address: &str) -> anyhow::Result<()> {
        Ok(self.address(address).ask(Confirm { user: user.to_owned() }).await?)
    }

    /// Brings what another user began to its end.
    async fn settle(&self, other: &str, address: &str) -> anyhow::Result<()> {
        match self.node.entity::<User>(other).ask(Abandon).await? {
            Some(theirs) if theirs == address => self.confirm(other, address).await,
            // Never registered, or with another address: this one is not theirs.
            _ => Ok(self.address(address).ask(Release { user: other.to_owned() }).await?),
        }
    }

    fn address(&self, address: &str) -> EntityRef<Address> {
        self.node.entity::<Address>(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "Ada@Example.com";
    const STORED: &str = "ada@example.com";

    /// Reservations that last long, and the same node with ones that are over at once.
    async fn registrations() -> (Registration, Registration) {
        let node = Annals::builder("test")
            .journal("memory:")
            .entity::<Address>()
            .entity::<User>()
            .start()
            .await
            .unwrap();
        (Registration::new(node.clone(), Duration::from_hours(1)), Registration::new(node, Duration::ZERO))
    }

    #[tokio::test]
    async fn of_two_at_once_one_gets_the_address() {
        for _ in 0..50 {
            let (registration, _) = registrations().await;
            let (one, other) =
                tokio::join!(registration.sign_up("u-1", ADA), registration.sign_up("u-2", STORED));
            let winner = if one.unwrap() == Outcome::Welcome { "u-1" } else { "u-2" };
            let loser = if winner == "u-1" { other.unwrap() } else { Outcome::Busy };
            assert_ne!(loser, Outcome::Welcome);
            for (user, outcome) in [("u-1", winner == "u-1"), ("u-2", winner == "u-2")] {
                let expected = if outcome { Outcome::Welcome } else { Outcome::Taken };
                assert_eq!(registration.sign_up(user, ADA).await.unwrap(), expected);
            }
        }
    }

    #[tokio::test]
    async fn a_reservation_is_respected_while_it_lasts() {
        let (registration, _) = registrations().await;
        registration.reserve("u-1", STORED).await.unwrap();
        assert_eq!(registration.sign_up("u-2", ADA).await.unwrap(), Outcome::Busy);
        assert_eq!(registration.sign_up("u-1", ADA).await.unwrap(), Outcome::Welcome);
    }

    #[tokio::test]
    async fn an_address_that_a_crash_left_reserved_goes_to_the_next_when_its_time_is_over() {
        let (registration, expired) = registrations().await;
        expired.reserve("u-1", STORED).await.unwrap();
        assert_eq!(registration.sign_up("u-2", ADA).await.unwrap(), Outcome::Welcome);
        assert!(matches!(
            registration.register("u-1", STORED).await,
            Err(AskError::Rejected(NotRegistered::Abandoned))
        ));
        assert_eq!(registration.sign_up("u-1", ADA).await.unwrap(), Outcome::Taken);
    }

    #[tokio::test]
    async fn a_user_who_was_registered_before_the_crash_keeps_the_address_however_late() {
        let (registration, expired) = registrations().await;
        expired.reserve("u-1", STORED).await.unwrap();
        registration.register("u-1", STORED).await.unwrap();
        assert_eq!(registration.sign_up("u-2", ADA).await.unwrap(), Outcome::Taken);
        assert_eq!(registration.sign_up("u-1", ADA).await.unwrap(), Outcome::Welcome);
    }

    #[tokio::test]
    async fn a_user_who_comes_back_too_late_frees_the_address() {
        let (registration, expired) = registrations().await;
        expired.reserve("u-1", STORED).await.unwrap();
        // Somebody gave u-1 up and died before the release.
        registration.node.entity::<User>("u-1").ask(Abandon).await.unwrap();
        assert_eq!(expired.sign_up("u-1", ADA).await.unwrap(), Outcome::Expired);
        assert_eq!(registration.sign_up("u-3", ADA).await.unwrap(), Outcome::Welcome);
    }

    #[tokio::test]
    async fn a_late_release_does_not_take_the_address_from_the_next_user() {
        let (registration, expired) = registrations().await;
        expired.reserve("u-1", STORED).await.unwrap();
        assert_eq!(registration.sign_up("u-2", ADA).await.unwrap(), Outcome::Welcome);
        registration.address(STORED).ask(Release { user: "u-1".to_owned() }).await.unwrap();
        assert_eq!(registration.sign_up("u-3", ADA).await.unwrap(), Outcome::Taken);
    }
}
