use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use annals_actors::{Node, PersistentActor};
use annals_journal::{Envelope, Journal, PageItem, Query, Records, SliceRange, Tag};

use crate::batch::Batch;
use crate::progress::Progress;
use crate::{Gone, Projected};

/// Which events a projection gets: those of one kind of entities or of several, all of them or those with a tag.
///
/// ```no_run
/// # use annals_actors::{Node, PersistentActor};
/// # use annals_projections::{NotRegistered, Source};
/// # fn sources<Account: PersistentActor, Transfer: PersistentActor>(node: &Node) -> Result<(), NotRegistered> {
/// let accounts = Source::of::<Account>(node)?;
///
/// enum BankEvent<A, T> { Account(A), Transfer(T) }
/// let bank = Source::on(node).and::<Account>(BankEvent::Account)?.and::<Transfer>(BankEvent::Transfer)?;
/// # let _ = (accounts, bank); Ok(())
/// # }
/// ```
pub struct Source<E> {
    node: Node,
    kinds: HashMap<&'static str, Known<E>>,
    tag: Option<Tag>,
}

/// A kind whose events are wanted.
struct Known<E> {
    decode: Decode<E>,
    /// Each event is the whole state: those before the newest are of no use to anybody.
    replaces_state: bool,
}

/// What a stored event means.
type Decode<E> = Box<dyn Fn(&Envelope) -> Result<Vec<E>, String> + Send + Sync>;

impl<E: Send + Sync + 'static> Source<E> {
    /// The events of one kind.
    ///
    /// # Errors
    /// [`NotRegistered`] when the node does not have the kind.
    pub fn of<A: PersistentActor<Event = E>>(node: &Node) -> Result<Self, NotRegistered> {
        Self::on(node).and::<A>(|event| event)
    }

    /// No events yet, of a node: kinds are put in with [`and`](Source::and).
    pub fn on(node: &Node) -> Self {
        Self { node: node.clone(), kinds: HashMap::new(), tag: None }
    }

    /// The events of one more kind, as events of the projection.
    ///
    /// They are read as the entities read them: by the kind's event adapter, through its chain of versions.
    ///
    /// # Errors
    /// [`NotRegistered`] when the node does not have the kind.
    pub fn and<A: PersistentActor>(
        mut self,
        into: impl Fn(A::Event) -> E + Send + Sync + 'static,
    ) -> Result<Self, NotRegistered> {
        let adapter = self.node.event_adapter::<A>().ok_or(NotRegistered { kind: A::KIND })?;
        let decode = move |stored: &Envelope| {
            let mut events = Vec::with_capacity(1);
            let read = adapter.from_journal(stored, &mut |event| events.push(into(event)));
            read.map(|()| events).map_err(|error| error.to_string())
        };
        let known = Known { decode: Box::new(decode), replaces_state: A::REPLACES_STATE };
        self.kinds.insert(A::KIND, known);
        Ok(self)
    }

    /// Only events that carry a tag.
    #[must_use]
    pub fn tagged(self, tag: Tag) -> Self {
        Self { tag: Some(tag), ..self }
    }

    pub(crate) fn records(&self) -> &Arc<dyn Records> {
        self.node.records()
    }

    pub(crate) fn query(&self, slices: SliceRange) -> Query {
        let journal = Arc::clone(self.node.journal()) as Arc<dyn Journal>;
        match &self.tag {
            Some(tag) => Query::tag(journal, tag.clone()),
            None => Query::slices(journal, slices),
        }
    }

    /// What is ours of a page, and how much is not.
    pub(crate) fn take(&self, items: Vec<PageItem>, progress: &Progress) -> (Batch<E>, usize) {
        let (mut batch, mut passed) = (Batch::new(), 0);
        for item in items {
            let id = item.persistence_id();
            let known = self.kinds.get(id.kind());
            let wanted = known.is_some() || self.tag.is_some();
            if !wanted || progress.has_passed(id.slice(), item.offset()) {
                passed += 1;
                continue;
            }
            match item {
                PageItem::Event(stored) => {
                    let Envelope { persistence_id, seq_nr, timestamp, .. } = &stored.envelope;
                    let event = |event| Projected {
                        persistence_id: persistence_id.clone(),
                        seq_nr: *seq_nr,
                        offset: stored.offset,
                        timestamp: *timestamp,
                        event,
                    };
                    let events = match known {
                        Some(Known { decode, .. }) => {
                            decode(&stored.envelope).map(|events| events.into_iter().map(event).collect())
                        }
                        None => Err(format!(
                            "the projection's tag is on an event of the kind {:?}, which its source does not have: add it with `.and`",
                            persistence_id.kind()
                        )),
                    };
                    batch.push(stored.offset, persistence_id.clone(), *seq_nr, events);
                }
                PageItem::Deleted { .. } if known.is_some_and(|known| known.replaces_state) => passed += 1,
                PageItem::Deleted { offset, persistence_id, from, to } => {
                    batch.push_gone(Gone { persistence_id, from, to, offset, erased: false });
                }
                PageItem::Erased { offset, persistence_id, from, to } => {
                    batch.push_gone(Gone { persistence_id, from, to, offset, erased: true });
                }
                _ => passed += 1,
            }
        }
        (batch, passed)
    }
}

impl<E> fmt::Debug for Source<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.kinds.keys().collect();
        kinds.sort_unstable();
        f.debug_struct("Source").field("kinds", &kinds).field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// The node does not have the kind whose events are asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kind {kind:?} is not registered with the node: register it where the node is built")]
pub struct NotRegistered {
    /// Which kind.
    pub kind: &'static str,
}
