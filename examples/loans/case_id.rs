use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use annals::journal::PersistenceId;

/// Gives each trace of a log the id of its case, the same one each time the log is read.
///
/// It is the trace's name. The second trace of one name is `name#2`; a trace without a name, or with one that cannot be an id, is
/// `trace-<position>`. Of a name only its hash is remembered, 16 bytes a case.
#[derive(Debug, Default)]
pub(crate) struct CaseIds {
    position: u64,
    seen: HashMap<u64, u64>,
}

impl CaseIds {
    /// The id of the next trace.
    pub(crate) fn next(&mut self, name: Option<&str>) -> String {
        self.position += 1;
        let base = match name {
            // With room for the longest number behind it.
            Some(name)
                if !name.is_empty()
                    && PersistenceId::new("loan", &format!("{name}#{}", u64::MAX)).is_ok() =>
            {
                name.to_owned()
            }
            _ => format!("trace-{}", self.position),
        };
        let mut id = base.clone();
        let mut count = self.count(&id);
        while count > 1 {
            id = format!("{base}#{count}");
            if self.count(&id) == 1 {
                break;
            }
            count += 1;
        }
        id
    }

    /// How often this id was asked for, this time included.
    fn count(&mut self, id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let count = self.seen.entry(hasher.finish()).or_default();
        *count += 1;
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_name_or_the_position_and_never_given_twice() {
        let mut ids = CaseIds::default();
        let long = "x".repeat(600);
        let names = [
            Some("a"),
            None,
            Some("a"),
            Some("a#2"),
            Some("a"),
            Some(""),
            Some("line\nbreak"),
            Some(&long),
            Some("trace-9"),
        ];
        let given: Vec<String> = names.iter().map(|name| ids.next(*name)).collect();
        assert_eq!(
            given,
            ["a", "trace-2", "a#2", "a#2#2", "a#3", "trace-6", "trace-7", "trace-8", "trace-9"]
        );
        assert_eq!(ids.next(None), "trace-10");
    }
}
