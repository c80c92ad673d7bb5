use std::time::Duration;

use annals_journal::Timestamp;

use crate::plain::{Directive, RestartPolicy, Supervisor};

/// What panics and failed recoveries of an entity cost it. Made at the first of them; what is given up is remembered with it.
#[derive(Debug)]
pub(crate) struct Supervision {
    policy: RestartPolicy,
    supervisor: Supervisor<Timestamp>,
    failed_recoveries: u32,
    sentence: Option<Sentence>,
}

/// What comes after the recovery that a panic made necessary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sentence {
    /// Commands wait this long.
    Pause(Duration),
    /// It has panicked too often, the last time with this message.
    GiveUp(String),
}

impl Supervision {
    pub(crate) fn new(policy: &RestartPolicy) -> Self {
        Self {
            policy: policy.clone(),
            supervisor: Supervisor::new(policy.clone().into()),
            failed_recoveries: 0,
            sentence: None,
        }
    }

    /// It panicked; `None`: once too often.
    pub(super) fn panicked(&mut self, now: Timestamp, message: &str) -> Option<Duration> {
        // Chance is added where the pause is carried out.
        let pause = match self.supervisor.failed(now, 0.0) {
            Directive::Restart { after } => Some(after),
            // An entity has no parent.
            Directive::Stop | Directive::Escalate => None,
        };
        self.sentence = Some(match pause {
            Some(pause) => Sentence::Pause(pause),
            None => Sentence::GiveUp(message.to_owned()),
        });
        pause
    }

    /// Its history could not be read: how long it is left alone, longer each time.
    pub(super) fn recovery_failed(&mut self) -> Duration {
        self.sentence = None;
        let pause = self.policy.backoff.pause(self.failed_recoveries, 0.0);
        self.failed_recoveries = self.failed_recoveries.saturating_add(1);
        pause
    }

    /// It has recovered; what comes now.
    pub(super) fn recovered(&mut self) -> Option<Sentence> {
        self.failed_recoveries = 0;
        self.sentence.take()
    }

    /// What comes when nothing has to be settled by a recovery first.
    pub(super) fn takes_effect_now(&mut self) -> Option<String> {
        match self.sentence.take_if(|sentence| matches!(sentence, Sentence::GiveUp(_)))? {
            Sentence::GiveUp(message) => Some(message),
            Sentence::Pause(_) => None,
        }
    }

    /// How long an entity that panicked too often is left alone.
    pub(super) fn given_up(&self) -> Duration {
        self.policy.backoff.longest
    }
}
