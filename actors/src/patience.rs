//! Wakes those who have waited long for an answer, so that they look at the clock only then.
//!
//! Most answers come within microseconds, and a timer of the runtime costs as much as a third of such an answer. So who waits
//! for an answer enters itself here, which costs a lock that hardly anybody else wants, and leaves no word when the answer has
//! come. A ticker wakes those who still wait after a [`TICK`]; they arm a timer of the runtime for their exact time limit.
//!
//! ```text
//! wait ─→ entered ─┬─ answered: the entry is another's, sooner or later
//!                  └─ still waits at the next tick ─→ woken ─→ a timer of the runtime ─→ answered, or time is up
//! ```
//!
//! A lane has one ticker, a task of the runtime of those who entered themselves there, as long as somebody waits. When that
//! runtime goes away, its tasks with it, the ticker's last deed is to wake all. Whoever comes from another runtime meanwhile
//! is sent away and arms a timer at once: whether one runtime goes on must not depend on another being driven.

use std::cell::Cell;
use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::sleep;

/// Somebody who waits for something, and can be told that it takes long.
///
/// Who is held here only, or whose wait is over, is not told.
pub(crate) trait Waiting: Send + Sync {
    /// Has it arm a timer, if it waits still.
    fn remind(&self);
}

/// All who have waited for less than a tick.
pub(crate) struct Patience {
    lanes: [Arc<Lane>; LANES],
}

/// Lies on lines of its own in every cache, because each thread has its own.
#[repr(align(128))]
struct Lane(Mutex<Entries>);

struct Entries {
    /// The runtime of the ticker, while there is one.
    ticker: Option<Id>,
    waiting: Vec<Arc<dyn Waiting>>,
    /// Who is looked at next: one who waits no longer gives its place to the next who comes.
    next: usize,
}

impl Patience {
    pub(crate) fn new() -> Self {
        let lane = || {
            let entries = Entries { ticker: None, waiting: Vec::new(), next: 0 };
            Arc::new(Lane(Mutex::new(entries)))
        };
        Self { lanes: std::array::from_fn(|_| lane()) }
    }

    /// Has it reminded when it waits for a tick or two. `false`: it must see to its time itself.
    pub(crate) fn enter(&self, waiting: Arc<dyn Waiting>) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let lane = &self.lanes[lane_of_this_thread()];
        let mut entries = lane.entries();
        match entries.ticker {
            Some(ticker) if ticker == runtime.id() => entries.push(waiting),
            Some(_) => return false,
            None => {
                entries.ticker = Some(runtime.id());
                entries.push(waiting);
                drop(entries);
                runtime.spawn(tick(Ticker { lane: Arc::clone(lane), relieved: false }));
            }
        }
        true
    }
}

impl Lane {
    /// `false`: there was nobody, and the ticker that asks is no longer one.
    fn remind_all(&self) -> bool {
        let mut entries = self.entries();
        if entries.waiting.is_empty() {
            entries.ticker = None;
            return false;
        }
        let waiting = take(&mut entries.waiting);
        drop(entries);
        waiting.iter().for_each(|one| one.remind());
        true
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Whole at every point where its holder could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Looks at two for each who comes: puts it in the place of one who waits no longer, and takes the other out. So there are
    /// about as many who wait no longer as those who do, and a few.
    fn push(&mut self, waiting: Arc<dyn Waiting>) {
        if self.waiting.len() < FEW {
            return self.waiting.push(waiting);
        }
        let mut comes = Some(waiting);
        for _ in 0..2 {
            self.next = if self.next < self.waiting.len() { self.next } else { 0 };
            if Arc::strong_count(&self.waiting[self.next]) > 1 {
                self.next += 1;
                continue;
            }
            match comes.take() {
                Some(waiting) => {
                    self.waiting[self.next] = waiting;
                    self.next += 1;
                }
                None if self.waiting.len() > FEW => {
                    self.waiting.swap_remove(self.next);
                }
                None => {}
            }
        }
        self.waiting.extend(comes);
    }
}

/// Leaves nobody behind when its runtime goes away.
struct Ticker {
    lane: Arc<Lane>,
    /// The lane may have another ticker.
    relieved: bool,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if self.relieved {
            return;
        }
        let waiting = {
            let mut entries = self.lane.entries();
            entries.ticker = None;
            take(&mut entries.waiting)
        };
        waiting.iter().for_each(|one| one.remind());
    }
}

async fn tick(mut ticker: Ticker) {
    while !ticker.relieved {
        sleep(TICK).await;
        ticker.relieved = !ticker.lane.remind_all();
    }
}

/// Which lane is this thread's: threads that come one after the other have different ones.
fn lane_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LANE: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % LANES);
    }
    LANE.with(Cell::get)
}

/// Long for an answer, short for a time limit.
pub(crate) const TICK: Duration = Duration::from_millis(20);
const LANES: usize = 16;
/// Entries that are not worth a look.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use tokio::runtime::Builder;
    use tokio::time::Instant;

    use super::*;

    #[derive(Default)]
    struct Sleeper {
        reminded: AtomicU32,
    }

    impl Sleeper {
        fn reminded(&self) -> u32 {
            self.reminded.load(Ordering::SeqCst)
        }
    }

    impl Waiting for Sleeper {
        fn remind(&self) {
            self.reminded.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn entered(patience: &Patience) -> Arc<Sleeper> {
        let sleeper = Arc::new(Sleeper::default());
        assert!(patience.enter(sleeper.clone()));
        sleeper
    }

    impl Patience {
        fn waiting(&self) -> usize {
            self.lanes.iter().map(|lane| lane.entries().waiting.len()).sum()
        }

        fn tickers(&self) -> usize {
            self.lanes.iter().filter(|lane| lane.entries().ticker.is_some()).count()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_reminded_once_within_a_tick() {
        let patience = Patience::new();
        let began = Instant::now();
        let sleeper = entered(&patience);
        while sleeper.reminded() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(began.elapsed() <= TICK + Duration::from_millis(1), "{:?}", began.elapsed());
        sleep(10 * TICK).await;
        assert_eq!(sleeper.reminded(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_ticker_ends_when_nobody_waits_and_another_begins_with_the_next() {
        let patience = Patience::new();
        for _ in 0..3 {
            let sleeper = entered(&patience);
            assert_eq!(patience.tickers(), 1);
            sleep(3 * TICK).await;
            assert_eq!((sleeper.reminded(), patience.tickers()), (1, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_no_longer_makes_room() {
        let patience = Patience::new();
        let stay: Vec<_> = (0..100).map(|_| entered(&patience)).collect();
        for _ in 0..10_000 {
            drop(entered(&patience));
        }
        assert!(patience.waiting() <= 3 * stay.len(), "{}", patience.waiting());
        sleep(2 * TICK).await;
        assert!(stay.iter().all(|sleeper| sleeper.reminded() == 1));
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_are_kept_however_many_they_are() {
        let patience = Patience::new();
        let many: Vec<_> = (0..10_000).map(|_| entered(&patience)).collect();
        sleep(2 * TICK).await;
        assert!(many.iter().all(|sleeper| sleeper.reminded() == 1));
    }

    #[test]
    fn who_comes_from_another_runtime_is_sent_away_and_a_runtime_that_goes_leaves_nobody_behind() {
        let patience = Patience::new();
        let [one, other] = [(); 2].map(|()| Builder::new_current_thread().enable_time().build().unwrap());
        let sleeper = {
            let _within = one.enter();
            entered(&patience)
        };
        {
            let _within = other.enter();
            assert!(!patience.enter(Arc::new(Sleeper::default())), "nobody may ever drive the first");
        }
        drop(one);
        assert_eq!((sleeper.reminded(), patience.tickers()), (1, 0));
        let _within = other.enter();
        entered(&patience);
    }

    #[test]
    fn without_a_runtime_everybody_is_sent_away() {
        assert!(!Patience::new().enter(Arc::new(Sleeper::default())));
    }
}
