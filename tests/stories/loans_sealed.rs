//! The loans behind keys: what is imported cannot be read in the file, and nothing runs without the right keys.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::example::{annals, example, make_ring, ring_of, url};

const LOG: &str = r#"<log>
  <trace><string key="concept:name" value="one"/>
    <event><string key="concept:name" value="Register request"/><string key="org:resource" value="Liddell"/></event>
    <event><string key="concept:name" value="A_APPROVED"/><string key="lifecycle:transition" value="complete"/></event>
  </trace>
  <trace><string key="concept:name" value="two"/><event><string key="concept:name" value="A_DECLINED"/></event></trace>
</log>"#;

#[test]
fn loans_that_are_imported_behind_keys_are_readable_with_them_alone() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.xes");
    fs::write(&log, LOG).unwrap();
    let file = folder.path().join("loans.db");
    make_ring(&file);
    let keys = format!("file:{}", ring_of(&file).display());
    let other = folder.path().join("other.db");
    make_ring(&other);
    let wrong = format!("file:{}", ring_of(&other).display());
    let run = |arguments: &[&str], keys: &[&str]| {
        let mut command = Command::new(example("loans"));
        command.args(arguments).args(["--journal", &url(&file)]).args(keys).env_remove("ANNALS_KEYS");
        command.output().unwrap()
    };
    let with_keys = ["--keys", &keys];

    let imported = totals(&run(&["import", log.to_str().unwrap(), "--json"], &with_keys));
    assert_eq!(
        (&imported["cases"], &imported["events"], &imported["approved"]),
        (&2.into(), &3.into(), &1.into())
    );
    let replayed = totals(&run(&["replay", "--json"], &with_keys));
    assert_eq!((&replayed["events"], &replayed["declined"]), (&3.into(), &1.into()));
    let shown = said(&run(&["show", "one"], &with_keys));
    assert!(shown.contains("outcome  approved") && shown.contains("Register request"), "{shown}");
    for name in ["loans.db", "loans.db-wal"] {
        let Ok(bytes) = fs::read(folder.path().join(name)) else { continue };
        for fragment in ["Liddell", "Register request", "A_APPROVED"] {
            assert!(memchr::memmem::find(&bytes, fragment.as_bytes()).is_none(), "{name} has {fragment}");
        }
    }
    let verified = Command::new(annals())
        .args(["verify", "--journal", &url(&file), "--keys", &keys, "--refuse-plaintext"])
        .output()
        .unwrap();
    assert!(verified.status.success() && said(&verified).contains("nothing is wrong"), "{}", said(&verified));

    for arguments in [&["import", log.to_str().unwrap()][..], &["replay"], &["show", "one"]] {
        for (keys, says) in [
            (&[][..], "is encrypted"),
            (&["--keys", &wrong], "master key 1"),
            (&["--keys", "file:no-such-ring.json"], "no-such-ring.json"),
        ] {
            let refused = run(arguments, keys);
            let said = said(&refused);
            assert!(!refused.status.success() && said.contains(says), "{arguments:?} {keys:?}: {said}");
            assert!(!said.contains("panicked") && refused.stdout.is_empty(), "{said}");
        }
    }
}

fn totals(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything that it says.
fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}
