use std::sync::Arc;

use annals_journal::Envelope;

use crate::{AdaptError, Encoded, Form, ReadShape, Versions};

/// Turns events of a kind into what is stored and back; the one place where types become bytes.
///
/// [`KindAdapter`](crate::KindAdapter) is the adapter that every kind starts with. One that reads older shapes is an
/// adapter around an adapter: it changes what is stored before the inner one sees it, or what the inner one yields.
// `from_journal` is the counterpart of `to_journal`, not a constructor.
#[allow(clippy::wrong_self_convention)]
pub trait EventAdapter<E>: Send + Sync + 'static {
    /// What is stored of an event. An adapter that changes or divides what the inner one wrote sets [`Encoded::read_back`].
    ///
    /// # Errors
    /// [`AdaptError::Unencodable`] when it has no stored form, [`AdaptError::Unreadable`] when it could not be read again;
    /// the command is refused, the state stays as it was.
    fn to_journal(&self, event: &E) -> Result<Encoded, AdaptError>;

    /// What is stored of an event for builds that do not read today's form: one of the forms that [`EventAdapter::versions`] lists for it
    /// under `writes`. It must be read back before it is applied.
    ///
    /// # Errors
    /// [`AdaptError::NoDowncaster`] when it is none of these, [`AdaptError::StepDown`] when the event has no such form; the command is
    /// refused, the state stays as it was.
    fn to_journal_as(&self, event: &E, form: &Form) -> Result<Encoded, AdaptError>;

    /// Hands `each` the events that a stored one means: usually one; none for what no longer matters; several for
    /// what was divided since. The payload must be plain: its seal is opened before.
    ///
    /// # Errors
    /// [`AdaptError`] when this build cannot read it; `each` may have been called before. The error does not name the
    /// persistence id and the number: the caller has them.
    fn from_journal(&self, stored: &Envelope, each: &mut dyn FnMut(E)) -> Result<(), AdaptError>;

    /// Every manifest that it reads or writes. An adapter around another one says what is stored, not what the inner one sees.
    fn versions(&self) -> Vec<Versions>;

    /// The shapes of what it reads, as far as they can be seen, for the lock file; none by default. An adapter around another one that
    /// leaves the payloads as they are hands on what the inner one says.
    fn shapes(&self) -> Vec<ReadShape> {
        Vec::new()
    }
}

impl<E: 'static, A: EventAdapter<E> + ?Sized> EventAdapter<E> for Arc<A> {
    fn to_journal(&self, event: &E) -> Result<Encoded, AdaptError> {
        (**self).to_journal(event)
    }

    fn to_journal_as(&self, event: &E, form: &Form) -> Result<Encoded, AdaptError> {
        (**self).to_journal_as(event, form)
    }

    fn from_journal(&self, stored: &Envelope, each: &mut dyn FnMut(E)) -> Result<(), AdaptError> {
        (**self).from_journal(stored, each)
    }

    fn versions(&self) -> Vec<Versions> {
        (**self).versions()
    }

    fn shapes(&self) -> Vec<ReadShape> {
        (**self).shapes()
    }
}
