//! Publish and subscribe by type, within a process.

use std::any::{Any, TypeId};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use metrics::Counter;
use tokio::sync::Notify;

/// Publish and subscribe by type: who publishes a value does not know who hears it.
///
/// Each subscriber has a bounded queue of its own. A slow one misses events and is told how many; it never holds up the
/// publisher or its neighbours.
#[derive(Clone)]
pub struct EventStream {
    topics: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>>,
    missed: Counter,
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published<E> {
    /// An event.
    Event(E),
    /// So many events came here while the subscriber's queue was full, and are lost to it.
    Missed(u64),
}

/// An event that can be published: every type that can be cloned and sent.
pub trait Publishable: Clone + Send + 'static {}

impl<E: Clone + Send + 'static> Publishable for E {}

/// One subscriber's end of an [`EventStream`]; dropping it ends the subscription.
pub struct Subscription<E> {
    queue: Arc<Queue<E>>,
}

/// Where events of one type go.
struct Topic<E> {
    sinks: Mutex<Arc<[Arc<dyn Sink<E>>]>>,
}

/// Takes events for one subscriber.
trait Sink<E>: Send + Sync {
    fn offer(&self, event: E) -> Offered;
    /// Whether its subscriber is still there.
    fn is_alive(&self) -> bool;
}

#[derive(Debug, PartialEq, Eq)]
enum Offered {
    Taken,
    Missed,
    /// The subscriber has gone.
    Gone,
}

/// Keeps the subscription of an actor; it ends when this is dropped.
pub(crate) type Registration = Arc<dyn Any + Send + Sync>;

impl EventStream {
    pub(crate) fn new(missed: Counter) -> Self {
        Self { topics: Arc::default(), missed }
    }

    /// Hands a copy of the event to each that subscribed to its type; never waits.
    pub fn publish<E: Publishable>(&self, event: E) {
        let Some(topic) = self.known::<E>() else { return };
        let sinks = Arc::clone(&lock(&topic.sinks));
        let mut gone = false;
        for sink in sinks.iter() {
            match sink.offer(event.clone()) {
                Offered::Taken => {}
                Offered::Missed => self.missed.increment(1),
                Offered::Gone => gone = true,
            }
        }
        if gone {
            topic.sweep();
        }
    }

    /// Hears all events of a type from now on; at most `capacity` wait (at least one).
    pub fn subscribe<E: Publishable>(&self, capacity: usize) -> Subscription<E> {
        let queue =
            Arc::new(Queue { events: Mutex::default(), wake: Notify::new(), capacity: capacity.max(1) });
        self.topic::<E>().add(Arc::new(Arc::downgrade(&queue)));
        Subscription { queue }
    }

    /// Hands all events of a type to `take` from now on, which says whether it has room, until the registration is dropped.
    pub(crate) fn register<E: Publishable>(
        &self,
        take: impl Fn(Published<E>) -> bool + Send + Sync + 'static,
    ) -> Registration {
        let alive: Registration = Arc::new(());
        let weak = Arc::downgrade(&alive);
        self.topic::<E>().add(Arc::new(Call { take, missed: Mutex::new(0), alive: weak }));
        alive
    }

    fn known<E: Publishable>(&self) -> Option<Arc<Topic<E>>> {
        lock(&self.topics).get(&TypeId::of::<E>())?.downcast_ref::<Arc<Topic<E>>>().cloned()
    }

    fn topic<E: Publishable>(&self) -> Arc<Topic<E>> {
        let mut topics = lock(&self.topics);
        let fresh = || Arc::new(Topic::<E> { sinks: Mutex::new(Arc::new([])) });
        let topic = topics.entry(TypeId::of::<E>()).or_insert_with(|| Box::new(fresh()));
        // The key is the type of the value.
        topic.downcast_ref::<Arc<Topic<E>>>().cloned().unwrap_or_else(fresh)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventStream({} types)", lock(&self.topics).len())
    }
}

impl<E> Topic<E> {
    fn add(&self, sink: Arc<dyn Sink<E>>) {
        let mut sinks = lock(&self.sinks);
        *sinks = sinks.iter().cloned().chain([sink]).collect();
    }

    /// Forgets the subscribers that have gone.
    fn sweep(&self) {
        let mut sinks = lock(&self.sinks);
        *sinks = sinks.iter().filter(|sink| sink.is_alive()).cloned().collect();
    }
}

struct Queue<E> {
    events: Mutex<Waiting<E>>,
    wake: Notify,
    capacity: usize,
}

struct Waiting<E> {
    /// Each with how many were missed right before it.
    events: VecDeque<(u64, E)>,
    /// Missed after the last of them.
    missed: u64,
}

impl<E> Default for Waiting<E> {
    fn default() -> Self {
        Self { events: VecDeque::new(), missed: 0 }
    }
}

impl<E: Send> Sink<E> for Weak<Queue<E>> {
    fn offer(&self, event: E) -> Offered {
        let Some(queue) = self.upgrade() else { return Offered::Gone };
        let mut waiting = lock(&queue.events);
        if waiting.events.len() >= queue.capacity {
            waiting.missed += 1;
            return Offered::Missed;
        }
        let missed = std::mem::take(&mut waiting.missed);
        waiting.events.push_back((missed, event));
        drop(waiting);
        queue.wake.notify_one();
        Offered::Taken
    }

    fn is_alive(&self) -> bool {
        self.strong_count() > 0
    }
}

impl<E> Subscription<E> {
    /// The next event, or how many were missed before it.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Published<E> {
        loop {
            if let Some(published) = self.try_next() {
                return published;
            }
            self.queue.wake.notified().await;
        }
    }

    /// The next event that is there already, or how many were missed before it.
    pub fn try_next(&mut self) -> Option<Published<E>> {
        let mut waiting = lock(&self.queue.events);
        let missed = match waiting.events.front_mut() {
            Some((missed, _)) => std::mem::take(missed),
            None => std::mem::take(&mut waiting.missed),
        };
        if missed > 0 {
            return Some(Published::Missed(missed));
        }
        waiting.events.pop_front().map(|(_, event)| Published::Event(event))
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({} wait)", lock(&self.queue.events).events.len())
    }
}

struct Call<F> {
    take: F,
    missed: Mutex<u64>,
    alive: Weak<dyn Any + Send + Sync>,
}

impl<E: Send, F: Fn(Published<E>) -> bool + Send + Sync> Sink<E> for Call<F> {
    fn offer(&self, event: E) -> Offered {
        if !<Self as Sink<E>>::is_alive(self) {
            return Offered::Gone;
        }
        // Not held while user code runs: two publishers at once may report in another order, never another number.
        let missed = std::mem::take(&mut *lock(&self.missed));
        if missed > 0 && !(self.take)(Published::Missed(missed)) {
            *lock(&self.missed) += missed + 1;
            return Offered::Missed;
        }
        if (self.take)(Published::Event(event)) {
            return Offered::Taken;
        }
        *lock(&self.missed) += 1;
        Offered::Missed
    }

    fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked here is whole at every point where its holder could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> EventStream {
        EventStream::new(Counter::noop())
    }

    #[test]
    fn each_subscriber_hears_the_events_of_its_type_in_order() {
        let stream = stream();
        let (mut numbers, mut more, mut words) =
            (stream.subscribe::<u32>(8), stream.subscribe::<u32>(8), stream.subscribe::<&str>(8));
        stream.publish(1_u32);
        stream.publish("one");
        stream.publish(2_u32);
        for subscriber in [&mut numbers, &mut more] {
            let heard: Vec<_> = std::iter::from_fn(|| subscriber.try_next()).collect();
            assert_eq!(heard, [Published::Event(1), Published::Event(2)]);
        }
        assert_eq!(words.try_next(), Some(Published::Event("one")));
        assert_eq!(words.try_next(), None);
    }

    #[test]
    fn a_slow_subscriber_learns_how_many_it_missed_and_where() {
        let stream = stream();
        let mut slow = stream.subscribe::<u32>(2);
        for n in 1..=5 {
            stream.publish::<u32>(n);
        }
        assert_eq!(slow.try_next(), Some(Published::Event(1)));
        stream.publish(6_u32);
        let heard: Vec<_> = std::iter::from_fn(|| slow.try_next()).collect();
        assert_eq!(heard, [Published::Event(2), Published::Missed(3), Published::Event(6)]);
        for n in 7..=9 {
            stream.publish::<u32>(n);
        }
        let heard: Vec<_> = std::iter::from_fn(|| slow.try_next()).collect();
        assert_eq!(heard, [Published::Event(7), Published::Event(8), Published::Missed(1)]);
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let stream = stream();
        let first = stream.subscribe::<u32>(1);
        let registration = stream.register::<u32>(|_| true);
        drop((first, registration));
        stream.publish(1_u32);
        assert_eq!(lock(&stream.topic::<u32>().sinks).len(), 0);
    }

    #[test]
    fn a_full_receiver_is_told_when_it_has_room_again() {
        let stream = stream();
        let room = Arc::new(Mutex::new((0, Vec::new())));
        let registration = stream.register::<u32>({
            let room = Arc::clone(&room);
            move |published| {
                let mut room = lock(&room);
                let fits = room.0 > 0;
                if fits {
                    room.0 -= 1;
                    room.1.push(published);
                }
                fits
            }
        });
        stream.publish(1_u32);
        stream.publish(2_u32);
        lock(&room).0 = 1;
        stream.publish(3_u32);
        lock(&room).0 = 9;
        stream.publish(4_u32);
        let heard = lock(&room).1.clone();
        assert_eq!(heard, [Published::Missed(2), Published::Missed(1), Published::Event(4)]);
        drop(registration);
    }
}
