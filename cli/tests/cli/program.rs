use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run of `annals` left.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// It says all of this, on standard output or standard error.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.out.contains(text) || self.err.contains(text), "{text:?} is not in\n{self}");
        }
        self
    }

    /// Standard output, a line a JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let parsed: Result<Vec<Value>, _> = self.out.lines().map(serde_json::from_str).collect();
        parsed.unwrap_or_else(|error| panic!("{error} in\n{self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {:?}\n--- out\n{}--- err\n{}", self.code, self.out, self.err)
    }
}

/// The command, in a directory, with none of our environment that it looks at.
pub(crate) fn command(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.current_dir(directory).args(args).stdin(Stdio::null());
    for variable in ["ANNALS_JOURNAL", "ANNALS_KEYS", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// Runs it to its end.
pub(crate) fn annals(directory: &Path, args: &[&str]) -> Run {
    Run::of(command(directory, args).output().unwrap())
}

/// Runs it with environment variables.
pub(crate) fn annals_with(directory: &Path, variables: &[(&str, &str)], args: &[&str]) -> Run {
    Run::of(command(directory, args).envs(variables.iter().copied()).output().unwrap())
}

/// Runs it with something on its standard input.
pub(crate) fn annals_reading(directory: &Path, input: &str, args: &[&str]) -> Run {
    let mut command = command(directory, args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end before it has read everything.
    let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    Run::of(output)
}
