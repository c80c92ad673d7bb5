use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod compare;
mod made_up;
mod probe;
mod trace;

/// The JSON that a type reads, as far as serde tells: field names, nesting, the kinds of values.
///
/// It needs no derive of its own: `Deserialize` is asked what it wants, place by place, and never gets a whole value. It is itself a
/// JSON value:
///
/// ```text
/// "i64" "string" "bool" "null"       what one value is
/// {"cents": "i64", "note?": ..}      fields; one with ? may be missing
/// ["string"]                         a list
/// {"$option": ..}                    or null
/// {"$map": ["string", ..]}           keys and values
/// {"$tuple": [.., ..]}               a list of a fixed length
/// {"$enum": {"signed": "null", ..}}  one of these; null has no fields
/// {"$same": "Node"}                  a type within itself
/// "any"                              serde asks for whatever is there: flatten, untagged and tagged enums, `Value`
/// "?"                                it cannot be seen, because what stands before refuses made-up values
/// ```
///
/// Changes behind `any` and `?` are not seen. A type that is a string to serde is a string here, whatever it makes of it.
///
/// ```
/// use annals_migrations::Shape;
/// # use serde::Deserialize;
/// #[derive(Deserialize)]
/// struct Withdrawn { cents: i64, reason: Option<String> }
///
/// assert_eq!(Shape::of::<Withdrawn>().to_string(), r#"{"cents":"i64","reason?":{"$option":"string"}}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(Value);

impl Shape {
    /// What a type reads.
    pub fn of<T: DeserializeOwned>() -> Self {
        Self(trace::trace(&|probe| drop(T::deserialize(probe))))
    }

    /// What a variant of an enum reads, told by its index among the variants that serde reads.
    pub(crate) fn of_variant<T: DeserializeOwned>(index: u32) -> Self {
        Self(trace::trace(&|probe| {
            drop(T::deserialize(crate::codec::VariantReader { index, fields: probe }));
        }))
    }

    /// What another shape, which came later, has that this one has not, and the other way round: a sentence each.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare::differences(&self.0, &later.0, "", &mut found);
        found
    }

    /// Why a type of this shape cannot read what was stored in another one: a sentence each. Empty: as far as shapes tell, it can.
    pub fn cannot_read(&self, stored: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare::cannot_read(&self.0, &stored.0, "", &mut found);
        found
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `{"$option": ..}` and the like.
fn marked(mark: &str, inner: Value) -> Value {
    Value::Object(Map::from_iter([(mark.to_owned(), inner)]))
}

const OPTION: &str = "$option";
const MAP: &str = "$map";
const TUPLE: &str = "$tuple";
const ENUM: &str = "$enum";
const SAME: &str = "$same";
const ANY: &str = "any";
const UNSEEN: &str = "?";

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::json;

    use super::*;

    fn of<T: DeserializeOwned>() -> Value {
        Shape::of::<T>().0
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Order {
        id: Strict,
        #[serde(rename = "howMany")]
        count: u32,
        items: Vec<Item>,
        #[serde(default)]
        note: String,
        gift: Option<(Strict, f64)>,
        prices: HashMap<String, i64>,
        stage: Stage,
        parent: Option<Box<Order>>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Item(u8);

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[allow(dead_code)]
    enum Stage {
        JustOpen,
        Closed { at: i64 },
        Sent(String),
        Both(bool, char),
    }

    /// Reads only what is written as a UUID is, as types of other crates do.
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Strict;

    impl TryFrom<String> for Strict {
        type Error = &'static str;
        fn try_from(text: String) -> Result<Self, Self::Error> {
            if text.len() == 36 { Ok(Self) } else { Err("no id") }
        }
    }

    #[test]
    fn a_type_is_seen_without_a_derive_of_its_own_and_without_a_value() {
        assert_eq!(
            of::<Order>(),
            json!({
                "id": "string",
                "howMany": "u32",
                "items": ["u8"],
                "note?": "string",
                "gift?": {"$option": {"$tuple": ["string", "f64"]}},
                "prices": {"$map": ["string", "i64"]},
                "stage": {"$enum": {
                    "just-open": "null", "closed": {"at": "i64"}, "sent": "string", "both": {"$tuple": ["bool", "char"]},
                }},
                "parent?": {"$option": {"$same": "Order"}},
            })
        );
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Flat {
        #[serde(flatten)]
        more: BTreeMap<String, i64>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Either {
        A(i64),
        B(String),
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Endless {
        More(Box<Endless>, Box<Endless>),
        End,
    }

    #[test]
    fn what_serde_does_not_tell_is_said_to_be_anything() {
        assert_eq!((of::<Flat>(), of::<Either>(), of::<Value>()), (json!("any"), json!("any"), json!("any")));
        assert_eq!(of::<()>(), json!("null"));
        assert_eq!(of::<BTreeMap<u64, bool>>(), json!({"$map": ["u64", "bool"]}));
    }

    #[test]
    fn a_type_within_itself_has_an_end() {
        let endless = json!({"$enum": {"More": {"$tuple": [{"$same": "Endless"}, "?"]}, "End": "null"}});
        assert_eq!(of::<Endless>(), endless);
    }
}
