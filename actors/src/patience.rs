//! Wakes those who have waited long for an answer, so that they look at the clock only then.
//!
//! Most answers come within microseconds, and a timer of the runtime costs as much as a third of such an answer. So who waits
//! for an answer does so in a place that is entered here, which costs a lock that hardly anybody else wants, and leaves no word when
//! the answer has come. A ticker wakes those who still wait after a [`TICK`]; they arm a timer of the runtime for their exact time
//! limit.
//!
//! ```text
//! wait ─→ in a place ─┬─ answered: the place is another's, sooner or later, and its memory with it
//!                     └─ still waits at the next tick ─→ woken ─→ a timer of the runtime ─→ answered, or time is up
//! ```
//!
//! A lane has one ticker, a task of the runtime of those who entered themselves there, as long as somebody waits. When that
//! runtime goes away, its tasks with it, the ticker's last deed is to wake all. Whoever comes from another runtime meanwhile
//! is sent away and arms a timer at once, unless the ticker's has threads of its own: whether one runtime goes on must not depend on
//! another being driven.

use std::any::Any;
use std::cell::Cell;
use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::task;
use tokio::time::sleep;

/// Where somebody waits for something, who can be told that it takes long.
///
/// A place that is held here only is used again; one whose wait is over is not told.
pub(crate) trait Place: Any + Send + Sync {
    /// Has who waits arm a timer, if it waits still.
    fn remind(&self);
}

/// All who have waited for less than a tick.
pub(crate) struct Patience {
    lanes: [Arc<Lane>; LANES],
}

/// A place to wait in.
pub(crate) struct Entered<P> {
    pub(crate) place: Arc<P>,
    /// The reminder comes in real time: no test stops the clock of a runtime that has threads of its own.
    pub(crate) in_real_time: bool,
}

/// Lies on lines of its own in every cache, because each thread has its own.
#[repr(align(128))]
struct Lane(Mutex<Entries>);

struct Entries {
    /// While there is one.
    ticker: Option<Ticking>,
    waiting: Vec<Arc<dyn Place>>,
    /// Which is looked at next.
    next: usize,
}

/// Where a ticker ticks.
#[derive(Clone, Copy)]
struct Ticking {
    runtime: Id,
    /// The runtime has threads of its own, so it goes on whoever waits for it.
    drives_itself: bool,
}

impl Patience {
    pub(crate) fn new() -> Self {
        let lane = || {
            let entries = Entries { ticker: None, waiting: Vec::new(), next: 0 };
            Arc::new(Lane(Mutex::new(entries)))
        };
        Self { lanes: std::array::from_fn(|_| lane()) }
    }

    /// A place to wait in, whose holder is reminded when it waits for a tick or two. `None`: it must see to its time itself.
    pub(crate) fn enter<P: Place>(&self, new: impl FnOnce() -> P) -> Option<Entered<P>> {
        let lane = &self.lanes[lane_of_this_thread()];
        let mut entries = lane.entries();
        // A handle would be counted, and all cores count at the same place.
        if entries.ticker.is_some_and(|ticker| ticker.drives_itself) && task::try_id().is_some() {
            return Some(Entered { place: entries.place(new()), in_real_time: true });
        }
        let runtime = Handle::try_current().ok()?;
        match entries.ticker {
            Some(ticker) if ticker.runtime == runtime.id() => {
                Some(Entered { place: entries.place(new()), in_real_time: ticker.drives_itself })
            }
            Some(_) => None,
            None => {
                let drives_itself = runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
                entries.ticker = Some(Ticking { runtime: runtime.id(), drives_itself });
                let place = entries.place(new());
                drop(entries);
                runtime.spawn(tick(Ticker { lane: Arc::clone(lane), relieved: false }));
                Some(Entered { place, in_real_time: drives_itself })
            }
        }
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
    /// Looks at two for each who comes: uses one again that nobody holds, and takes the other out. So there are about as many places
    /// that nobody holds as others, and a few.
    fn place<P: Place>(&mut self, new: P) -> Arc<P> {
        let mut used_again = None;
        for _ in 0..2 {
            self.next = if self.next < self.waiting.len() { self.next } else { 0 };
            let Some(entry) = self.waiting.get(self.next) else { break };
            if Arc::strong_count(entry) > 1 {
                self.next += 1;
            } else if used_again.is_none() {
                used_again = Some(self.next);
                self.next += 1;
            } else if self.waiting.len() > FEW {
                self.waiting.swap_remove(self.next);
            }
        }
        match used_again.and_then(|at| self.waiting.get_mut(at)) {
            Some(entry) => again(entry, new),
            None => {
                let new = Arc::new(new);
                self.waiting.push(Arc::clone(&new) as Arc<dyn Place>);
                new
            }
        }
    }
}

/// A place that nobody else holds, as if it were new; one of another type goes.
fn again<P: Place>(entry: &mut Arc<dyn Place>, new: P) -> Arc<P> {
    // Only with this is all over that others did there.
    let Some(place) = Arc::get_mut(entry).and_then(|place| (place as &mut dyn Any).downcast_mut::<P>())
    else {
        let new = Arc::new(new);
        *entry = Arc::clone(&new) as Arc<dyn Place>;
        return new;
    };
    *place = new;
    let same: Arc<dyn Any + Send + Sync> = Arc::<dyn Place>::clone(entry);
    same.downcast().unwrap_or_else(|_| unreachable!("its type was looked at before"))
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

    impl Place for Sleeper {
        fn remind(&self) {
            self.reminded.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn entered(patience: &Patience) -> Arc<Sleeper> {
        patience.enter(Sleeper::default).unwrap().place
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
    async fn a_place_is_another_s_once_nobody_holds_it_and_only_of_its_own_type() {
        struct Other;
        impl Place for Other {
            fn remind(&self) {}
        }
        let patience = Patience::new();
        let first = entered(&patience);
        first.remind();
        let place = Arc::as_ptr(&first);
        let second = entered(&patience);
        assert_ne!(Arc::as_ptr(&second), place);
        drop(first);
        let again = entered(&patience);
        assert_eq!((Arc::as_ptr(&again), again.reminded()), (place, 0), "as if it were new");
        drop((second, again));
        let others = [patience.enter(|| Other).unwrap(), patience.enter(|| Other).unwrap()];
        assert_eq!(patience.waiting(), others.len());
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
            assert!(patience.enter(Sleeper::default).is_none(), "nobody may ever drive the first");
        }
        drop(one);
        assert_eq!((sleeper.reminded(), patience.tickers()), (1, 0));
        let _within = other.enter();
        entered(&patience);
    }

    #[test]
    fn a_ticker_whose_runtime_has_threads_of_its_own_reminds_tasks_of_others_too() {
        let patience = Arc::new(Patience::new());
        let driven = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let other = Builder::new_current_thread().enable_time().build().unwrap();
        let first = {
            let _within = driven.enter();
            entered(&patience)
        };
        let of_another = Arc::clone(&patience);
        let task = other.spawn(async move { entered(&of_another) });
        let second = other.block_on(task).unwrap();
        let outside_of_tasks = other.block_on(async { patience.enter(Sleeper::default) });
        assert!(outside_of_tasks.is_none(), "it may have no runtime at all");
        drop(driven);
        assert_eq!((first.reminded(), second.reminded()), (1, 1));
    }

    #[test]
    fn without_a_runtime_everybody_is_sent_away() {
        assert!(Patience::new().enter(Sleeper::default).is_none());
    }
}
