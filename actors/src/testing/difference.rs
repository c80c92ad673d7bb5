use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// The lines in which two values differ, with a little of what surrounds them; `None` when they are equal.
pub(super) fn difference(expected: &Value, found: &Value) -> Option<String> {
    (expected != found).then(|| lines(&pretty(expected), &pretty(found)))
}

/// The same for texts.
pub(super) fn text_difference(expected: &str, found: &str) -> Option<String> {
    (expected != found).then(|| lines(expected, found))
}

pub(super) fn pretty(value: &Value) -> String {
    // A value that was made of JSON is JSON.
    serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string())
}

fn lines(expected: &str, found: &str) -> String {
    let diff = TextDiff::from_lines(expected, found);
    let mut out = String::new();
    for (nr, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if nr > 0 {
            out.push_str("      …\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            out.push_str(&format!("    {sign} {}\n", change.value().trim_end_matches('\n')));
        }
    }
    out
}

/// Lines kept around a change.
const CONTEXT: usize = 2;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_lines_that_differ_and_their_neighbours_are_shown() {
        let many: Vec<u32> = (0..50).collect();
        let expected = json!({ "a": many, "z": 1 });
        let found = json!({ "a": many, "z": 2 });
        assert_eq!(difference(&expected, &expected), None);
        assert_eq!(
            difference(&expected, &found).unwrap(),
            "          49\n        ],\n    -   \"z\": 1\n    +   \"z\": 2\n      }\n"
        );
    }
}
