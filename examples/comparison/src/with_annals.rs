use annals::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Account {
    cents: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
}

#[derive(Serialize, Deserialize, Command)]
struct Deposit {
    cents: u64,
}

#[derive(Serialize, Deserialize, Command)]
struct Withdraw {
    cents: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Overdrawn {
    by: u64,
}

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Deposit, Withdraw);

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.cents += cents,
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
        }
    }
}

impl Handle<Deposit> for Account {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, deposit: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
        ctx.persist(AccountEvent::Deposited { cents: deposit.cents }).reply(|account| account.cents)
    }
}

impl Handle<Withdraw> for Account {
    type Reply = u64;
    type Rejection = Overdrawn;

    fn handle(&self, withdraw: &Withdraw, ctx: &mut Context<Self, Withdraw>) -> Effect<Self, Withdraw> {
        if withdraw.cents > self.cents {
            return ctx.reject(Overdrawn { by: withdraw.cents - self.cents });
        }
        ctx.persist(AccountEvent::Withdrawn { cents: withdraw.cents }).reply(|account| account.cents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_account_survives_a_restart_and_is_never_overdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("bank.db").display());
        let node = Annals::builder("bank").journal(&url).entity::<Account>().start().await.unwrap();
        let alice = node.entity::<Account>("alice");
        assert_eq!(alice.ask(Deposit { cents: 500 }).await, Ok(500));
        assert_eq!(alice.ask(Withdraw { cents: 700 }).await, Err(AskError::Rejected(Overdrawn { by: 200 })));
        node.shutdown().await;
        let node = Annals::builder("bank").journal(&url).entity::<Account>().start().await.unwrap();
        assert_eq!(node.entity::<Account>("alice").ask(Withdraw { cents: 200 }).await, Ok(300));
        node.shutdown().await;
    }
}
