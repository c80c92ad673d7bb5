//! Whether a journal takes writes, as a record that the backend itself looks at in the atomic step of each write.
//!
//! ```text
//! key    journal/gate            no value: open
//! value  format (1), state (1 filling, 2 sealed, 3 given up), then the other journal's name in UTF-8
//! ```

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};

#[cfg(doc)]
use crate::Records;
use crate::{JournalError, Record, RecordKey};

/// Why a journal takes no writes: it is copied into another one, or it is the copy.
///
/// It stands in the record [`Gate::key`] of the journal's own [`Records`], and every backend judges it in the same atomic step as the
/// write. So whoever has set it knows that nothing is stored from then on, whichever processes run. What is refused is
/// [`JournalError::Rejected`], with a sentence that says where to go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gate {
    /// It is being filled as a copy of that journal: appends, deletions and replacements are taken, claims and verifications refused.
    /// A writer claims before it appends, so nobody but the copy writes.
    Filling {
        /// The journal that is copied.
        from: String,
    },
    /// It was copied into that journal, which goes on in its place: everything is refused, for ever.
    Sealed {
        /// The journal to open.
        to: String,
    },
    /// It was to become a copy of that journal and was given up: everything is refused.
    GivenUp {
        /// The journal that goes on.
        from: String,
    },
}

/// What somebody wants to do with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatedCall {
    /// An append, a deletion, a replacement.
    Store,
    /// A claim, a verification, the start of a node.
    Own,
}

impl Gate {
    /// The record's key.
    pub fn key() -> &'static RecordKey {
        &KEY
    }

    /// The record's value.
    pub fn encode(&self) -> Bytes {
        let (state, other) = match self {
            Self::Filling { from } => (FILLING, from),
            Self::Sealed { to } => (SEALED, to),
            Self::GivenUp { from } => (GIVEN_UP, from),
        };
        let mut out = BytesMut::with_capacity(2 + other.len());
        out.put_u8(FORMAT);
        out.put_u8(state);
        out.put_slice(other.as_bytes());
        out.freeze()
    }

    /// What the record says; `None`, when there is no record: the journal is open.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when it is not a gate.
    pub fn of(record: Option<&Record>) -> Result<Option<Self>, JournalError> {
        record.map(|record| Self::decode(&record.value)).transpose()
    }

    /// Reads the record's value, for authors of backends.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] when it is not a gate.
    pub fn decode(value: &[u8]) -> Result<Self, JournalError> {
        let corrupt = |reason: String| JournalError::corrupt_record(&KEY, reason);
        let (header, other) =
            value.split_at_checked(2).ok_or_else(|| corrupt("shorter than two bytes".into()))?;
        if header[0] != FORMAT {
            return Err(corrupt(format!(
                "format {}, this build reads {FORMAT}: run a newer build",
                header[0]
            )));
        }
        let other = String::from_utf8(other.to_vec()).map_err(|error| corrupt(error.to_string()))?;
        match header[1] {
            FILLING => Ok(Self::Filling { from: other }),
            SEALED => Ok(Self::Sealed { to: other }),
            GIVEN_UP => Ok(Self::GivenUp { from: other }),
            state => Err(corrupt(format!("state {state}, this build knows {FILLING} to {GIVEN_UP}"))),
        }
    }

    /// In the place of a record that cannot be read: nothing is stored while nobody knows what it says.
    pub fn unreadable() -> Self {
        Self::Sealed {
            to: format!("a journal that the record {} names in a way that this build cannot read", *KEY),
        }
    }

    /// Checks what every backend must refuse, in the atomic step of the call.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] with the journal to go to.
    pub fn check(&self, call: GatedCall) -> Result<(), JournalError> {
        let reason = match self {
            Self::Filling { .. } if call == GatedCall::Store => return Ok(()),
            Self::Filling { from } => {
                format!(
                    "it is being filled as a copy of {from}: wait for the cut-over of `annals migrate copy`"
                )
            }
            Self::Sealed { to } => {
                format!("it was copied and is sealed, {to} goes on in its place: open that one")
            }
            Self::GivenUp { from } => {
                format!(
                    "it was to become a copy of {from}, and that was given up: remove it, and open {from}"
                )
            }
        };
        Err(JournalError::rejected("the journal", reason))
    }
}

static KEY: LazyLock<RecordKey> = LazyLock::new(|| match RecordKey::new("journal/gate") {
    Ok(key) => key,
    // The name is ours, and a test makes it.
    Err(error) => unreachable!("{error}"),
});

const FORMAT: u8 = 1;
const FILLING: u8 = 1;
const SEALED: u8 = 2;
const GIVEN_UP: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_as_it_is_drawn() {
        let (from, to) = (|| "a.db".to_owned(), || "b.db".to_owned());
        for (gate, value) in [
            (Gate::Filling { from: from() }, &b"\x01\x01a.db"[..]),
            (Gate::Sealed { to: to() }, b"\x01\x02b.db"),
            (Gate::GivenUp { from: from() }, b"\x01\x03a.db"),
        ] {
            assert_eq!(gate.encode(), value);
            assert_eq!(Gate::decode(value).unwrap(), gate);
        }
        for (value, said) in [
            (&b""[..], "shorter"),
            (b"\x02\x01", "run a newer build"),
            (b"\x01\x09", "state 9"),
            (b"\x01\x01\xff", "utf-8"),
        ] {
            assert!(Gate::decode(value).unwrap_err().to_string().contains(said), "{value:?}");
        }
        assert_eq!(Gate::key().as_str(), "journal/gate");
    }
}
