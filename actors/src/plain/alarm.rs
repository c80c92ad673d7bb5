use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// What an actor looks at when it has timers or rests: when it must be up again.
pub(crate) struct Alarm {
    clock: Option<Pin<Box<Sleep>>>,
    /// When it is restarted.
    pub(crate) rest: Option<Instant>,
    /// Timers that were due then are handled before anything else.
    pub(crate) round: Instant,
    /// The last that was handled was one.
    pub(crate) after_timer: bool,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self { clock: None, rest: None, round: Instant::now(), after_timer: false }
    }

    /// Ready when it is then.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if clock.deadline() != at {
            clock.as_mut().reset(at);
        }
        let rings = clock.as_mut().poll(cx);
        if rings.is_ready() {
            self.clock = None;
        }
        rings
    }
}
