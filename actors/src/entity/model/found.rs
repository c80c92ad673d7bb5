//! What the model test has found, each as the shortest story.

use std::time::Duration;

use annals_journal::{Epoch, JournalError, Timestamp, Token};
use annals_snapshot::SnapshotPolicy;

use super::ledger::{Afterwards, Do, Entry, Ledger, Seen, What, Where};
use super::link::unknown;
use super::owner::{Needs, Owner};
use super::setting::Setting;
use super::store::{Flaw, Snapshots, Store, adapter};
use crate::answer::{Answer, answer};
use crate::delivery::{Parcel, Progress, Response};
use crate::entity::Bounds;
use crate::plain::RestartPolicy;
use crate::{AskError, Failure};

/// One owner and its store; nothing goes wrong unless the test says so.
struct Bench {
    now: Timestamp,
    owner: Owner,
    store: Store,
    commands: u32,
}

type Caller = (Answer<'static, Response<Ledger, Do>>, Progress);

impl Bench {
    /// A running owner.
    fn new() -> Self {
        Self::with(SnapshotPolicy::never())
    }

    fn with(snapshots: SnapshotPolicy<Ledger, Entry>) -> Self {
        let bounds = Bounds {
            events: 8,
            bytes: 10_000,
            held: 8,
            stash: 4,
            patience: Duration::from_secs(2),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
            restart: RestartPolicy::default(),
        };
        let setting = Setting::new();
        let rules = setting.rules(1, bounds, snapshots);
        let mut bench = Self {
            now: Timestamp::from_micros(1_000_000),
            owner: Owner::new(setting.identity(), rules, 16, 0, Flaw::None),
            store: Store::new(setting.id.clone(), adapter(), Flaw::None),
            commands: 0,
        };
        bench.ask(What::Read);
        bench.go_on();
        bench
    }

    fn ask(&mut self, what: What) -> Caller {
        self.send(what, false)
    }

    fn send(&mut self, what: What, confirmed: bool) -> Caller {
        let (caller, answer) = answer();
        let progress = Progress::new();
        let command = Do { command: self.commands, what };
        self.commands += 1;
        let parcel = Parcel::<Ledger, Do>::new(command, confirmed, progress.clone(), Some(caller));
        self.owner.deliver(self.now, Box::new(parcel)).unwrap();
        while self.owner.can_take() {
            self.owner.take(self.now);
        }
        (answer, progress)
    }

    /// The next commit leaves and lands.
    fn land(&mut self) {
        self.owner.link.send(true, 1);
        self.owner.link.land(0, &mut self.store);
    }

    /// The commit that landed is answered, with this instead of the truth.
    fn answer(&mut self, error: Option<JournalError>) {
        let (answers, _) = self.owner.link.answer(0, true, error.map(|error| (0, error)));
        self.owner.answered(answers);
    }

    /// All that waits happens, until nothing does.
    fn go_on(&mut self) {
        loop {
            if !self.owner.link.flights.is_empty() {
                self.answer(None);
            } else if self.owner.link.can_send(true) {
                self.land();
            } else if self.owner.can_hear() {
                self.owner.hear(self.now);
            } else if self.owner.can_recover(self.now) {
                match self.owner.needs() {
                    Needs::Load(at_most) => {
                        self.owner.loaded(self.now, Snapshots::default().load(at_most));
                    }
                    Needs::Replay(from, to) => self.owner.begin_replay(self.store.replay(from, to)),
                    Needs::Nothing => self.owner.recover(self.now),
                }
            } else if self.owner.can_work() {
                self.owner.work(self.now, true);
            } else if self.owner.can_take() {
                self.owner.take(self.now);
            } else if self.owner.can_run_effect() {
                self.owner.run_effect();
            } else if self.owner.can_leave() {
                self.owner.leave(self.now);
            } else if self.owner.must_tell() {
                self.owner.tell_to_stop();
            } else if self.owner.can_finish() {
                self.owner.finish(self.now);
            } else {
                return;
            }
        }
    }
}

fn add(after: Afterwards) -> What {
    What::Add { events: 1, effect: false, after }
}

fn unavailable() -> JournalError {
    JournalError::Unavailable { reason: "the disk is full".into(), source: None }
}

fn count(caller: &mut Caller) -> Option<u64> {
    match caller.0.try_recv() {
        Ok(Ok(Seen { count, .. })) => Some(count),
        _ => None,
    }
}

#[test]
fn an_append_behind_a_verification_that_failed_is_not_decided_twice() {
    let mut bench = Bench::new();
    let mut read = bench.send(What::Read, true);
    bench.land();
    bench.answer(Some(unavailable()));
    // The answer is there, and before it is heard another command is decided and stored.
    let mut added = bench.ask(add(Afterwards::Stay));
    bench.land();
    bench.go_on();
    assert_eq!(bench.store.head(), 1, "it is stored once");
    assert_eq!(count(&mut added), Some(1));
    assert_eq!(count(&mut read), Some(1), "the read was not confirmed, and decided again");
}

#[test]
fn an_owner_that_is_overtaken_while_it_recovers_is_fenced_and_calls_for_no_operator() {
    let mut bench = Bench::new();
    bench.ask(add(Afterwards::Stay));
    bench.ask(add(Afterwards::Stop));
    bench.go_on();
    let mut read = bench.ask(What::Read);
    bench.land();
    bench.answer(None);
    // It has claimed number 2. A newer owner writes number 3, saves a snapshot of it, and deletes what that covers.
    let newer = Token::new(Epoch(2), 1);
    let write = bench.store.foreign(newer, 99).unwrap();
    assert!(bench.store.write(&[write])[0].is_ok());
    bench.store.deleted_to = 3;
    bench.go_on();
    let answer = read.0.try_recv();
    assert!(matches!(answer, Ok(Err(AskError::Failed(Failure::Fenced { .. })))), "{answer:?}");
}

#[test]
fn a_stop_that_loses_a_race_is_decided_again() {
    for error in [unavailable(), unknown()] {
        let mut bench = Bench::new();
        let mut stop = bench.ask(add(Afterwards::Stop));
        bench.owner.link.send(true, 1);
        bench.answer(Some(error));
        bench.go_on();
        assert_eq!(count(&mut stop), Some(1));
        assert!(!bench.owner.has_entity());
    }
}

#[test]
fn a_stop_whose_outcome_was_unknown_and_is_stored_stops() {
    let mut bench = Bench::new();
    let mut stop = bench.ask(add(Afterwards::Stop));
    bench.land();
    bench.answer(Some(unknown()));
    bench.go_on();
    assert_eq!((count(&mut stop), bench.store.head()), (Some(1), 1));
    assert!(!bench.owner.has_entity());
}

#[test]
fn a_node_that_stops_while_an_entity_is_passivated_stops_it() {
    let mut bench = Bench::new();
    bench.ask(What::Gate { closed: true });
    bench.go_on();
    let mut stashed = bench.ask(What::AddWhenOpen);
    bench.ask(What::Add { events: 1, effect: true, after: Afterwards::Passivate });
    bench.land();
    bench.answer(None);
    bench.owner.hear(bench.now);
    // It is stopped and will start again for the stash, once its side effect has run.
    assert!(bench.owner.can_run_effect() && !bench.owner.can_leave());
    bench.owner.stop_node();
    bench.owner.tell_to_stop();
    bench.go_on();
    assert!(!bench.owner.has_entity());
    assert!(matches!(stashed.0.try_recv(), Ok(Err(AskError::Failed(Failure::Stopping { .. })))));
}

#[test]
fn a_caller_whose_time_is_up_during_work_calls_the_command_off() {
    let mut bench = Bench::new();
    let (_answer, progress) = bench.ask(What::Work);
    assert!(bench.owner.can_work() && progress.give_up());
    bench.go_on();
    assert_eq!(bench.store.head(), 0);
    let mut next = bench.ask(add(Afterwards::Stay));
    bench.go_on();
    assert_eq!(count(&mut next), Some(1));
}

#[test]
fn a_command_that_panics_is_answered_at_once_and_the_others_when_the_pause_is_over() {
    let mut bench = Bench::new();
    for pause in [100, 200, 400] {
        let mut broken = bench.ask(What::Explode(Where::Handle));
        bench.go_on();
        assert!(matches!(broken.0.try_recv(), Ok(Err(AskError::Failed(Failure::Panicked { .. })))));
        let mut read = bench.ask(What::Read);
        bench.now = bench.now.plus(Duration::from_millis(pause - 1));
        bench.go_on();
        assert_eq!(count(&mut read), None);
        bench.now = bench.now.plus(Duration::from_millis(1));
        bench.go_on();
        assert_eq!(count(&mut read), Some(0));
    }
}

#[test]
fn what_was_stored_before_a_panic_is_answered_without_a_pause() {
    let mut bench = Bench::new();
    let mut added = bench.ask(add(Afterwards::Stay));
    bench.land();
    let mut broken = bench.ask(What::Explode(Where::Handle));
    assert!(broken.0.try_recv().is_ok());
    bench.go_on();
    assert_eq!(count(&mut added), Some(1), "at the moment of the panic");
}

#[test]
fn what_was_stored_before_the_last_panic_is_answered_before_the_entity_is_given_up() {
    let mut bench = Bench::new();
    for pause in [1, 1, 1, 1, 2, 4, 7, 13, 26, 30] {
        bench.ask(What::Explode(Where::Handle));
        bench.go_on();
        bench.now = bench.now.plus(Duration::from_secs(pause));
        bench.go_on();
    }
    let mut added = bench.ask(add(Afterwards::Stay));
    bench.land();
    let mut broken = bench.ask(What::Explode(Where::Handle));
    let mut waiting = bench.ask(What::Read);
    assert!(broken.0.try_recv().is_ok());
    bench.go_on();
    assert_eq!(count(&mut added), Some(1));
    let answer = waiting.0.try_recv();
    assert!(matches!(answer, Ok(Err(AskError::Failed(Failure::PanickedTooOften { .. })))), "{answer:?}");
    assert!(!bench.owner.has_entity());
    bench.now = bench.now.plus(Duration::from_secs(30));
    let mut next = bench.ask(What::Read);
    bench.go_on();
    assert_eq!(count(&mut next), Some(1), "the next command starts it again");
}

#[test]
fn a_policy_that_panics_fails_no_command() {
    let policy = SnapshotPolicy::when(|_, _, _| std::panic::resume_unwind(Box::new("on purpose")));
    let mut bench = Bench::with(policy);
    let mut added = bench.ask(add(Afterwards::Stay));
    bench.go_on();
    assert_eq!(count(&mut added), Some(1));
}

#[test]
fn an_event_that_cannot_be_stored_takes_nothing_else_with_it() {
    let mut bench = Bench::new();
    let mut refused = bench.ask(What::UnstorableStop);
    bench.go_on();
    assert!(matches!(refused.0.try_recv(), Ok(Err(AskError::Failed(Failure::NotStorable { .. })))));
    assert!(bench.owner.has_entity(), "what was not carried out does not stop it");
}
