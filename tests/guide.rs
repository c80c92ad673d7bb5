//! What the guide says about settings is true.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

use std::collections::BTreeMap;
use std::time::Duration;

use annals::actors::NodeBuilder;
use annals::actors::plain::{Actor, ActorContext, BoxError, Mailbox, Props};
use annals::journal::GroupCommitSettings;
use annals::journal::sqlite::{Durability, Options};
use annals::prelude::*;
use annals::shutdown::{Phase, ShutdownSettings};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Probe;

#[derive(Serialize, Deserialize, Event)]
enum ProbeEvent {
    Touched,
}

impl PersistentActor for Probe {
    const KIND: &'static str = "probe";
    type Event = ProbeEvent;
    type Commands = (Touch,);

    fn apply(&mut self, _: &ProbeEvent) {}
}

#[derive(Serialize, Deserialize, Command)]
struct Touch;

impl Handle<Touch> for Probe {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Touch, ctx: &mut Context<Self, Touch>) -> Effect<Self, Touch> {
        ctx.persist(ProbeEvent::Touched).reply_with(())
    }
}

#[derive(Default)]
struct Plain;

impl Actor for Plain {
    type Message = ();

    async fn receive(&mut self, (): (), _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

#[test]
fn the_page_on_tuning_names_settings_that_exist_with_the_defaults_that_they_have() {
    let page = include_str!("../docs/guide/tuning.md");
    let mut stated = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        if name.contains("::") || name.ends_with('=') {
            assert_eq!(
                stated.insert(name, cells[2].trim_matches('`').to_owned()),
                None,
                "{name} stands there twice"
            );
        }
    }
    assert_eq!(stated, settings());
}

#[test]
fn every_setting_that_can_be_chosen_for_a_kind_or_a_node_is_on_the_page() {
    let page = include_str!("../docs/guide/tuning.md");
    let settings = [
        (
            include_str!("../actors/src/kind.rs"),
            "Kind",
            &["service", "event_adapter", "snapshots", "retention"][..],
        ),
        (
            include_str!("../src/builder.rs"),
            "NodeBuilder",
            &[
                "journal",
                "open_journal",
                "stores",
                "kind",
                "system",
                "group_commit",
                "keys",
                "master_keys",
                "refuse_plaintext",
                "shutdown",
            ],
        ),
    ];
    for (source, owner, elsewhere) in settings {
        let names =
            source.lines().filter_map(|line| line.trim().strip_prefix("pub fn ")?.split_once("(mut self"));
        for (name, _) in names.filter(|(name, _)| !elsewhere.contains(name) && !name.contains('<')) {
            assert!(page.contains(&format!("| `{owner}::{name}` |")), "{owner}::{name} is not in tuning.md");
        }
    }
}

/// Every setting of the page, with its default as the code has it. Each name is a path that the compiler checks.
fn settings() -> BTreeMap<&'static str, String> {
    /// The name of a function that exists.
    macro_rules! function {
        ($name:literal, $function:expr) => {{
            let _ = $function;
            $name
        }};
    }
    let kind = format!("{:?}", Kind::<Probe>::new());
    let node = format!("{:?}", Node::builder("node"));
    let props = Props::new(Plain::default);
    let commits = GroupCommitSettings::default();
    let shutdown = ShutdownSettings::default();
    let options = Options::default();
    let (events, bytes) = field(&kind, "max_pending").trim_matches(['(', ')']).split_once(", ").unwrap();
    BTreeMap::from([
        (
            function!("Kind::mailbox", Kind::<Probe>::mailbox),
            number(field(field(&kind, "mailbox"), "capacity")),
        ),
        (
            function!("Kind::stash_capacity", Kind::<Probe>::stash_capacity),
            number(field(&kind, "stash_capacity")),
        ),
        (
            function!("Kind::max_pending", Kind::<Probe>::max_pending),
            format!("{events} events or {}", mebibytes(bytes.parse().unwrap())),
        ),
        (function!("Kind::work_limit", Kind::<Probe>::work_limit), seconds(field(&kind, "work_limit"))),
        (
            function!("Kind::journal_patience", Kind::<Probe>::journal_patience),
            seconds(field(&kind, "journal_patience")),
        ),
        (
            function!("Kind::passivate_after", Kind::<Probe>::passivate_after),
            seconds(field(&kind, "passivate_after").trim_start_matches("Some(").trim_end_matches(')')),
        ),
        (
            function!("Kind::keep_revisions", Kind::<Probe>::keep_revisions),
            number(field(&kind, "keep_revisions")),
        ),
        (function!("Kind::never_passivate", Kind::<Probe>::never_passivate), "–".to_owned()),
        (function!("Kind::restart", Kind::<Probe>::restart), {
            let limit =
                field(field(&kind, "restart"), "limit").trim_start_matches("Some((").trim_end_matches("))");
            let (panics, within) = limit.split_once(", ").unwrap();
            format!("{panics} in {}", seconds(within))
        }),
        (
            function!("NodeBuilder::ask_timeout", NodeBuilder::ask_timeout),
            seconds(field(&node, "ask_timeout")),
        ),
        (
            function!("NodeBuilder::entities_stop_within", NodeBuilder::entities_stop_within),
            seconds(field(&node, "entities_stop_within")),
        ),
        (
            function!("NodeBuilder::actors_stop_within", NodeBuilder::actors_stop_within),
            seconds(field(&node, "actors_stop_within")),
        ),
        (function!("NodeBuilder::max_claims", NodeBuilder::max_claims), number(field(&node, "max_claims"))),
        (
            function!("NodeBuilder::max_recoveries", NodeBuilder::max_recoveries),
            number(field(&node, "max_recoveries")),
        ),
        (
            function!("NodeBuilder::recovery_timeout", NodeBuilder::recovery_timeout),
            seconds(field(&node, "recovery_timeout")),
        ),
        (function!("NodeBuilder::lease", NodeBuilder::lease), seconds(field(&node, "lease"))),
        (function!("NodeBuilder::hold", |node: NodeBuilder| node.hold("a.b", 1)), "–".to_owned()),
        (
            function!("NodeBuilder::allow_unreadable", |node: NodeBuilder| node.allow_unreadable("a.b")),
            "–".to_owned(),
        ),
        (
            function!("ShutdownSettings::within", ShutdownSettings::within),
            seconds(
                field(&format!(" {shutdown:?}"), "grace").trim_start_matches("Some(").trim_end_matches(')'),
            ),
        ),
        (
            function!("ShutdownSettings::deadline", ShutdownSettings::deadline),
            seconds(&format!("{:?}", shutdown.deadline_of(Phase::Drain))),
        ),
        (
            function!("Mailbox::bounded", Mailbox::bounded),
            number(&Mailbox::default().capacity().unwrap().to_string()),
        ),
        (
            function!("Props::stash_capacity", Props::<Plain>::stash_capacity),
            number(field(&format!("{props:?}"), "stash")),
        ),
        ("GroupCommitSettings::max_entries", number(&commits.max_entries.to_string())),
        ("GroupCommitSettings::max_bytes", mebibytes(commits.max_bytes)),
        (
            "durability=",
            if options.durability == Durability::EachCommit { "each-commit" } else { "os" }.to_owned(),
        ),
        ("readers=", options.readers.to_string()),
        ("busy_timeout_ms=", options.busy_timeout.as_millis().to_string()),
        ("Options::checkpoint_pages", number(&options.checkpoint_pages.to_string())),
        ("SnapshotPolicy::DEFAULT_EVENTS", number(&Policy::DEFAULT_EVENTS.to_string())),
        ("SnapshotPolicy::DEFAULT_BYTES", mebibytes(usize::try_from(Policy::DEFAULT_BYTES).unwrap())),
        ("Retention::DEFAULT_KEPT", Retention::DEFAULT_KEPT.to_string()),
    ])
}

type Policy = SnapshotPolicy<Probe, ProbeEvent>;

/// A field of a value as `Debug` shows it.
fn field<'a>(shown: &'a str, name: &str) -> &'a str {
    let (_, rest) =
        shown.split_once(&format!(" {name}: ")).unwrap_or_else(|| panic!("{name} is not in {shown}"));
    let (mut depth, mut end) = (0_i32, rest.len());
    for (index, character) in rest.char_indices() {
        match character {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                end = index;
                break;
            }
            _ => {}
        }
    }
    rest[..end].trim_end_matches(" }")
}

/// `1024` as `1,024`.
fn number(digits: &str) -> String {
    let (mut text, length) = (String::new(), digits.len());
    for (index, digit) in digits.chars().enumerate() {
        assert!(digit.is_ascii_digit(), "{digits} is no number");
        if index > 0 && (length - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `120s` as `120 s`.
fn seconds(shown: &str) -> String {
    let whole: u64 =
        shown.strip_suffix('s').unwrap().parse().unwrap_or_else(|_| panic!("{shown} is no second"));
    format!("{} s", Duration::from_secs(whole).as_secs())
}

fn mebibytes(bytes: usize) -> String {
    assert_eq!(bytes % (1024 * 1024), 0);
    format!("{} MiB", bytes / 1024 / 1024)
}
