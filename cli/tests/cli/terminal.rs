use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::bank::bank;
use crate::program::{annals, command};

const LONG: [&[&str]; 4] = [
    &["inspect", "--journal", "sqlite://bank.db"],
    &["verify", "--journal", "sqlite://bank.db"],
    &["export", "--journal", "sqlite://bank.db", "--output", "out.jsonl"],
    &["import", "in.jsonl", "--journal", "sqlite://new.db"],
];

/// What a command draws on a terminal that is its standard error.
fn drawn(home: &tempfile::TempDir, args: &[&str]) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = command(home.path(), args);
    let mut child = command.env("TERM", "xterm").stdout(Stdio::null()).stderr(terminal).spawn().unwrap();
    // It keeps the terminal open.
    drop(command);
    let mut drawn = Vec::new();
    let mut controller = File::from(controller);
    let mut piece = [0; 4096];
    // It ends with an error once nobody has the terminal open.
    while let Ok(count @ 1..) = controller.read(&mut piece) {
        drawn.extend_from_slice(&piece[..count]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&drawn).into_owned()
}

#[test]
fn long_commands_draw_a_bar_on_a_terminal_and_none_in_a_pipe() {
    let home = bank();
    annals(home.path(), &["export", "--journal", "sqlite://bank.db", "--output", "in.jsonl"]).exits(0);
    for args in LONG {
        let drawn = drawn(&home, args);
        assert!(drawn.contains("about") && drawn.contains('%'), "{args:?}: {drawn:?}");
        std::fs::remove_file(home.path().join("out.jsonl")).ok();
        let run = annals(home.path(), args).exits(0);
        assert_eq!(run.err, "", "{args:?}");
        assert!(!run.out.contains('\u{1b}'), "{args:?}: {run}");
        std::fs::remove_file(home.path().join("out.jsonl")).ok();
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let home = bank();
    let one = annals(home.path(), &["export", "--journal", "sqlite://bank.db"]).exits(0).out;
    let mut many = File::create(home.path().join("many.jsonl")).unwrap();
    for number in 0..2_000 {
        let line = one.lines().next().unwrap().replace("account|alice", &format!("account|{number:05}"));
        writeln!(many, "{line}").unwrap();
    }
    annals(home.path(), &["import", "many.jsonl", "--journal", "sqlite://many.db?durability=os"]).exits(0);
    let long: [&[&str]; 3] = [&["export"], &["inspect", "--ids"], &["inspect", "--ids", "--json"]];
    for args in long {
        let args = [args, &["--journal", "sqlite://many.db"]].concat();
        let mut command = command(home.path(), &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
#[cfg(unix)]
fn an_import_that_waits_for_its_input_can_be_interrupted() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path(), &["import", "-", "--journal", "sqlite://new.db"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = r#"{"persistence_id":"a|1","seq_nr":1,"manifest":"a.b","payload":1}"#;
    // More than it reads at a time: so it has begun, and now waits for the rest of a line.
    let lines: String = (1..9_000).map(|number| line.replace("a|1", &format!("a|{number}")) + "\n").collect();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
}
