use std::path::Path;

use anyhow::Result;

use super::telemetry;
use crate::markdown;
use crate::rust_source::Sources;
use crate::step::{Context, Outcome};

/// What `docs/guide/troubleshooting.md` puts between backticks is there: metrics, log lines and errors, settings, commands. Each of its
/// symptoms names something that shows it.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let page = context.workspace.read(Path::new(PAGE))?;
    let sources = Sources::read(context.workspace)?;
    let mut complaints = Vec::new();
    let mut names = 0;
    for (line, span) in markdown::code_spans(&page) {
        names += 1;
        if let Err(reason) = check(span, &sources, context.workspace.root()) {
            complaints.push(format!("{PAGE}:{line}: `{span}`: {reason}"));
        }
    }
    complaints
        .extend(symptoms_without_sign(&page).map(|symptom| format!("{PAGE}: nothing shows {symptom:?}")));
    Ok(Outcome::from_complaints(format!("{names} names"), &complaints))
}

const PAGE: &str = "docs/guide/troubleshooting.md";

/// What a span is, by its form.
#[derive(Debug, PartialEq, Eq)]
enum Span<'a> {
    Metric,
    Command(&'a str),
    /// `Type`, `Type::item`, `Type::Variant`.
    Path(Vec<&'a str>),
    /// `.method(…)`, `value.method()`.
    Call(&'a str),
    /// `name=` of a journal's URL.
    Parameter(&'a str),
    /// A log line or an error; `…` stands for what differs.
    Message(Vec<&'a str>),
}

impl<'a> Span<'a> {
    fn of(span: &'a str) -> Self {
        let program = span.split(' ').find(|word| !word.contains('=')).unwrap_or(span);
        if telemetry::is_name(span) {
            return Self::Metric;
        }
        if PROGRAMS.contains(&program) {
            return Self::Command(span);
        }
        let is_type = span.starts_with(char::is_uppercase) && span.chars().all(char::is_alphanumeric);
        if is_type || (span.contains("::") && !span.contains(' ')) {
            return Self::Path(
                span.split("::").map(|part| part.split(['(', '<']).next().unwrap_or(part)).collect(),
            );
        }
        if let Some(name) = span.strip_suffix('=') {
            return Self::Parameter(name);
        }
        match span.split_once('(') {
            Some((before, _)) if span.ends_with(')') && !before.contains(' ') => {
                Self::Call(before.rsplit('.').next().unwrap_or(before))
            }
            _ => Self::Message(span.split('…').map(str::trim).filter(|part| !part.is_empty()).collect()),
        }
    }

    /// Whether an operator or a developer sees it when something is wrong.
    fn is_sign(&self) -> bool {
        matches!(self, Self::Metric | Self::Command(_) | Self::Message(_))
    }
}

const PROGRAMS: &[&str] = &["annals", "cargo", "df", "ls", "lsof", "sqlite3"];

fn check(span: &str, sources: &Sources, root: &Path) -> Result<(), &'static str> {
    let known = match Span::of(span) {
        Span::Metric => sources.metrics().any(|metric| metric == span),
        Span::Command(command) => return check_command(command, root),
        Span::Path(parts) => parts.iter().all(|part| sources.declares(part)),
        Span::Call(name) => sources.has_function(name),
        Span::Parameter(name) => sources.literals().any(|literal| literal == name),
        Span::Message(parts) => sources.literals().any(|literal| has_in_order(literal, &parts)),
    };
    if known { Ok(()) } else { Err("is not in the code") }
}

/// Of cargo's commands, those of this workspace; of `annals`, those that have a file.
fn check_command(command: &str, root: &Path) -> Result<(), &'static str> {
    let words: Vec<&str> = command.split(' ').skip_while(|word| word.contains('=')).collect();
    if let Some(at) = words.iter().position(|word| *word == "--example") {
        let example = words.get(at + 1).copied().unwrap_or_default();
        if !root.join("examples").join(example).join("main.rs").exists() {
            return Err("there is no such example");
        }
    }
    match *words {
        ["cargo", "xtask", "bench" | "test", ..] | ["cargo", "test" | "run" | "bench", ..] => Ok(()),
        ["annals", command, ..] if root.join("cli/src").join(command).with_extension("rs").exists() => Ok(()),
        ["cargo" | "annals", ..] => Err("there is no such command"),
        _ => Ok(()),
    }
}

fn has_in_order(literal: &str, parts: &[&str]) -> bool {
    let mut rest = literal;
    !parts.is_empty()
        && parts.iter().all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
}

/// Headings of the second level under which nothing is named that shows them.
fn symptoms_without_sign(page: &str) -> impl Iterator<Item = &str> {
    page.split("\n## ").skip(1).filter_map(|section| {
        let shown = markdown::code_spans(section).into_iter().any(|(_, span)| Span::of(span).is_sign());
        (!shown).then(|| section.lines().next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        pub const DEPTH: &str = "annals_actor_mailbox_depth";
        pub enum Failure {
            #[error("mailbox of {id} is full ({capacity} commands wait): \
                     slow down")]
            MailboxFull { capacity: usize },
        }
        impl<A> Kind<A> { pub fn mailbox_capacity(mut self) { warn!("dead letter"); let _ = "readers"; } }
        pub struct Kind<A>;
        // "a comment" is no log line
        #[cfg(test)]
        mod tests { const X: &str = "only in a test"; }
    "#;

    fn complaint(span: &str) -> Option<&'static str> {
        check(span, &Sources::of([SOURCE]), Path::new("nowhere")).err()
    }

    #[test]
    fn what_is_in_the_code_is_found() {
        for span in [
            "annals_actor_mailbox_depth",
            "Kind::mailbox_capacity",
            "Failure::MailboxFull",
            "Failure",
            ".mailbox_capacity(100)",
            "readers=",
            "dead letter",
            "mailbox of … is full",
            "commands wait): slow down",
            "RUST_LOG=debug cargo test",
        ] {
            assert_eq!(complaint(span), None, "{span}");
        }
    }

    #[test]
    fn what_is_not_in_the_code_is_complained_of() {
        for span in [
            "annals_actor_mailbox_depths",
            "Kind::mailbox_size",
            "Sort::mailbox_capacity",
            "Failure::MailboxEmpty",
            "Success",
            ".mailbox_size(100)",
            "writers=",
            "dead letters",
            "is full … mailbox of",
            "a comment",
            "only in a test",
            "cargo run --example nothing",
            "cargo fix-it",
            "annals fix-it",
        ] {
            assert!(complaint(span).is_some(), "{span}");
        }
    }

    #[test]
    fn a_symptom_that_nothing_shows_is_named() {
        let page = "# T\n\n## Seen\n\n`dead letter`\n\n## Unseen\n\nuse `Kind::mailbox_capacity`\n";
        assert_eq!(symptoms_without_sign(page).collect::<Vec<_>>(), ["Unseen"]);
    }
}
