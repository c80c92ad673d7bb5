use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use kameo::Actor;
use kameo::actor::ActorRef;
use kameo::message::{Context, Message};
use serde::{Deserialize, Serialize};

struct Account {
    cents: u64,
    journal: File,
}

#[derive(Serialize, Deserialize)]
enum AccountEvent {
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
}

struct Deposit {
    cents: u64,
}

struct Withdraw {
    cents: u64,
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Refused {
    #[error("overdrawn by {by}")]
    Overdrawn { by: u64 },
    #[error("not stored, or perhaps stored: {0}")]
    Journal(String),
}

impl Actor for Account {
    type Args = PathBuf;
    type Error = std::io::Error;

    // kameo keeps nothing: this file is all the journal there is.
    async fn on_start(file: PathBuf, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        let journal = OpenOptions::new().create(true).append(true).open(&file)?;
        let mut account = Self { cents: 0, journal };
        for line in fs::read_to_string(&file)?.lines() {
            account.apply(&serde_json::from_str(line)?);
        }
        Ok(account)
    }
}

impl Account {
    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
        }
    }

    fn persist(&mut self, event: AccountEvent) -> Result<u64, Refused> {
        let refused = |error: &dyn std::error::Error| Refused::Journal(error.to_string());
        let mut line = serde_json::to_vec(&event).map_err(|error| refused(&error))?;
        line.push(b'\n');
        self.journal.write_all(&line).map_err(|error| refused(&error))?;
        // Blocks a thread of the runtime, once for each event.
        self.journal.sync_data().map_err(|error| refused(&error))?;
        self.apply(&event);
        Ok(self.cents)
    }
}

impl Message<Deposit> for Account {
    type Reply = Result<u64, Refused>;

    async fn handle(&mut self, deposit: Deposit, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        self.persist(AccountEvent::Deposited { cents: deposit.cents })
    }
}

impl Message<Withdraw> for Account {
    type Reply = Result<u64, Refused>;

    async fn handle(&mut self, withdraw: Withdraw, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        if withdraw.cents > self.cents {
            return Err(Refused::Overdrawn { by: withdraw.cents - self.cents });
        }
        self.persist(AccountEvent::Withdrawn { cents: withdraw.cents })
    }
}

#[cfg(test)]
mod tests {
    use kameo::actor::Spawn;
    use kameo::error::SendError;

    use super::*;

    #[tokio::test]
    async fn the_account_survives_a_restart_and_is_never_overdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alice.jsonl");
        let alice = Account::spawn(file.clone());
        assert_eq!(alice.ask(Deposit { cents: 500 }).await.unwrap(), 500);
        let refused = alice.ask(Withdraw { cents: 700 }).await.unwrap_err();
        assert!(matches!(refused, SendError::HandlerError(Refused::Overdrawn { by: 200 })), "{refused:?}");
        alice.stop_gracefully().await.unwrap();
        alice.wait_for_shutdown().await;
        let alice = Account::spawn(file);
        assert_eq!(alice.ask(Withdraw { cents: 200 }).await.unwrap(), 300);
    }
}
