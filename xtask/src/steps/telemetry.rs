use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::markdown;
use crate::step::{Context, Outcome};

/// The names in `docs/telemetry.md` and the constants in the crates' `telemetry.rs` are the same.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let page = context.workspace.read(Path::new(PAGE))?;
    let documented: BTreeSet<&str> =
        markdown::code_spans(&page).into_iter().map(|(_, span)| span).filter(|span| is_name(span)).collect();
    let mut complaints = Vec::new();
    let mut declared = BTreeSet::new();
    for file in context.workspace.files_with_extension("rs")? {
        if file.starts_with("xtask") {
            continue;
        }
        let source = context.workspace.read(&file)?;
        if file.ends_with("src/telemetry.rs") {
            declared.extend(literals(&source).map(str::to_owned));
        } else if let Some(name) = recorded(&source) {
            complaints.push(format!(
                "{}: records `{name}` by its text: use a constant of telemetry.rs",
                file.display()
            ));
        }
    }
    for name in &declared {
        if !documented.contains(name.as_str()) {
            complaints.push(format!("`{name}` is recorded and not in {PAGE}"));
        }
    }
    for name in documented {
        if !declared.contains(name) {
            complaints.push(format!("`{name}` is in {PAGE} and recorded nowhere"));
        }
    }
    Ok(Outcome::from_complaints(format!("{} metrics", declared.len()), &complaints))
}

/// The metrics' names among a source's string literals.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|literal| is_name(literal))
}

/// A name that is given to a macro of `metrics` as text.
fn recorded(source: &str) -> Option<&str> {
    ["counter!(\"", "gauge!(\"", "histogram!(\""].iter().find_map(|call| {
        let (_, rest) = source.split_once(call)?;
        rest.split('"').next().filter(|name| is_name(name))
    })
}

pub(super) fn is_name(text: &str) -> bool {
    text.strip_prefix("annals_").is_some_and(|rest| {
        // At least a crate and a noun, which tells them from the crates' own names.
        rest.contains('_')
            && rest.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_'))
            && !rest.ends_with('_')
    })
}

const PAGE: &str = "docs/telemetry.md";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_literals_and_not_from_comments() {
        let source = "/// Not \"annals_journal_comment\".\npub const A: &str = \"annals_journal_events_total\";\nlet t = \"annals_journal\";";
        assert_eq!(literals(source).collect::<Vec<_>>(), ["annals_journal_events_total"]);
    }

    #[test]
    fn a_name_given_to_a_macro_as_text_is_found() {
        assert_eq!(
            recorded("counter!(\"annals_actor_asks_total\").increment(1)"),
            Some("annals_actor_asks_total")
        );
        assert_eq!(recorded("counter!(telemetry::ASKS)"), None);
    }

    #[test]
    fn names_of_crates_and_wildcards_are_no_metrics() {
        assert!(!is_name("annals_journal"));
        assert!(!is_name("annals_journal_"));
        assert!(!is_name("annals_journal_…"));
        assert!(is_name("annals_journal_commit_seconds"));
    }
}
