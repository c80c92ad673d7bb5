use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Account {
    cents: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Deposited { .. } => "Deposited".into(),
            Self::Withdrawn { .. } => "Withdrawn".into(),
        }
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

enum AccountCommand {
    Deposit { cents: u64 },
    Withdraw { cents: u64 },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("overdrawn by {by}")]
struct Overdrawn {
    by: u64,
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = Overdrawn;
    type Services = ();

    async fn handle(
        &mut self,
        command: AccountCommand,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Overdrawn> {
        match command {
            AccountCommand::Deposit { cents } => sink.write(AccountEvent::Deposited { cents }, self).await,
            AccountCommand::Withdraw { cents } if cents > self.cents => {
                return Err(Overdrawn { by: cents - self.cents });
            }
            AccountCommand::Withdraw { cents } => sink.write(AccountEvent::Withdrawn { cents }, self).await,
        }
        Ok(())
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::mem_store::MemStore;
    use cqrs_es::{AggregateError, CqrsFramework, EventStore};

    use super::*;

    #[tokio::test]
    async fn the_account_is_what_its_events_say_and_is_never_overdrawn() {
        let store = MemStore::<Account>::default();
        let bank = CqrsFramework::new(store.clone(), vec![], ());
        bank.execute("alice", AccountCommand::Deposit { cents: 500 }).await.unwrap();
        let refused = bank.execute("alice", AccountCommand::Withdraw { cents: 700 }).await.unwrap_err();
        assert!(matches!(refused, AggregateError::UserError(Overdrawn { by: 200 })), "{refused:?}");
        // What comes after a restart is the same as what comes before each command: all events are loaded.
        let bank = CqrsFramework::new(store.clone(), vec![], ());
        bank.execute("alice", AccountCommand::Withdraw { cents: 200 }).await.unwrap();
        let events = store.load_events("alice").await.unwrap();
        let payloads: Vec<_> = events.into_iter().map(|event| event.payload).collect();
        assert_eq!(
            payloads,
            [AccountEvent::Deposited { cents: 500 }, AccountEvent::Withdrawn { cents: 200 }]
        );
    }
}
