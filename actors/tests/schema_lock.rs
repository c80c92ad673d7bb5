//! The lock file: each way to lose what older code stored is caught, and each remedy that it names works.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};

use annals_actors::testing::{SchemaLock, SchemaLockReport};
use annals_actors::{Context, Effect, Handle, NeverRejected, PersistentActor};
use annals_derive::{Command, Event};
use annals_migrations::{BreakReason, LockFile, Migrations, Step};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize, Command)]
struct Look;

/// A kind as one build has it: its event, its state, and how older ones are read.
macro_rules! account {
    ($name:ident, $event:item, $state:item, $version:expr, $migrations:expr) => {
        mod $name {
            use super::*;

            $event

            $state

            impl PersistentActor for Account {
                const KIND: &'static str = "account";
                const STATE_VERSION: u32 = $version;
                type Event = AccountEvent;
                type Commands = (Look,);

                fn apply(&mut self, _: &AccountEvent) {}

                fn state_migrations() -> Migrations<Self> {
                    $migrations
                }
            }

            impl Handle<Look> for Account {
                type Reply = ();
                type Rejection = NeverRejected;

                fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
                    ctx.reply(())
                }
            }
        }
    };
    ($name:ident, $event:item) => {
        account!(
            $name,
            $event,
            #[derive(Default, Serialize, Deserialize)]
            pub(super) struct Account {
                cents: i64,
            },
            1,
            Migrations::new()
        );
    };
}

/// Whom money goes to: a type within an event, with no derive of Annals.
#[derive(Serialize, Deserialize)]
struct Party {
    name: String,
}

/// The same after somebody thought of banks.
#[derive(Serialize, Deserialize)]
struct PartyAtBank {
    name: String,
    bank: u32,
}

account!(
    first,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited { cents: i64 },
        Sent { cents: i64, to: Party },
        Closed,
    }
);

account!(
    changed_within,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited { cents: i64 },
        Sent { cents: i64, to: PartyAtBank },
        Closed,
    }
);

#[derive(Serialize, Deserialize)]
struct SentV1 {
    cents: i64,
    to: Party,
}

#[derive(Serialize, Deserialize)]
struct SentV2 {
    cents: i64,
    to: PartyAtBank,
}

fn sent_v2(old: SentV1) -> SentV2 {
    SentV2 { cents: old.cents, to: PartyAtBank { name: old.to.name, bank: 0 } }
}

account!(
    with_a_version,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited {
            cents: i64,
        },
        #[event(version = 2, from(1 => sent_v2))]
        Sent {
            cents: i64,
            to: PartyAtBank,
        },
        Closed,
    }
);

account!(
    without_an_upcaster,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited {
            cents: i64,
        },
        #[event(version = 2)]
        Sent {
            cents: i64,
            to: PartyAtBank,
        },
        Closed,
    }
);

/// What somebody thought version 1 had been.
#[derive(Serialize, Deserialize)]
struct SentWrong {
    euros: i64,
    to: Party,
}

account!(
    with_a_wrong_step,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited {
            cents: i64,
        },
        #[event(
            version = 2,
            from(1 => |old: SentWrong| SentV2 { cents: old.euros, to: PartyAtBank { name: old.to.name, bank: 0 } })
        )]
        Sent {
            cents: i64,
            to: PartyAtBank,
        },
        Closed,
    }
);

account!(
    removed,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited { cents: i64 },
        Sent { cents: i64, to: Party },
    }
);

account!(
    retired,
    #[derive(Serialize, Deserialize, Event)]
    #[event(retired("account.closed"))]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited { cents: i64 },
        Sent { cents: i64, to: Party },
    }
);

account!(
    renamed,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited {
            cents: i64,
        },
        Sent {
            cents: i64,
            to: Party,
        },
        #[event(from(("account.closed", 1) => Step::fields(|_| Ok::<_, String>(()))))]
        Ended,
    }
);

account!(
    with_a_name_kept,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited {
            cents: i64,
        },
        Sent {
            cents: i64,
            to: Party,
        },
        #[event(manifest = "account.closed")]
        Ended,
    }
);

account!(
    another_state,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited { cents: i64 },
        Sent { cents: i64, to: Party },
        Closed,
    },
    #[derive(Default, Serialize, Deserialize)]
    pub(super) struct Account {
        euros: i64,
    },
    1,
    Migrations::new()
);

account!(
    another_state_version,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Deposited { cents: i64 },
        Sent { cents: i64, to: Party },
        Closed,
    },
    #[derive(Default, Serialize, Deserialize)]
    pub(super) struct Account {
        euros: i64,
    },
    2,
    Migrations::new().up("state", 1, Step::rename_field("cents", "euros"))
);

#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint32, tag = "2")]
    stars: u32,
}

/// Somebody has given a number of a field to another one.
#[derive(Clone, PartialEq, prost::Message)]
struct NoteRenumbered {
    #[prost(uint32, tag = "1")]
    stars: u32,
    #[prost(string, tag = "2")]
    text: String,
}

/// One field is read no more.
#[derive(Clone, PartialEq, prost::Message)]
struct NoteCut {
    #[prost(string, tag = "1")]
    text: String,
}

macro_rules! noted {
    ($name:ident, $note:ty) => {
        account!(
            $name,
            #[derive(Serialize, Deserialize, Event)]
            pub(super) enum AccountEvent {
                #[event(protobuf)]
                #[serde(skip)]
                Noted($note),
            }
        );
    };
}
noted!(noted, Note);
noted!(noted_renumbered, NoteRenumbered);
noted!(noted_cut, NoteCut);

account!(
    noted_as_json,
    #[derive(Serialize, Deserialize, Event)]
    #[allow(dead_code)]
    pub(super) enum AccountEvent {
        Noted { text: String },
    }
);

struct Repository {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Repository {
    /// With the lock file that the first build wrote.
    fn new() -> Self {
        let this = Self::empty();
        let report = this.lock().entity::<first::Account>().updating().run().unwrap();
        assert!(report.is_clean() && report.written, "{report}");
        this.clean::<first::Account>();
        this
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().join("schemas.lock"), _dir: dir }
    }

    fn lock(&self) -> SchemaLock {
        SchemaLock::at(&self.path).only_comparing()
    }

    fn compare<A: PersistentActor>(&self) -> SchemaLockReport {
        self.lock().entity::<A>().run().unwrap()
    }

    fn clean<A: PersistentActor>(&self) {
        let report = self.compare::<A>();
        assert!(report.is_clean(), "{report}");
    }

    /// The change is caught, updating does not wave it through, and the file stays as it was.
    fn refuses<A: PersistentActor>(&self) -> (BreakReason, String) {
        let before = text(&self.path);
        let report = self.lock().entity::<A>().updating().run().unwrap();
        assert_eq!((report.breaks.len(), report.written), (1, false), "{report}");
        assert_eq!(text(&self.path), before);
        (report.breaks[0].reason.clone(), report.to_string())
    }

    /// The remedy breaks nothing, is new until it is locked, and all is well then.
    fn takes<A: PersistentActor>(&self) {
        let report = self.compare::<A>();
        assert!(report.breaks.is_empty() && !report.news.is_empty() && !report.written, "{report}");
        assert!(report.to_string().contains("ANNALS_LOCK=update cargo test"), "{report}");
        assert!(self.lock().entity::<A>().updating().run().unwrap().written);
        self.clean::<A>();
    }

    /// Overwriting locks what is stored nowhere yet.
    fn overwrites<A: PersistentActor>(&self) {
        let report = self.lock().entity::<A>().overwriting().run().unwrap();
        assert!(report.is_clean() && report.written, "{report}");
        self.clean::<A>();
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_shape_that_changed_within_needs_a_version_and_a_step() {
    let repository = Repository::new();
    let (reason, said) = repository.refuses::<changed_within::Account>();
    assert_eq!(
        reason,
        BreakReason::ShapeChanged { version: 1, differences: vec!["field `to.bank` is new, \"u32\"".into()] }
    );
    assert!(said.contains("account.sent has another shape and is still version 1"), "{said}");
    assert!(said.contains("#[event(version = 2, from(1 => step))]"), "{said}");

    let (reason, said) = repository.refuses::<without_an_upcaster::Account>();
    assert_eq!(reason, BreakReason::NoUpcaster { from: 1, to: 1, today: Some(2) });
    assert!(said.contains("#[event(from(1 => step))]"), "{said}");

    repository.takes::<with_a_version::Account>();
    let lock = text(&repository.path);
    assert!(
        lock.contains("\"bank\":\"u32\"") && lock.contains("\"1\":{\"cents\""),
        "the older shape is kept: {lock}"
    );

    let (reason, said) = repository.refuses::<first::Account>();
    assert_eq!(reason, BreakReason::Lowered { locked: 2, today: 1 });
    assert!(said.contains("version 2 is locked"), "{said}");
}

#[test]
fn a_step_that_takes_another_shape_than_was_stored_is_found_without_an_event() {
    let repository = Repository::new();
    let (reason, said) = repository.refuses::<with_a_wrong_step::Account>();
    let differences = vec!["field `euros` is read, and was not there".to_owned()];
    assert_eq!(reason, BreakReason::StepReadsOther { version: 1, differences });
    assert!(said.contains("the step from account.sent version 1"), "{said}");
    repository.overwrites::<with_a_wrong_step::Account>();
}

#[test]
fn a_shape_that_is_stored_nowhere_is_locked_by_overwriting() {
    let repository = Repository::new();
    repository.overwrites::<changed_within::Account>();
}

#[test]
fn a_manifest_that_is_gone_is_kept_retired_or_read_as_another() {
    let (reason, said) = Repository::new().refuses::<removed::Account>();
    assert_eq!(reason, BreakReason::Removed { newest: 1 });
    for remedy in [
        "manifest = \"account.closed\"",
        "from((\"account.closed\", 1) => step)",
        "retired(\"account.closed\")",
    ] {
        assert!(said.contains(remedy), "{said}");
    }
    Repository::new().clean::<with_a_name_kept::Account>();
    Repository::new().takes::<retired::Account>();
    Repository::new().takes::<renamed::Account>();
    Repository::new().overwrites::<removed::Account>();
}

#[test]
fn a_state_is_locked_as_events_are() {
    let repository = Repository::new();
    let (reason, said) = repository.refuses::<another_state::Account>();
    assert!(matches!(reason, BreakReason::ShapeChanged { version: 1, .. }), "{reason:?}");
    assert!(said.contains("STATE_VERSION = 2") && said.contains(".up(\"state\", 1, step)"), "{said}");
    repository.takes::<another_state_version::Account>();
}

#[test]
fn a_kind_that_is_gone_is_named() {
    let repository = Repository::new();
    let report = repository.lock().run().unwrap();
    assert_eq!(report.breaks[0].reason, BreakReason::KindGone);
    assert!(report.to_string().contains("kind \"account\" is locked"), "{report}");
}

#[test]
fn a_protobuf_message_is_seen_by_its_sample() {
    let dir = tempfile::tempdir().unwrap();
    let lock = || SchemaLock::at(dir.path().join("schemas.lock")).only_comparing();
    let unseen = lock().entity::<noted::Account>().updating().run().unwrap();
    assert!(matches!(unseen.breaks[0].reason, BreakReason::Unseen { version: 1, .. }), "{unseen}");
    assert!(unseen.to_string().contains("because it is protobuf"), "{unseen}");
    assert!(!unseen.written);

    let sample = noted::AccountEvent::Noted(Note { text: "good".into(), stars: 5 });
    let locked = lock().entity::<noted::Account>().samples::<noted::Account>([sample]).updating().run();
    assert!(locked.unwrap().written);
    assert!(lock().entity::<noted::Account>().run().unwrap().is_clean(), "the sample in the file is enough");

    let report = lock().entity::<noted_renumbered::Account>().run().unwrap();
    assert!(matches!(report.breaks[0].reason, BreakReason::SampleUnread { version: 1, .. }), "{report}");
    let report = lock().entity::<noted_cut::Account>().run().unwrap();
    assert!(matches!(report.breaks[0].reason, BreakReason::SampleChanged { version: 1, .. }), "{report}");
    let report = lock().entity::<noted_as_json::Account>().run().unwrap();
    assert!(matches!(report.breaks[0].reason, BreakReason::CodecChanged { version: 1, .. }), "{report}");
    let sample = noted_cut::AccountEvent::Noted(NoteCut { text: "good".into() });
    let cut = || lock().entity::<noted_cut::Account>();
    assert!(cut().samples::<noted_cut::Account>([sample]).overwriting().run().unwrap().written);
    assert!(cut().run().unwrap().is_clean());
}

#[test]
fn what_serde_does_not_show_is_held_by_samples_too() {
    let repository = Repository::new();
    let state: another_state::Account = serde_json::from_str(r#"{"euros":1}"#).unwrap();
    let report =
        repository.lock().entity::<another_state::Account>().state_sample(&state).overwriting().run();
    assert!(report.unwrap().written);
    let (reason, said) = {
        let report = repository.compare::<first::Account>();
        (report.breaks.last().unwrap().reason.clone(), report.to_string())
    };
    assert!(matches!(reason, BreakReason::SampleUnread { version: 1, .. }), "{said}");
}

#[test]
fn the_test_panics_with_what_to_do() {
    let repository = Repository::new();
    let lock = repository.lock().entity::<removed::Account>();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lock.check())).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains("does not fit today's code") && said.contains("account.closed"), "{said}");
}

#[test]
fn the_file_says_what_a_build_reads() {
    let repository = Repository::new();
    assert!(repository.lock().entity::<retired::Account>().updating().run().unwrap().written);
    let lock = LockFile::parse(&text(&repository.path)).unwrap();
    let versions = lock.versions();
    let reads: Vec<_> = versions.iter().map(|of| (of.manifest.as_str(), of.reads.clone())).collect();
    assert_eq!(
        reads,
        [
            ("account.closed", 1..=u32::MAX),
            ("account.deposited", 1..=1),
            ("account.sent", 1..=1),
            ("account.state", 1..=1),
        ]
    );
    assert_eq!(lock.kinds().collect::<Vec<_>>(), ["account"]);
    assert_eq!(lock.text(), text(&repository.path));
}

#[test]
fn a_file_that_is_none_is_named_with_what_is_wrong() {
    let repository = Repository::new();
    for (content, said) in [
        ("{", "no lock file of schemas"),
        (r#"{"annals":"journal","format":1,"kinds":{}}"#, "it says \"annals\": \"journal\""),
        (r#"{"annals":"schemas","format":9,"more":1}"#, "its format is 9"),
        (
            r#"{"annals":"schemas","format":1,"kinds":{"a":{"events":{"a b":{"reads":[1,1]}}}}}"#,
            "kind \"a\", manifest \"a b\"",
        ),
        (r#"{"annals":"schemas","format":1,"kinds":{"a":{"events":{"a.b":{"reads":[2,1]}}}}}"#, "no range"),
    ] {
        std::fs::write(&repository.path, content).unwrap();
        let error = repository.lock().entity::<first::Account>().run().unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("schemas.lock"), "{error}");
        assert_eq!(text(&repository.path), content, "nothing is written over it");
    }
}

/// A kind as one build has it, of which only the command changes.
macro_rules! commanded {
    ($name:ident; $($item:item)*) => {
        mod $name {
            use super::*;

            #[derive(Clone, Debug, Serialize, Deserialize, Event)]
            pub(super) enum AccountEvent {
                Opened,
            }

            #[derive(Default, Serialize, Deserialize)]
            pub(super) struct Account {
                cents: i64,
            }

            $($item)*

            impl PersistentActor for Account {
                const KIND: &'static str = "account";
                type Event = AccountEvent;
                type Commands = (Withdraw, Look);

                fn apply(&mut self, _: &AccountEvent) {}
            }

            impl Handle<Withdraw> for Account {
                type Reply = ();
                type Rejection = NeverRejected;

                fn handle(&self, _: &Withdraw, ctx: &mut Context<Self, Withdraw>) -> Effect<Self, Withdraw> {
                    ctx.reply(())
                }
            }

            impl Handle<Look> for Account {
                type Reply = ();
                type Rejection = NeverRejected;

                fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
                    ctx.reply(())
                }
            }
        }
    };
}

commanded! {
    sent_first;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    pub(super) struct Withdraw {
        pub(super) cents: i64,
    }
}
commanded! {
    sent_changed;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    pub(super) struct Withdraw {
        cents: i64,
        reason: String,
    }
}
commanded! {
    sent_without_step;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    #[command(version = 2)]
    pub(super) struct Withdraw {
        cents: i64,
        reason: String,
    }
}
commanded! {
    sent_second;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    #[command(version = 2, from(1 => Step::default_value("reason", "")), to(1 => Step::remove_field("reason")))]
    pub(super) struct Withdraw {
        cents: i64,
        reason: String,
    }
}
commanded! {
    sent_with_another_step;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    #[command(version = 2, from(1 => |old: Other| Withdraw { cents: old.euros, reason: String::new() }))]
    pub(super) struct Withdraw {
        cents: i64,
        reason: String,
    }
    #[derive(Deserialize)]
    struct Other {
        euros: i64,
    }
}
commanded! {
    sent_under_another_name;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    #[command(manifest = "account.take")]
    pub(super) struct Withdraw {
        cents: i64,
    }
}
commanded! {
    sent_flattened;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    pub(super) struct Withdraw {
        #[serde(flatten)]
        pub(super) amount: Amount,
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Amount {
        pub(super) cents: i64,
    }
}
commanded! {
    sent_flattened_otherwise;
    #[derive(Clone, Debug, Serialize, Deserialize, Command)]
    pub(super) struct Withdraw {
        #[serde(flatten)]
        pub(super) amount: Amount,
    }
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Amount {
        pub(super) euros: i64,
    }
}

/// With the lock file of the build that sends the first version of the command.
fn sending() -> Repository {
    let repository = Repository::empty();
    assert!(repository.lock().entity::<sent_first::Account>().updating().run().unwrap().written);
    repository.clean::<sent_first::Account>();
    repository
}

#[test]
fn a_command_that_changed_needs_a_version_and_a_step() {
    let repository = sending();
    let (reason, said) = repository.refuses::<sent_changed::Account>();
    assert!(matches!(reason, BreakReason::ShapeChanged { version: 1, .. }), "{reason:?}");
    assert!(said.contains("#[command(version = 2, from(1 => step))]"), "{said}");
    assert!(said.contains("What nodes that run older builds send would be read wrong"), "{said}");
    let (reason, said) = repository.refuses::<sent_without_step::Account>();
    assert!(matches!(reason, BreakReason::NoUpcaster { from: 1, to: 1, today: Some(2) }), "{reason:?}");
    assert!(
        said.contains("nodes that run older builds send it.\n  Add #[command(from(1 => step))]."),
        "{said}"
    );
    let (reason, said) = repository.refuses::<sent_with_another_step::Account>();
    assert!(matches!(reason, BreakReason::StepReadsOther { version: 1, .. }), "{reason:?}");
    assert!(said.contains("account.withdraw version 1 takes another shape"), "{said}");
    repository.takes::<sent_second::Account>();
    // The build before is caught by the file of the newer one.
    let (reason, _) = repository.refuses::<sent_first::Account>();
    assert_eq!(reason, BreakReason::Lowered { locked: 2, today: 1 });
    // What a journal has is not what nodes send.
    let lock = LockFile::parse(&text(&repository.path)).unwrap();
    assert!(lock.versions().iter().all(|of| of.manifest.as_str() != "account.withdraw"));
    assert!(text(&repository.path).contains(r#""writes": [["account.withdraw",2],["account.withdraw",1]]"#));
}

#[test]
fn a_command_that_is_gone_is_kept_or_forgotten_on_purpose() {
    let repository = sending();
    let (reason, said) = repository.refuses::<sent_under_another_name::Account>();
    assert_eq!(reason, BreakReason::Removed { newest: 1 });
    assert!(said.contains(r#"#[command(manifest = "account.withdraw")]"#), "{said}");
    repository.overwrites::<sent_under_another_name::Account>();
}

#[test]
fn a_command_whose_shape_is_not_seen_is_held_by_a_sample() {
    let repository = Repository::empty();
    let command = sent_flattened::Withdraw { amount: sent_flattened::Amount { cents: 5 } };
    let lock = repository.lock().entity::<sent_flattened::Account>();
    let locked = lock.command_sample::<sent_flattened::Account, _>(&command).updating().run().unwrap();
    assert!(locked.is_clean() && locked.written, "{locked}");
    repository.clean::<sent_flattened::Account>();
    let (reason, said) = repository.refuses::<sent_flattened_otherwise::Account>();
    assert!(matches!(reason, BreakReason::SampleUnread { version: 1, .. }), "{reason:?}");
    assert!(said.contains("euros"), "{said}");
}

#[test]
fn a_file_from_before_commands_were_locked_lacks_them() {
    let repository = sending();
    let mut file: serde_json::Value = serde_json::from_str(&text(&repository.path)).unwrap();
    assert!(file["kinds"]["account"].as_object_mut().unwrap().remove("commands").is_some());
    std::fs::write(&repository.path, file.to_string()).unwrap();
    let report = repository.compare::<sent_first::Account>();
    assert_eq!((report.breaks.len(), report.news.len()), (0, 2), "{report}");
    assert!(report.to_string().contains("account.withdraw version 1"), "{report}");
    repository.takes::<sent_first::Account>();
}
