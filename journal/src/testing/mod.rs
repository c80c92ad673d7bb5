//! A journal that fails on order, for tests of what stands on a journal.
//!
//! [`FaultyJournal`] is put around any journal. It passes every call on, until a test orders something else of the next one,
//! of so many, or of all; it keeps a list of what it was asked and what it answered. Without randomness and without a clock of its own:
//! the same orders give the same run, and its delays follow tokio's time, which a test can pause.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use annals_journal::testing::{FaultyJournal, Outcome};
//! use annals_journal::{Epoch, Journal, JournalError, JournalExt, MemoryJournal, PersistenceId, Token};
//!
//! let journal = FaultyJournal::around(MemoryJournal::new());
//! let alice = PersistenceId::new("account", "alice")?;
//! journal.next_claim().of(&alice).outcome_unknown(Outcome::Stored);
//!
//! let claimed = journal.claim(&alice, Token::new(Epoch(1), 1)).await;
//! assert!(matches!(claimed, Err(JournalError::Unknown { .. })));
//! assert_eq!(journal.head(&alice).await?.token, Token::new(Epoch(1), 1), "it was stored all the same");
//! # Ok(())
//! # }
//! ```
//!
//! [`Script`], [`Order`], [`Fault`], [`Gate`] and [`Call`] are what it is made of, for doubles of other stores:
//! `annals_snapshot::testing::FaultySnapshots` is one.

mod faulty_journal;
pub use faulty_journal::FaultyJournal;
mod answer;
pub use answer::{JournalAnswer, Outcome};
mod order;
pub use order::{DeleteOrder, Order, ReadOrder, ReplayOrder, WriteOrder};
pub use order::{Deleting, Reading, Replaying, Writing};
mod gate;
pub use gate::Gate;
mod fault;
pub use fault::Fault;
mod call;
pub use call::{Call, JournalCall, JournalOperation};
mod script;
pub use script::{Script, Ticket};

mod faulty_replay;
mod write_plan;
