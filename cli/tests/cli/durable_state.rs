//! A durable state on each journal, with and without keys, and what `annals` says of it.

use std::io::Write as _;
use std::path::Path;

use annals::actors::DurableState;
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::program::annals;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Profile {
    names: Vec<String>,
}

#[derive(Serialize, Deserialize, Command)]
struct Rename(String);

#[derive(Serialize, Deserialize, Command)]
struct Forget;

impl DurableState for Profile {
    const KIND: &'static str = "profile";
    type Commands = (Rename, Forget);
}

impl Handle<Rename> for Profile {
    type Reply = Vec<String>;
    type Rejection = NeverRejected;

    fn handle(&self, rename: &Rename, ctx: &mut Context<Self, Rename>) -> Effect<Self, Rename> {
        let mut profile = self.clone();
        profile.names.push(rename.0.clone());
        ctx.update(profile).reply(|profile| profile.names.clone())
    }
}

impl Handle<Forget> for Profile {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Forget, ctx: &mut Context<Self, Forget>) -> Effect<Self, Forget> {
        ctx.delete().reply_with(())
    }
}

async fn node(home: &Path, url: &str, keys: Option<&str>) -> Node {
    // Relative to where the commands run.
    let url = match url.strip_prefix("sqlite://") {
        Some(file) => format!("sqlite://{}", home.join(file).display()),
        None => url.to_owned(),
    };
    let mut node = Annals::builder("profiles").journal(url).entity::<Profile>();
    if let Some(keys) = keys {
        node = node.keys(format!("file:{}", home.join(keys).display()));
    }
    node.start().await.unwrap()
}

#[tokio::main]
async fn lives(home: &Path, url: &str, keys: Option<&str>) {
    let first = node(home, url, keys).await;
    let alice = first.entity::<Profile>("alice");
    for number in 1..=25_usize {
        assert_eq!(alice.ask(Rename(format!("secret-{number}"))).await.unwrap().len(), number);
    }
    let bob = first.entity::<Profile>("bob");
    bob.ask(Rename("secret-bob".into())).await.unwrap();
    bob.ask(Forget).await.unwrap();

    // The first is not stopped: it is taken over.
    let second = node(home, url, keys).await;
    assert_eq!(second.entity::<Profile>("alice").ask(Rename("secret-26".into())).await.unwrap().len(), 26);
    let refused = alice.ask(Rename("late".into())).await;
    assert!(matches!(refused, Err(AskError::Failed(Failure::Fenced { .. }))), "{refused:?}");
    first.shutdown().await;
    assert_eq!(
        second.entity::<Profile>("bob").ask(Rename("secret-again".into())).await.unwrap(),
        ["secret-again"]
    );
    second.shutdown().await;
    let third = node(home, url, keys).await;
    assert_eq!(third.entity::<Profile>("alice").ask(Rename("secret-27".into())).await.unwrap().len(), 27);
    third.shutdown().await;
}

fn is_sound(home: &Path, url: &str, keys: Option<&str>) {
    let run = |args: &[&str]| {
        let keys: Vec<String> =
            keys.iter().flat_map(|ring| ["--keys".into(), format!("file:{ring}")]).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        annals(home, &[args, &["--journal", url], &keys].concat())
    };
    run(&["verify"]).exits(0).says(&["nothing is wrong"]);
    let exported = run(&["export"]).exits(0);
    let alice: Vec<_> =
        exported.json().into_iter().filter(|line| line["persistence_id"] == "profile|alice").collect();
    let [deleted, newest] = &alice[..] else { panic!("{exported}") };
    assert_eq!((&deleted["deleted_to"], &newest["seq_nr"]), (&26.into(), &27.into()), "{exported}");
    assert_eq!(
        (&newest["manifest"], &newest["payload"]["names"][26]),
        (&"profile.state".into(), &"secret-27".into())
    );
}

#[test]
fn a_durable_state_lives_in_a_file() {
    let home = tempfile::tempdir().unwrap();
    let url = "sqlite://profiles.db";
    lives(home.path(), url, None);
    is_sound(home.path(), url, None);
}

#[test]
fn a_durable_state_is_sealed_as_events_are() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    annals(home, &["keys", "generate", "ring.json"]).exits(0);
    let url = "sqlite://profiles.db";
    lives(home, url, Some("ring.json"));
    is_sound(home, url, Some("ring.json"));
    annals(home, &["verify", "--journal", url, "--keys", "file:ring.json", "--refuse-plaintext"]).exits(0);
    for file in ["profiles.db", "profiles.db-wal"] {
        let bytes = std::fs::read(home.join(file)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|window| window == b"secret-"), "{file} has it in the clear");
    }
}

/// On the server that `DATABASE_URL` names, as `cargo xtask test` gives it.
#[test]
fn a_durable_state_lives_on_a_server() {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and DATABASE_URL is not set");
        // Not through `eprintln!`, which a passing test keeps to itself.
        let _ = writeln!(std::io::stderr(), "!!! NOT TESTED with PostgreSQL: DATABASE_URL is not set");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let name = home.path().file_name().unwrap().to_string_lossy();
    let schema = name.trim_start_matches('.').to_lowercase();
    let url = format!("{server}?schema=annals_state_{schema}&acquire_timeout_ms=60000");
    lives(home.path(), &url, None);
    is_sound(home.path(), &url, None);
}
