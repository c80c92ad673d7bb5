//! Random chains of steps that change the fields of JSON.

use annals_journal::Codec;
use annals_migrations::{Form, Migrations, StateAdapter, Step};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::manifest;

/// A change of a flat object that has a way back.
#[derive(Debug, Clone)]
enum Change {
    Add(usize),
    Rename(usize),
    Negate(usize),
}

const FIELDS: [&str; 4] = ["a", "b", "c", "d"];
const RENAMED: [&str; 4] = ["a2", "b2", "c2", "d2"];
const ADDED: [&str; 4] = ["e", "f", "g", "h"];

impl Change {
    fn up(&self) -> Step {
        match *self {
            Self::Add(at) => Step::default_value(ADDED[at], 0),
            Self::Rename(at) => Step::rename_field(FIELDS[at], RENAMED[at]),
            Self::Negate(at) => Step::convert_field(FIELDS[at], |old: i64| Ok::<_, String>(-old)),
        }
    }

    fn down(&self) -> Step {
        match *self {
            Self::Add(at) => Step::remove_field(ADDED[at]),
            Self::Rename(at) => Step::rename_field(RENAMED[at], FIELDS[at]),
            Self::Negate(at) => Step::convert_field(FIELDS[at], |new: i64| Ok::<_, String>(-new)),
        }
    }
}

proptest! {
    /// Down to any version and up again is where it began, when each step is the other's inverse; and version 1 comes up to the same.
    #[test]
    fn chains_of_steps_that_are_inverse_are_inverse(
        changes in prop::collection::vec((0..3usize, 0..4usize), 1..8),
        numbers in prop::array::uniform4(-1_000i64..1_000),
    ) {
        let (mut renamed, mut added) = ([false; 4], [false; 4]);
        let changes: Vec<_> = changes
            .into_iter()
            .filter_map(|(kind, at)| match kind {
                0 => (!std::mem::replace(&mut added[at], true)).then_some(Change::Add(at)),
                1 => (!std::mem::replace(&mut renamed[at], true)).then_some(Change::Rename(at)),
                _ => (!renamed[at]).then_some(Change::Negate(at)),
            })
            .collect();
        let newest = changes.len() as u32 + 1;
        let mut migrations = Migrations::<Value>::new();
        for (step, version) in changes.iter().zip(1..) {
            migrations = migrations.up("state", version, step.up()).down("state", version, step.down());
        }
        let states = StateAdapter::with("thing", newest, migrations).unwrap();
        let first: Value = FIELDS.iter().zip(numbers).map(|(field, number)| ((*field).to_owned(), json!(number))).collect();
        let name = manifest("thing.state");
        let payload = first.to_string().into();
        let today = states.decode(&name, 1, Codec::Json, &payload).unwrap();
        for version in 1..=newest {
            let older = states.encode_as(&today, &Form::new(name.clone(), version)).unwrap();
            prop_assert_eq!(older.schema_version, version);
            let again = states.decode(&name, version, older.codec, &older.payload).unwrap();
            prop_assert_eq!(&again, &today);
        }
        let oldest = states.encode_as(&today, &Form::new(name, 1)).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&oldest.payload).unwrap(), first);
    }
}
