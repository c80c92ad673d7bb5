//! Messages that reach nobody: counted, published, logged with a rate limit.

use std::any::{Any, TypeId, type_name};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{ActorPath, EventStream};
use crate::telemetry::PlainMetrics;

/// A message that nobody handles. Subscribe with [`ActorSystem::dead_letters`](super::ActorSystem::dead_letters).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who was meant: a plain actor, or an entity of the node, as `bank/account|alice`.
    pub recipient: ActorPath,
    /// The message's type.
    pub message_type: &'static str,
    /// Why it reached nobody.
    pub reason: DeadLetterReason,
}

/// Why a message reached nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The recipient had stopped, or stopped before it came to the message.
    Stopped,
    /// The mailbox was full and drops what is too much.
    MailboxFull,
    /// The recipient put it aside, and its stash was full.
    StashFull,
    /// It is an answer, and who asked no longer waits for it.
    AskerGone,
    /// No routee of the router runs.
    NoRoutee,
    /// A newer owner has taken the entity over.
    Fenced,
    /// The entity could not recover, because the journal cannot be asked.
    JournalUnavailable,
    /// The history of the entity cannot be read.
    RecoveryFailed,
    /// The entity was erased.
    Erased,
    /// The entity has panicked too often.
    PanickedTooOften,
}

impl DeadLetterReason {
    /// The reason as metrics and logs name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::MailboxFull => "mailbox_full",
            Self::StashFull => "stash_full",
            Self::AskerGone => "asker_gone",
            Self::NoRoutee => "no_routee",
            Self::Fenced => "fenced",
            Self::JournalUnavailable => "journal_unavailable",
            Self::RecoveryFailed => "recovery_failed",
            Self::Erased => "erased",
            Self::PanickedTooOften => "panicked_too_often",
        }
    }
}

/// Where dead letters of a system go.
#[derive(Debug)]
pub(crate) struct DeadLetterOffice {
    log: Mutex<RateLimit>,
}

impl DeadLetterOffice {
    pub(crate) fn new() -> Self {
        Self { log: Mutex::new(RateLimit::new(LOGGED, WINDOW)) }
    }

    /// Takes a letter in. Dead letters about dead letters are counted only: they would never end.
    pub(crate) fn take(
        &self,
        recipient: ActorPath,
        message: MessageType,
        reason: DeadLetterReason,
        metrics: &PlainMetrics,
        events: &EventStream,
    ) {
        metrics.dead_letter(reason);
        if message.id == TypeId::of::<DeadLetter>() {
            return;
        }
        let message_type = message.name;
        // Whole at every point where its holder could panic.
        let said = self.log.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now());
        if let Some(silent) = said {
            warn!(
                %recipient,
                message_type,
                reason = reason.label(),
                not_logged_before = silent,
                "dead letter"
            );
        }
        events.publish(DeadLetter { recipient, message_type, reason });
    }
}

/// What a message was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageType {
    id: TypeId,
    name: &'static str,
}

impl MessageType {
    pub(crate) fn of<M: Any>() -> Self {
        Self { id: TypeId::of::<M>(), name: type_name::<M>() }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn name(self) -> &'static str {
        self.name
    }
}

/// So many a window are logged.
const LOGGED: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Lets so many through in a window; no clock of its own.
#[derive(Debug)]
struct RateLimit {
    most: u32,
    window: Duration,
    began: Option<Instant>,
    passed: u32,
    silenced: u64,
}

impl RateLimit {
    fn new(most: u32, window: Duration) -> Self {
        Self { most, window, began: None, passed: 0, silenced: 0 }
    }

    /// `Some`: it may pass, and so many before it did not.
    fn allow(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= self.window) {
            self.began = Some(now);
            self.passed = 0;
        }
        if self.passed >= self.most {
            self.silenced += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.silenced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_a_few_times_a_window_and_the_next_window_says_how_many_were_not() {
        let (now, mut limit) = (Instant::now(), RateLimit::new(2, WINDOW));
        let first: Vec<_> = (0..5).map(|_| limit.allow(now)).collect();
        assert_eq!(first, [Some(0), Some(0), None, None, None]);
        assert_eq!(limit.allow(now + WINDOW), Some(3));
        assert_eq!(limit.allow(now + WINDOW), Some(0));
    }
}
