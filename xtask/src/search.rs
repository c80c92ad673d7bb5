use std::path::Path;

use anyhow::Result;

use crate::budget::VARIABLE;
use crate::workspace::Workspace;

/// A test that finds more the longer it looks: a crash loop, a power loss, a model test.
///
/// It goes on until it has seen enough, or until the seconds in [`VARIABLE`] are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) name: &'static str,
    /// The file that holds it, from the root of the workspace.
    file: &'static str,
    /// The function.
    test: &'static str,
}

/// All of them.
pub(crate) const ALL: &[Search] = &[
    Search {
        name: "journal: what a killed process acknowledged, on every backend (takes a quarter of its share)",
        file: "journal/src/conformance/crash.rs",
        test: "what_was_acknowledged_survives_a_kill",
    },
    Search {
        name: "journal: a process that is killed while it appends",
        file: "journal/tests/two_processes.rs",
        test: "what_was_answered_is_there_after_kill_9",
    },
    Search {
        name: "bank: killed while clients change accounts",
        file: "tests/stories/bank_kill.rs",
        test: "every_answered_change_survives_kill_9_exactly_once",
    },
    Search {
        name: "bank: taken over by a second process while clients change accounts",
        file: "tests/stories/bank_takeover.rs",
        test: "two_banks_on_one_file_lose_and_double_nothing",
    },
];

/// What does not agree between `searches` and the code.
pub(crate) fn complaints(searches: &[Search], workspace: &Workspace) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for search in searches {
        let declared = format!("fn {}(", search.test);
        if !workspace.read(Path::new(search.file)).is_ok_and(|source| source.contains(&declared)) {
            complaints.push(format!("`{}`: {} has no `{declared}`", search.name, search.file));
        }
    }
    let literal = format!("\"{VARIABLE}\"");
    for file in workspace.files_with_extension("rs")? {
        let known = file.starts_with("xtask")
            || searches
                .iter()
                .filter_map(|search| Path::new(search.file).parent())
                .any(|dir| file.starts_with(dir));
        if !known && workspace.read(&file)?.contains(&literal) {
            complaints.push(format!(
                "{} reads {VARIABLE}, and no search of its folder is listed in xtask/src/search.rs",
                file.display()
            ));
        }
    }
    Ok(complaints)
}
