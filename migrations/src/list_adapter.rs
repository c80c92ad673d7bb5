use std::fmt;

use annals_journal::Envelope;

use crate::{AdaptError, Encoded, EventAdapter, EventList, Form, ReadShape, Versions};

/// An adapter around another that also reads what a rewriting has made into lists ([`EventList`]): each part goes to the inner one.
///
/// Every kind is registered with one around its adapter, so this is for who calls an adapter himself.
pub struct ListAdapter<A>(A);

impl<A> ListAdapter<A> {
    /// Around an adapter.
    pub fn new(inner: A) -> Self {
        Self(inner)
    }
}

impl<E: 'static, A: EventAdapter<E>> EventAdapter<E> for ListAdapter<A> {
    fn to_journal(&self, event: &E) -> Result<Encoded, AdaptError> {
        self.0.to_journal(event)
    }

    fn to_journal_as(&self, event: &E, form: &Form) -> Result<Encoded, AdaptError> {
        self.0.to_journal_as(event, form)
    }

    fn from_journal(&self, stored: &Envelope, each: &mut dyn FnMut(E)) -> Result<(), AdaptError> {
        if !EventList::is(&stored.manifest) {
            return self.0.from_journal(stored, each);
        }
        EventList::envelopes(stored)?.iter().try_for_each(|part| self.0.from_journal(part, each))
    }

    fn versions(&self) -> Vec<Versions> {
        self.0.versions()
    }

    fn shapes(&self) -> Vec<ReadShape> {
        self.0.shapes()
    }
}

impl<A: fmt::Debug> fmt::Debug for ListAdapter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListAdapter").field(&self.0).finish()
    }
}
