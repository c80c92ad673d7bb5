use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Call, Fault, Order};
use crate::PersistenceId;

/// The orders that a test has given to a double of a store, and what the store was asked. Clones share both.
pub struct Script<Op: 'static, A> {
    shared: Arc<Mutex<Shared<Op, A>>>,
}

struct Shared<Op: 'static, A> {
    orders: Vec<Standing<Op, A>>,
    decide: Option<Decide<Op, A>>,
    calls: VecDeque<Call<Op>>,
    /// How many calls were forgotten.
    forgotten: u64,
    batches: u64,
}

type Decide<Op, A> = Arc<dyn Fn(&Call<Op>) -> Option<Fault<A>> + Send + Sync>;

/// An order that waits for its calls.
pub(super) struct Standing<Op: 'static, A> {
    pub(super) operations: &'static [Op],
    pub(super) id: Option<PersistenceId>,
    /// Calls to let pass before.
    pub(super) skip: u64,
    /// `None`: all that come.
    pub(super) left: Option<u64>,
    pub(super) fault: Fault<A>,
}

/// Calls whose answer is to be noted.
#[derive(Debug, Clone, Copy)]
pub struct Ticket(u64);

/// As many calls are remembered.
const MAX_CALLS: usize = 10_000;

impl<Op, A> Script<Op, A>
where
    Op: Copy + PartialEq + 'static,
    A: Clone + Default,
{
    /// Without orders.
    pub fn new() -> Self {
        let shared =
            Shared { orders: Vec::new(), decide: None, calls: VecDeque::new(), forgotten: 0, batches: 0 };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Begins an order of the next call of one of these operations.
    pub fn next<K>(&self, operations: &'static [Op]) -> Order<Op, A, K> {
        Order {
            script: self.clone(),
            standing: Standing { operations, id: None, skip: 0, left: Some(1), fault: Fault::default() },
            kind: PhantomData,
        }
    }

    /// Notes what the store is asked in one call, and says what becomes of each part: the order that fits, else what
    /// the test [decides](Self::decide_by), else the truth.
    pub fn asked(&self, calls: Vec<Call<Op>>) -> (Ticket, Vec<Fault<A>>) {
        let mut shared = self.lock();
        let (first, batch) = (shared.forgotten + shared.calls.len() as u64, shared.batches);
        shared.batches += 1;
        let (mut faults, mut undecided) = (Vec::new(), Vec::new());
        for mut call in calls {
            call.batch = batch;
            let ordered = shared.take(&call);
            if ordered.is_none() {
                undecided.push((faults.len(), call.clone()));
            }
            faults.push(ordered.unwrap_or_default());
            if shared.calls.len() == MAX_CALLS {
                shared.calls.pop_front();
                shared.forgotten += 1;
            }
            shared.calls.push_back(call);
        }
        // Decided without the lock: the closure may look at this script.
        let decide = shared.decide.clone();
        drop(shared);
        if let Some(decide) = decide {
            for (at, call) in undecided {
                faults[at] = decide(&call).unwrap_or_default();
            }
        }
        (Ticket(first), faults)
    }

    /// Notes the answer to the part with this place of a call.
    pub fn answered(&self, ticket: Ticket, at: usize, answer: impl Into<String>) {
        let mut shared = self.lock();
        let place = (ticket.0 + at as u64).checked_sub(shared.forgotten);
        let call =
            place.and_then(|place| usize::try_from(place).ok()).and_then(|at| shared.calls.get_mut(at));
        if let Some(call) = call {
            call.answer = Some(answer.into());
        }
    }

    /// Has a closure say what becomes of each call that no order fits, for tests that draw lots.
    pub fn decide_by(&self, decide: impl Fn(&Call<Op>) -> Option<Fault<A>> + Send + Sync + 'static) {
        self.lock().decide = Some(Arc::new(decide));
    }

    /// What the store was asked so far, oldest first; the newest 10,000.
    pub fn calls(&self) -> Vec<Call<Op>> {
        self.lock().calls.iter().cloned().collect()
    }

    /// Forgets all orders, and the closure that decides. Calls that an order holds or delays already go on as ordered.
    pub fn clear(&self) {
        let mut shared = self.lock();
        shared.orders.clear();
        shared.decide = None;
    }

    /// How many orders still wait for a call, without those of all calls: what the test ordered and never came.
    pub fn outstanding(&self) -> usize {
        self.lock().orders.iter().filter(|order| order.left.is_some()).count()
    }

    pub(super) fn give(&self, order: Standing<Op, A>) {
        self.lock().orders.push(order);
    }

    fn lock(&self) -> MutexGuard<'_, Shared<Op, A>> {
        // Whole at every point where its holder could panic.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Op: Copy + PartialEq + 'static, A: Clone> Shared<Op, A> {
    fn take(&mut self, call: &Call<Op>) -> Option<Fault<A>> {
        let limited = |order: &Standing<Op, A>| order.left.is_some();
        self.take_of(call, limited).or_else(|| self.take_of(call, |order| !limited(order)))
    }

    fn take_of(&mut self, call: &Call<Op>, which: impl Fn(&Standing<Op, A>) -> bool) -> Option<Fault<A>> {
        for at in 0..self.orders.len() {
            let order = &mut self.orders[at];
            let fits = which(order)
                && order.operations.contains(&call.operation)
                && (order.id.is_none() || order.id == call.persistence_id);
            if !fits {
                continue;
            }
            if order.skip > 0 {
                order.skip -= 1;
                continue;
            }
            let fault = order.fault.clone();
            if let Some(left) = &mut order.left {
                *left -= 1;
                if *left == 0 {
                    self.orders.remove(at);
                }
            }
            return Some(fault);
        }
        None
    }
}

impl<Op: 'static, A> Clone for Script<Op, A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<Op: Copy + PartialEq + 'static, A: Clone + Default> Default for Script<Op, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Op: Copy + PartialEq + 'static, A: Clone + Default> fmt::Debug for Script<Op, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("outstanding", &self.outstanding()).finish_non_exhaustive()
    }
}
