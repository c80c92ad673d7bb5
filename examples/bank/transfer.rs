//! A transfer: a process over two accounts, whose state is what is left to do.
//!
//! ```text
//! started ─── sender pays, receiver takes ───────────> completed
//!    ├─────── sender refuses ────────────────────────> failed
//!    └─────── receiver refuses ──> giving back ──────> failed
//! ```
//!
//! Its id is the client's request id, so a repeated request meets the transfer that it began, for ever.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::transfers::Transfers;

/// A transfer.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Transfer {
    status: Option<Status>,
}

/// What is moved, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) order: Order,
    /// When an account must have agreed, in microseconds since 1970.
    pub(crate) by: u64,
    pub(crate) stage: Stage,
}

/// What is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cents: u64,
}

/// How far a transfer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The sender may have paid, and the receiver may have taken it.
    Started,
    /// The receiver never takes it; the sender may have it back.
    GivingBack { reason: String },
    /// Moved.
    Completed,
    /// Not moved: the sender has what it had.
    Failed { reason: String },
}

impl Stage {
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed { .. })
    }
}

/// What happened to a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
pub(crate) enum TransferEvent {
    /// A client asked for it.
    Started { order: Order, by: u64 },
    /// The sender paid and the receiver took it.
    Completed,
    /// The sender did not pay.
    Refused { reason: String },
    /// The sender paid and the receiver refused: the sender gets it back.
    CompensationStarted { reason: String },
    /// The sender has it back.
    Compensated,
}

impl PersistentActor for Transfer {
    const KIND: &'static str = "transfer";
    type Event = TransferEvent;
    type Commands = (Begin, Look, Note);

    fn apply(&mut self, event: &TransferEvent) {
        let stage = match event {
            TransferEvent::Started { order, by } => {
                self.status = Some(Status { order: order.clone(), by: *by, stage: Stage::Started });
                return;
            }
            TransferEvent::Completed => Stage::Completed,
            TransferEvent::Refused { reason } => Stage::Failed { reason: reason.clone() },
            TransferEvent::CompensationStarted { reason } => Stage::GivingBack { reason: reason.clone() },
            TransferEvent::Compensated => match self.stage() {
                Some(Stage::GivingBack { reason }) => Stage::Failed { reason: reason.clone() },
                _ => return,
            },
        };
        if let Some(status) = &mut self.status {
            status.stage = stage;
        }
    }

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<Transfers>();
    }
}

impl Transfer {
    fn stage(&self) -> Option<&Stage> {
        self.status.as_ref().map(|status| &status.stage)
    }
}

/// Begin it, or hear that it has begun.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Begin {
    pub(crate) order: Order,
}

/// Say how far it is.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Look;

/// Take note of what the accounts said.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Note {
    pub(crate) outcome: Outcome,
}

/// What the accounts said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Moved,
    SenderRefused { reason: String },
    ReceiverRefused { reason: String },
    GivenBack,
}

/// Why a transfer does not begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("this request_id was used for another transfer; send a new request_id for a new transfer")]
pub(crate) struct OtherTransfer;

impl Handle<Begin> for Transfer {
    type Reply = ();
    type Rejection = OtherTransfer;

    fn handle(&self, begin: &Begin, ctx: &mut Context<Self, Begin>) -> Effect<Self, Begin> {
        let transfers = ctx.service::<Transfers>();
        let id = ctx.entity_id().to_owned();
        let drive = move |_: &Self| async move { transfers.drive(&id) };
        match &self.status {
            None => {
                let by = ctx.now().plus(ctx.service::<Transfers>().timeout()).as_micros();
                ctx.persist(TransferEvent::Started { order: begin.order.clone(), by })
                    .then_run(drive)
                    .reply_with(())
            }
            Some(status) if status.order != begin.order => ctx.reject(OtherTransfer),
            Some(status) if status.stage.is_final() => ctx.reply(()),
            Some(_) => ctx.none().then_run(drive).reply_with(()),
        }
    }
}

impl Handle<Look> for Transfer {
    type Reply = Option<Status>;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
        ctx.reply(self.status.clone())
    }
}

impl Handle<Note> for Transfer {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, note: &Note, ctx: &mut Context<Self, Note>) -> Effect<Self, Note> {
        let event = match (self.stage(), note.outcome.clone()) {
            (Some(Stage::Started), Outcome::Moved) => TransferEvent::Completed,
            (Some(Stage::Started), Outcome::SenderRefused { reason }) => TransferEvent::Refused { reason },
            (Some(Stage::Started), Outcome::ReceiverRefused { reason }) => {
                TransferEvent::CompensationStarted { reason }
            }
            (Some(Stage::GivingBack { .. }), Outcome::GivenBack) => TransferEvent::Compensated,
            // Noted before, by a try whose answer was lost.
            _ => return ctx.reply(()),
        };
        ctx.persist(event).reply_with(())
    }
}
