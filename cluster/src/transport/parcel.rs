//! What frames carry once two nodes have agreed to talk.
//!
//! ```text
//! Envelope { oneof body }      lane     no  body
//!                              control   1  Membership { from, to, message }            a message of the cluster, see crate::wire
//!                              bulk      2  Tell   { recipient, message }
//!                              bulk      3  Ask    { recipient, message, question, limit_millis }
//!                              bulk      4  Answer { question, message | failure | end }
//!                              bulk      5  Watch  { name, actor, question }
//! Recipient { number, name, manifest }
//! ```
//!
//! In wire version 1 every recipient has its name and manifest. From version 2 on a pair of both has a number in each connection: it comes
//! with name and manifest once, numbered in the order of first use from 1, and alone from then on. Number 0 means that it has none, as all
//! after the first [`MOST_NUMBERED`].

mod body;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use self::body::{Answer, Ask, Body, Envelope, Failure, Membership, Tell, Watch, WireOutcome, WireRecipient};
use super::frame::put_frame;
use super::lane::Lane;
use crate::Incarnation;

/// Recipients of one connection that have a number.
pub(crate) const MOST_NUMBERED: usize = 1_024;

/// Bytes of a name, and of a manifest.
pub(crate) const MOST_NAME_BYTES: usize = 256;

/// What is sent to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parcel {
    /// A message of the cluster.
    Membership { from: Incarnation, to: Option<Incarnation>, message: Bytes },
    /// For an actor.
    Tell { to: Recipient, message: Bytes },
    /// For an actor that answers.
    Ask { to: Recipient, message: Bytes, question: u64, limit: Duration },
    /// To a question or a watch.
    Answer { question: u64, outcome: Outcome },
    /// Answered when the actor has ended, or after a while. `actor`: which of those of this name, if that is known.
    Watch { name: Arc<str>, actor: Option<u64>, question: u64 },
}

/// Who is meant, and what kind of message it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipient {
    pub(crate) name: Arc<str>,
    pub(crate) manifest: Label,
}

/// A text that is cheap to clone: written in the program, or received.
#[derive(Debug, Clone)]
pub(crate) enum Label {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Deref for Label {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Label {}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered(Bytes),
    Failed {
        kind: FailureKind,
        reason: String,
    },
    /// Of a watch: the actor still runs.
    Runs {
        actor: u64,
    },
    /// Of a watch: it has ended.
    Ended,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Nobody of this name may be addressed there, or not with this kind of message.
    Unknown,
    /// The node or the actor does not take it.
    Refused,
    /// The actor dropped the question.
    NoReply,
    /// The answer did not come in time, there.
    TimedOut,
    /// The answer does not fit into a frame.
    TooLarge,
}

impl Parcel {
    pub(crate) const fn lane(&self) -> Lane {
        match self {
            Self::Membership { .. } => Lane::Control,
            _ => Lane::Bulk,
        }
    }

    /// Bytes that it takes in a queue, about.
    pub(crate) fn weight(&self) -> usize {
        let payload = match self {
            Self::Membership { message, .. } | Self::Tell { message, .. } | Self::Ask { message, .. } => {
                message.len()
            }
            Self::Answer { outcome: Outcome::Answered(message), .. } => message.len(),
            Self::Answer { .. } | Self::Watch { .. } => 0,
        };
        payload + 64
    }
}

/// Writes parcels for one connection.
#[derive(Debug)]
pub(crate) struct ParcelWriter {
    wire: u32,
    numbers: HashMap<Recipient, u32>,
}

impl ParcelWriter {
    pub(crate) fn new(wire: u32) -> Self {
        Self { wire, numbers: HashMap::new() }
    }

    /// Appends it as a frame.
    pub(crate) fn put(&mut self, out: &mut BytesMut, parcel: Parcel) {
        put_frame(out, &Envelope { body: Some(self.body(parcel)) });
    }

    fn body(&mut self, parcel: Parcel) -> Body {
        match parcel {
            Parcel::Membership { from, to, message } => {
                Body::Membership(Membership { from: from.0, to: to.map(|to| to.0), message })
            }
            Parcel::Tell { to, message } => Body::Tell(Tell { to: Some(self.recipient(to)), message }),
            Parcel::Ask { to, message, question, limit } => {
                let limit_millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                Body::Ask(Ask { to: Some(self.recipient(to)), message, question, limit_millis })
            }
            Parcel::Answer { question, outcome } => {
                let outcome = match outcome {
                    Outcome::Answered(message) => WireOutcome::Message(message),
                    Outcome::Failed { kind, reason } => {
                        WireOutcome::Failure(Failure { kind: kind.number(), reason })
                    }
                    Outcome::Runs { actor } => WireOutcome::Runs(actor),
                    Outcome::Ended => WireOutcome::Ended(true),
                };
                Body::Answer(Answer { question, outcome: Some(outcome) })
            }
            Parcel::Watch { name, actor, question } => {
                Body::Watch(Watch { name: name.as_ref().to_owned(), actor, question })
            }
        }
    }

    fn recipient(&mut self, to: Recipient) -> WireRecipient {
        let named = |to: &Recipient, number| WireRecipient {
            number,
            name: to.name.as_ref().to_owned(),
            manifest: (*to.manifest).to_owned(),
        };
        if self.wire < 2 {
            return named(&to, 0);
        }
        if let Some(number) = self.numbers.get(&to) {
            return WireRecipient { number: *number, ..WireRecipient::default() };
        }
        if self.numbers.len() == MOST_NUMBERED {
            return named(&to, 0);
        }
        let number = u32::try_from(self.numbers.len() + 1).unwrap_or(0);
        let wire = named(&to, number);
        self.numbers.insert(to, number);
        wire
    }
}

/// Reads the parcels of one connection.
#[derive(Debug)]
pub(crate) struct ParcelReader {
    lane: Lane,
    numbered: Vec<Recipient>,
}

impl ParcelReader {
    pub(crate) const fn new(lane: Lane) -> Self {
        Self { lane, numbered: Vec::new() }
    }

    /// Reads one frame. `None`: of a kind that this build does not know, from a newer one.
    pub(crate) fn read(&mut self, frame: Bytes) -> Result<Option<Parcel>, InvalidParcel> {
        let Some(body) = Envelope::decode(frame)?.body else { return Ok(None) };
        let parcel = match body {
            Body::Membership(Membership { from, to, message }) => {
                Parcel::Membership { from: Incarnation(from), to: to.map(Incarnation), message }
            }
            Body::Tell(Tell { to, message }) => Parcel::Tell { to: self.recipient(to)?, message },
            Body::Ask(Ask { to, message, question, limit_millis }) => {
                let limit = Duration::from_millis(limit_millis);
                Parcel::Ask { to: self.recipient(to)?, message, question, limit }
            }
            Body::Answer(Answer { question, outcome }) => {
                let outcome = match outcome {
                    None => return Ok(None),
                    Some(WireOutcome::Message(message)) => Outcome::Answered(message),
                    Some(WireOutcome::Failure(Failure { kind, reason })) => {
                        Outcome::Failed { kind: FailureKind::of(kind), reason: legible(&reason) }
                    }
                    Some(WireOutcome::Runs(actor)) => Outcome::Runs { actor },
                    Some(WireOutcome::Ended(_)) => Outcome::Ended,
                };
                Parcel::Answer { question, outcome }
            }
            Body::Watch(Watch { name, actor, question }) => {
                Parcel::Watch { name: name.into(), actor, question }
            }
        };
        if parcel.lane() == self.lane { Ok(Some(parcel)) } else { Err(InvalidParcel::Lane(self.lane)) }
    }

    fn recipient(&mut self, to: Option<WireRecipient>) -> Result<Recipient, InvalidParcel> {
        let WireRecipient { number, name, manifest } = to.ok_or(InvalidParcel::Recipient)?;
        if name.len().max(manifest.len()) > MOST_NAME_BYTES {
            return Err(InvalidParcel::Recipient);
        }
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if name.is_empty() {
            let known = index.checked_sub(1).and_then(|index| self.numbered.get(index));
            return known.cloned().ok_or(InvalidParcel::Recipient);
        }
        let recipient = Recipient { name: name.into(), manifest: Label::Shared(manifest.into()) };
        if number != 0 {
            if index != self.numbered.len() + 1 || index > MOST_NUMBERED {
                return Err(InvalidParcel::Recipient);
            }
            self.numbered.push(recipient.clone());
        }
        Ok(recipient)
    }
}

/// A peer's words go to logs.
fn legible(words: &str) -> String {
    words.chars().filter(|character| !character.is_control()).take(400).collect()
}

impl FailureKind {
    const fn number(self) -> u32 {
        match self {
            Self::Unknown => 1,
            Self::Refused => 2,
            Self::NoReply => 3,
            Self::TimedOut => 4,
            Self::TooLarge => 5,
        }
    }

    const fn of(number: u32) -> Self {
        match number {
            1 => Self::Unknown,
            3 => Self::NoReply,
            4 => Self::TimedOut,
            5 => Self::TooLarge,
            // What a newer build may say is a refusal for this one.
            _ => Self::Refused,
        }
    }
}

/// A frame that its connection may not carry. The connection ends.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum InvalidParcel {
    #[error("a frame is no protobuf")]
    Protobuf(#[from] prost::DecodeError),
    #[error("a frame has no recipient, or one with a number that was not given")]
    Recipient,
    #[error("a frame does not belong into the {0} lane")]
    Lane(Lane),
}

#[cfg(test)]
mod tests;
