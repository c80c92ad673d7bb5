use serde_json::{Map, Value};

use super::{ANY, ENUM, MAP, OPTION, SAME, TUPLE, UNSEEN};

/// What differs between a shape and a later one.
pub(super) fn differences(before: &Value, after: &Value, at: &str, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (Parts::of(before), Parts::of(after)) {
        (Parts::Fields(before), Parts::Fields(after)) => {
            for (name, optional, shape) in fields(before) {
                let place = place(at, name);
                match field(after, name) {
                    None => found.push(format!("field `{place}` is gone, it was {shape}")),
                    Some((now_optional, now)) => {
                        differences(shape, now, &place, found);
                        match (optional, now_optional) {
                            (true, false) => {
                                found.push(format!("field `{place}` may not be missing any more"))
                            }
                            (false, true) => found.push(format!("field `{place}` may be missing now")),
                            _ => {}
                        }
                    }
                }
            }
            for (name, _, shape) in fields(after).filter(|(name, ..)| field(before, name).is_none()) {
                found.push(format!("field `{}` is new, {shape}", place(at, name)));
            }
        }
        (Parts::Marked(ENUM, Value::Object(before)), Parts::Marked(ENUM, Value::Object(after))) => {
            for (name, shape) in before {
                match after.get(name) {
                    None => found.push(format!("{} cannot be `{name}` any more", named(at))),
                    Some(now) => differences(shape, now, &place(at, name), found),
                }
            }
            for name in after.keys().filter(|name| !before.contains_key(*name)) {
                found.push(format!("{} can be `{name}` now", named(at)));
            }
        }
        (Parts::Marked(one, before), Parts::Marked(other, after)) if one == other && one == OPTION => {
            differences(before, after, at, found);
        }
        (Parts::List(before), Parts::List(after)) => differences(before, after, &format!("{at}[]"), found),
        _ => found.push(format!("{} was {before}, and is {after}", named(at))),
    }
}

/// Why what was stored in one shape cannot be read as another.
pub(super) fn cannot_read(reader: &Value, stored: &Value, at: &str, found: &mut Vec<String>) {
    match (Parts::of(reader), Parts::of(stored)) {
        (Parts::Scalar(ANY | UNSEEN) | Parts::Marked(SAME, _), _)
        | (_, Parts::Scalar(ANY | UNSEEN) | Parts::Marked(SAME, _)) => {}
        (Parts::Scalar(one), Parts::Scalar(other)) => {
            let numbers = is_number(one) && (is_integer(other) || one.starts_with('f') && is_number(other));
            if one != other && !numbers {
                found.push(format!("{} is read as {reader}, and was {stored}", named(at)));
            }
        }
        (Parts::Marked(OPTION, reader), Parts::Marked(OPTION, stored))
        | (Parts::List(reader), Parts::List(stored)) => {
            cannot_read(reader, stored, at, found);
        }
        (Parts::Marked(OPTION, _), Parts::Scalar("null")) => {}
        (Parts::Marked(OPTION, reader), _) => cannot_read(reader, stored, at, found),
        (Parts::Fields(reader), Parts::Fields(stored)) => {
            for (name, optional, shape) in fields(reader) {
                match field(stored, name) {
                    Some((_, stored)) => cannot_read(shape, stored, &place(at, name), found),
                    None if optional => {}
                    None => found.push(format!("field `{}` is read, and was not there", place(at, name))),
                }
            }
        }
        (Parts::Marked(ENUM, Value::Object(reader)), Parts::Marked(ENUM, Value::Object(stored))) => {
            for (name, shape) in stored {
                match reader.get(name) {
                    Some(reader) => cannot_read(reader, shape, &place(at, name), found),
                    None => found.push(format!("{} may be `{name}`, which is not read", named(at))),
                }
            }
        }
        (Parts::Marked(TUPLE, Value::Array(reader)), Parts::Marked(TUPLE, Value::Array(stored)))
            if reader.len() == stored.len() =>
        {
            for (at_element, (reader, stored)) in reader.iter().zip(stored).enumerate() {
                cannot_read(reader, stored, &format!("{at}[{at_element}]"), found);
            }
        }
        (Parts::List(reader), Parts::Marked(TUPLE, Value::Array(stored))) => {
            stored.iter().for_each(|stored| cannot_read(reader, stored, &format!("{at}[]"), found));
        }
        (Parts::Marked(MAP, reader), Parts::Marked(MAP, stored)) => {
            if let (Some(reader), Some(stored)) = (reader.get(1), stored.get(1)) {
                cannot_read(reader, stored, &format!("{at}{{}}"), found);
            }
        }
        // The names that a map reads are any.
        (Parts::Marked(MAP, _), Parts::Fields(_)) => {}
        _ => found.push(format!("{} is read as {reader}, and was {stored}", named(at))),
    }
}

/// A shape, taken apart.
enum Parts<'a> {
    Scalar(&'a str),
    List(&'a Value),
    Marked(&'a str, &'a Value),
    Fields(&'a Map<String, Value>),
    /// In a file that somebody wrote by hand.
    Other,
}

impl<'a> Parts<'a> {
    fn of(shape: &'a Value) -> Self {
        match shape {
            Value::Null => Self::Scalar("null"),
            Value::String(name) => Self::Scalar(name),
            Value::Array(elements) => elements.first().map_or(Self::Other, Self::List),
            Value::Object(map) => match map.iter().next() {
                Some((mark, inner)) if map.len() == 1 && MARKS.contains(&mark.as_str()) => {
                    Self::Marked(mark, inner)
                }
                _ => Self::Fields(map),
            },
            Value::Bool(_) | Value::Number(_) => Self::Other,
        }
    }
}

fn fields(map: &Map<String, Value>) -> impl Iterator<Item = (&str, bool, &Value)> {
    map.iter().map(|(name, shape)| match name.strip_suffix('?') {
        Some(name) => (name, true, shape),
        None => (name.as_str(), false, shape),
    })
}

fn field<'a>(map: &'a Map<String, Value>, name: &str) -> Option<(bool, &'a Value)> {
    fields(map).find(|(found, ..)| *found == name).map(|(_, optional, shape)| (optional, shape))
}

fn place(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn named(at: &str) -> String {
    if at.is_empty() { "it".to_owned() } else { format!("`{at}`") }
}

fn is_integer(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'i' | b'u')) && name[1..].parse::<u8>().is_ok()
}

fn is_number(name: &str) -> bool {
    is_integer(name) || matches!(name, "f32" | "f64")
}

const MARKS: &[&str] = &[OPTION, MAP, TUPLE, ENUM, SAME];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(before: Value, after: Value) -> Vec<String> {
        let mut found = Vec::new();
        differences(&before, &after, "", &mut found);
        found
    }

    fn unread(reader: Value, stored: Value) -> Vec<String> {
        let mut found = Vec::new();
        cannot_read(&reader, &stored, "", &mut found);
        found
    }

    #[test]
    fn each_difference_is_a_sentence_that_names_its_place() {
        let before = json!({"cents": "i64", "by": {"name": "string"}, "note": "string", "stages": [{"$enum": {"a": null}}]});
        let after = json!({"euros": "i64", "by": {"name": "u64"}, "note?": "string", "stages": [{"$enum": {"b": null}}]});
        assert_eq!(
            changed(before, after),
            [
                "`by.name` was \"string\", and is \"u64\"",
                "field `cents` is gone, it was \"i64\"",
                "field `note` may be missing now",
                "`stages[]` cannot be `a` any more",
                "`stages[]` can be `b` now",
                "field `euros` is new, \"i64\"",
            ]
        );
        assert_eq!(changed("i64".into(), json!(["i64"])), ["it was \"i64\", and is [\"i64\"]"]);
    }

    #[test]
    fn a_reader_takes_what_is_narrower_and_names_what_it_cannot_take() {
        let stored = json!({"cents": "u32", "note": {"$option": "string"}, "more": "any", "way": {"$enum": {"a": null}}});
        let reader = json!({"cents": "i64", "note?": {"$option": "string"}, "more": "bool", "new?": "i64"});
        assert!(unread(reader, stored.clone()).is_empty());
        let reader =
            json!({"cents": "string", "note": "string", "added": "i64", "way": {"$enum": {"b": null}}});
        assert_eq!(
            unread(reader, stored),
            [
                "field `added` is read, and was not there",
                "`cents` is read as \"string\", and was \"u32\"",
                "`note` is read as \"string\", and was {\"$option\":\"string\"}",
                "`way` may be `a`, which is not read",
            ]
        );
        assert_eq!(unread("f64".into(), "i64".into()), Vec::<String>::new());
        assert_eq!(unread("i64".into(), "f64".into()).len(), 1);
    }
}
