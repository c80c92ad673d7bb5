//! Work before a decision, and side effects, driven to their end on the test's own thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::entity::WorkOutput;
use crate::panic::message;

/// How a future ended.
pub(super) enum Ended<T> {
    Done(T),
    TimedOut,
    Panicked(String),
}

/// Drives a future; one that waits for something that never comes ends after the limit.
pub(super) fn drive<T>(mut future: BoxFuture<'static, T>, limit: Duration) -> Ended<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let deadline = Instant::now() + limit;
    loop {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(output)) => return Ended::Done(output),
            Ok(Poll::Pending) => {}
            Err(panic) => return Ended::Panicked(message(&*panic)),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ended::TimedOut;
        }
        // A wake-up before this line is not lost: it makes `park` return at once.
        std::thread::park_timeout(left);
    }
}

impl From<Ended<Box<dyn std::any::Any + Send>>> for WorkOutput {
    fn from(ended: Ended<Box<dyn std::any::Any + Send>>) -> Self {
        match ended {
            Ended::Done(output) => Self::Done(output),
            Ended::TimedOut => Self::TimedOut,
            Ended::Panicked(message) => Self::Panicked(message),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
