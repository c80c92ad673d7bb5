//! Calls to what may fail: circuit breaker and retry.

use std::cell::Cell;
use std::future::pending;

use annals_actors::plain::{Backoff, CallError, CircuitBreaker, CircuitState, retry};
use annals_actors::telemetry;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::time::{Instant, sleep};

use crate::probe::SEC;

fn breaker() -> CircuitBreaker {
    CircuitBreaker::builder("prices")
        .max_failures(2)
        .call_timeout(3 * SEC)
        .reset(Backoff::new(10 * SEC, 60 * SEC).jitter(0.0))
        .build()
}

async fn down() -> Result<u32, &'static str> {
    Err("down")
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_spares_the_service_until_a_trial_succeeds() {
    let breaker = breaker();
    for _ in 0..2 {
        assert_eq!(breaker.call(down()).await, Err(CallError::Failed("down")));
    }
    let called = Cell::new(false);
    let refused = breaker
        .call(async {
            called.set(true);
            Ok::<_, ()>(1)
        })
        .await;
    assert!(matches!(refused, Err(CallError::Open { .. })), "{refused:?}");
    assert!(!called.get());
    assert!(refused.unwrap_err().to_string().contains("prices is open: not called, come back in 10s"));
    sleep(10 * SEC).await;
    assert_eq!(breaker.call(async { Ok::<_, ()>(1) }).await, Ok(1));
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_cancelled_at_the_limit_and_counts() {
    let breaker = breaker();
    let began = Instant::now();
    for _ in 0..2 {
        let answer = breaker.call(pending::<Result<(), ()>>()).await;
        assert!(matches!(answer, Err(CallError::TimedOut { .. })), "{answer:?}");
    }
    assert_eq!(began.elapsed(), 6 * SEC);
    assert_eq!(breaker.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_about_the_service_does_not_count() {
    let breaker = breaker();
    for _ in 0..10 {
        let answer = breaker.call_counting(down(), |error| *error != "down").await;
        assert_eq!(answer, Err(CallError::Failed("down")));
    }
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_trial_whose_caller_gave_up_makes_way() {
    let breaker = breaker();
    for _ in 0..2 {
        breaker.call(down()).await.unwrap_err();
    }
    sleep(10 * SEC).await;
    let trial = tokio::time::timeout(SEC, breaker.call(pending::<Result<(), ()>>()));
    assert!(trial.await.is_err());
    assert_eq!(breaker.state(), CircuitState::HalfOpen);
    assert_eq!(breaker.call(async { Ok::<_, ()>(1) }).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_pauses_longer_each_time_and_ends() {
    let began = Instant::now();
    let times = Cell::new(0);
    let tried = || {
        times.set(times.get() + 1);
        down()
    };
    assert_eq!(retry(Backoff::new(SEC, 3 * SEC).jitter(0.0), 3, tried, |_| true).await, Err("down"));
    assert_eq!((times.get(), began.elapsed()), (4, 6 * SEC), "1 + 2 + 3 seconds");
}

#[tokio::test(start_paused = true)]
async fn a_retry_ends_with_the_first_success_or_the_first_error_that_will_not_go_away() {
    let times = Cell::new(0);
    let third = || {
        times.set(times.get() + 1);
        let answer = if times.get() < 3 { Err("not yet") } else { Ok(times.get()) };
        async move { answer }
    };
    assert_eq!(retry(Backoff::default(), 10, third, |_| true).await, Ok(3));
    let began = Instant::now();
    assert_eq!(retry(Backoff::default(), 10, down, |error| *error != "down").await, Err("down"));
    assert_eq!(began.elapsed().as_millis(), 0);
}

#[test]
fn breakers_and_retries_show_in_the_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let breaker = breaker();
            for _ in 0..3 {
                breaker.call(down()).await.unwrap_err();
            }
            retry(Backoff::default(), 2, down, |_| true).await.unwrap_err();
        });
    });
    let entries = snapshotter.snapshot().into_vec();
    for (name, expected) in
        [(telemetry::BREAKER_OPENED, 1), (telemetry::BREAKER_REFUSALS, 1), (telemetry::RETRIES, 2)]
    {
        let found = entries.iter().find(|(key, ..)| key.key().name() == name);
        assert!(matches!(found, Some((.., DebugValue::Counter(n))) if *n == expected), "{name}: {found:?}");
    }
}
