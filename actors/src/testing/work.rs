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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_future_that_wakes_itself_is_driven_to_its_end() {
        let mut left = 3;
        let future = std::future::poll_fn(move |context| {
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 { Poll::Ready(7) } else { Poll::Pending }
        });
        assert!(matches!(drive(future.boxed(), Duration::from_secs(10)), Ended::Done(7)));
    }

    #[test]
    fn a_future_that_another_thread_wakes_is_driven_to_its_end() {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(7).is_ok());
        assert!(matches!(drive(receiver.boxed(), Duration::from_secs(10)), Ended::Done(Ok(7))));
        assert!(other.join().unwrap());
    }

    #[test]
    fn a_future_that_never_ends_or_panics_is_told_apart() {
        let never = std::future::pending::<()>().boxed();
        assert!(matches!(drive(never, Duration::ZERO), Ended::TimedOut));
        let panics = async { panic!("no rate") }.boxed();
        assert!(
            matches!(drive::<()>(panics, Duration::ZERO), Ended::Panicked(message) if message == "no rate")
        );
    }
}
