use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// An invoice, of which its debtor is reminded once when it is due and not paid.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Invoice {
    /// Microseconds since 1970.
    due: Option<u64>,
    paid: bool,
    reminded: bool,
}

/// What happened to an invoice.
#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
pub(crate) enum InvoiceEvent {
    Issued { due: u64 },
    Paid,
    Reminded,
}

impl PersistentActor for Invoice {
    const KIND: &'static str = "invoice";
    type Event = InvoiceEvent;
    type Commands = (Issue, Pay, Remind);

    fn apply(&mut self, event: &InvoiceEvent) {
        match event {
            InvoiceEvent::Issued { due } => self.due = Some(*due),
            InvoiceEvent::Paid => self.paid = true,
            InvoiceEvent::Reminded => self.reminded = true,
        }
    }
}

/// Issue it; a repeated one changes nothing.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Issue {
    pub(crate) due: u64,
}

/// It is paid; a repeated one changes nothing.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Pay;

/// The scheduled command. It comes at least once, so the invoice decides whether it still means something.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Remind;

/// What became of a reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reminder {
    /// It is sent, now or by an earlier try, or not needed any more.
    Done,
    /// There is no such invoice yet: whoever issues it may be about to.
    NotIssued,
}

/// There is another invoice with this id, or none.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the invoice was issued with another time")]
    IssuedOtherwise,
    #[error("there is no such invoice")]
    NotIssued,
}

impl Handle<Issue> for Invoice {
    type Reply = ();
    type Rejection = Refusal;

    fn handle(&self, issue: &Issue, ctx: &mut Context<Self, Issue>) -> Effect<Self, Issue> {
        match self.due {
            None => ctx.persist(InvoiceEvent::Issued { due: issue.due }).reply_with(()),
            Some(due) if due == issue.due => ctx.reply(()),
            Some(_) => ctx.reject(Refusal::IssuedOtherwise),
        }
    }
}

impl Handle<Pay> for Invoice {
    type Reply = ();
    type Rejection = Refusal;

    fn handle(&self, _: &Pay, ctx: &mut Context<Self, Pay>) -> Effect<Self, Pay> {
        match self.due {
            None => ctx.reject(Refusal::NotIssued),
            Some(_) if self.paid => ctx.reply(()),
            Some(_) => ctx.persist(InvoiceEvent::Paid).reply_with(()),
        }
    }
}

impl Handle<Remind> for Invoice {
    type Reply = Reminder;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Remind, ctx: &mut Context<Self, Remind>) -> Effect<Self, Remind> {
        if self.due.is_none() {
            return ctx.reply(Reminder::NotIssued);
        }
        if self.paid || self.reminded {
            return ctx.reply(Reminder::Done);
        }
        ctx.persist(InvoiceEvent::Reminded).reply_with(Reminder::Done)
    }
}
