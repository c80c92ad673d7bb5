//! Random chains of steps from type to type: of serde and of protobuf, typed and on JSON, some of which lose something.

use annals_journal::Codec;
use annals_migrations::{CodecError, Form, Migrations, StateAdapter, Step};
use proptest::prelude::*;
use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest;

/// What every shape says, in its own way.
#[derive(Debug, Clone, PartialEq, Default)]
struct Meaning {
    cents: i64,
    memo: String,
}

/// A type of some version.
trait Shaped: From<Meaning> + Into<Meaning> + Send + 'static {}
impl<T: From<Meaning> + Into<Meaning> + Send + 'static> Shaped for T {}

macro_rules! shape {
    ($name:ident, $into:expr, $from:expr) => {
        impl From<Meaning> for $name {
            fn from(meaning: Meaning) -> Self {
                let into: fn(Meaning) -> Self = $into;
                into(meaning)
            }
        }
        impl From<$name> for Meaning {
            fn from(shape: $name) -> Self {
                let from: fn($name) -> Self = $from;
                from(shape)
            }
        }
    };
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    cents: i64,
    memo: String,
}
shape!(Flat, |Meaning { cents, memo }| Flat { cents, memo }, |Flat { cents, memo }| Meaning { cents, memo });

/// Other names, and an empty text is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Optional {
    amount: i64,
    note: Option<String>,
}
shape!(
    Optional,
    |Meaning { cents, memo }| Optional { amount: cents, note: (!memo.is_empty()).then_some(memo) },
    |Optional { amount, note }| Meaning { cents: amount, memo: note.unwrap_or_default() }
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nested {
    money: Money,
    words: Vec<String>,
}
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Money {
    whole: i64,
    rest: i64,
}
shape!(
    Nested,
    |Meaning { cents, memo }| Nested {
        money: Money { whole: cents / 100, rest: cents % 100 },
        words: memo.split(' ').map(str::to_owned).collect(),
    },
    |Nested { money, words }| Meaning { cents: money.whole * 100 + money.rest, memo: words.join(" ") }
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Signed {
    In { cents: u64, memo: String },
    Out(u64, String),
}
shape!(
    Signed,
    |Meaning { cents, memo }| match u64::try_from(cents) {
        Ok(cents) => Signed::In { cents, memo },
        Err(_) => Signed::Out(cents.unsigned_abs(), memo),
    },
    |signed| match signed {
        Signed::In { cents, memo } => Meaning { cents: cents.cast_signed(), memo },
        Signed::Out(cents, memo) => Meaning { cents: -cents.cast_signed(), memo },
    }
);

/// An array, with the number as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair(String, String);
shape!(Pair, |Meaning { cents, memo }| Pair(cents.to_string(), memo), |Pair(cents, memo)| Meaning {
    cents: cents.parse().unwrap(),
    memo
});

/// Stored as protobuf.
#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(sint64, tag = "1")]
    cents: i64,
    #[prost(string, tag = "2")]
    memo: String,
}
shape!(Wire, |Meaning { cents, memo }| Wire { cents, memo }, |Wire { cents, memo }| Meaning { cents, memo });

/// Has no room for the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Short {
    cents: i64,
}
shape!(Short, |Meaning { cents, .. }| Short { cents }, |Short { cents }| Meaning {
    cents,
    memo: String::new()
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Flat,
    Optional,
    Nested,
    Signed,
    Pair,
    Wire,
    Short,
}

impl Shape {
    fn keeps(self, meaning: Meaning) -> Meaning {
        if self == Self::Short { Meaning { memo: String::new(), ..meaning } } else { meaning }
    }
}

/// An expression with the type of a shape that serde stores.
macro_rules! of_serde {
    ($shape:expr, $Type:ident => $then:expr, else $otherwise:expr) => {
        match $shape {
            Shape::Flat => {
                type $Type = Flat;
                $then
            }
            Shape::Optional => {
                type $Type = Optional;
                $then
            }
            Shape::Nested => {
                type $Type = Nested;
                $then
            }
            Shape::Signed => {
                type $Type = Signed;
                $then
            }
            Shape::Pair => {
                type $Type = Pair;
                $then
            }
            Shape::Short => {
                type $Type = Short;
                $then
            }
            Shape::Wire => $otherwise,
        }
    };
}

/// How a step is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Typed,
    Fallible,
    OnJson,
}

fn through<A: Shaped, B: Shaped>(old: A) -> B {
    B::from(old.into())
}

fn step(from: Shape, to: Shape, manner: Manner) -> Step {
    of_serde!(
        from,
        A => of_serde!(
            to,
            B => of_serde_types::<A, B>(manner),
            else Step::into_protobuf(through::<A, Wire>)
        ),
        else of_serde!(
            to,
            B => Step::from_protobuf(through::<Wire, B>),
            else Step::protobuf(through::<Wire, Wire>)
        )
    )
}

fn of_serde_types<A, B>(manner: Manner) -> Step
where
    A: Shaped + DeserializeOwned,
    B: Shaped + Serialize,
{
    match manner {
        Manner::Typed => Step::typed(through::<A, B>),
        Manner::Fallible => Step::try_typed(|old: A| Ok::<B, CodecError>(through(old))),
        Manner::OnJson => {
            Step::try_typed(|old: Value| serde_json::to_value(through::<A, B>(serde_json::from_value(old)?)))
        }
    }
}

/// What a build stores whose newest version has a shape.
fn stored(shape: Shape, meaning: Meaning) -> (Codec, Vec<u8>) {
    of_serde!(
        shape,
        A => (Codec::Json, serde_json::to_vec(&A::from(meaning)).unwrap()),
        else (Codec::Protobuf, Wire::from(meaning).encode_to_vec())
    )
}

/// What bytes say, in whatever order the fields of JSON are.
fn said(codec: Codec, payload: &[u8]) -> Result<Value, Vec<u8>> {
    if codec == Codec::Json { Ok(serde_json::from_slice(payload).unwrap()) } else { Err(payload.to_vec()) }
}

fn shapes() -> impl Strategy<Value = Shape> {
    use Shape::{Flat, Nested, Optional, Pair, Short, Signed, Wire};
    prop_oneof![8 => prop::sample::select(vec![Flat, Optional, Nested, Signed, Pair, Wire]), 1 => Just(Short)]
}

/// One version: its shape, and how the step up to it and the one down from it are written.
type Version = (Shape, Manner, Manner);

fn versions() -> impl Strategy<Value = Vec<Version>> {
    let manner = || prop::sample::select(vec![Manner::Typed, Manner::Fallible, Manner::OnJson]);
    let newest = shapes().prop_filter("a state is stored by serde", |shape| *shape != Shape::Wire);
    let version = (shapes(), manner(), manner());
    (prop::collection::vec(version, 0..7), (newest, manner(), manner())).prop_map(|(mut older, newest)| {
        older.push(newest);
        older
    })
}

/// A build whose newest version is the last of a chain.
struct Build<'a> {
    versions: &'a [Version],
}

impl Build<'_> {
    fn adapter<S: Serialize + DeserializeOwned + 'static>(&self) -> StateAdapter<S> {
        let mut steps = Migrations::new();
        for (pair, version) in self.versions.windows(2).zip(1..) {
            let [(older, ..), (newer, up, down)] = *pair else { panic!("they are two") };
            steps = steps.up("state", version, step(older, newer, up)).down(
                "state",
                version,
                step(newer, older, down),
            );
        }
        StateAdapter::with("thing", u32::try_from(self.versions.len()).unwrap(), steps).unwrap()
    }

    /// What is left of a meaning on the way between a version and the newest one, that one included.
    fn kept(&self, version: usize, meaning: &Meaning) -> Meaning {
        self.versions[version - 1..].iter().fold(meaning.clone(), |kept, (shape, ..)| shape.keeps(kept))
    }

    /// Down to each version and up again; up from what was stored by each older build.
    fn check<S>(&self, meaning: &Meaning) -> Result<(), TestCaseError>
    where
        S: Shaped + Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug,
    {
        let states = self.adapter::<S>();
        let name = manifest("thing.state");
        let newest = S::from(meaning.clone());
        for (&(shape, ..), version) in self.versions.iter().zip(1_usize..) {
            let number = u32::try_from(version).unwrap();
            let older = states.encode_as(&newest, &Form::new(name.clone(), number)).unwrap();
            prop_assert_eq!(older.schema_version, number);
            let kept = self.kept(version, meaning);
            let (codec, payload) = stored(shape, kept.clone());
            prop_assert_eq!(older.codec, codec, "version {}", version);
            prop_assert_eq!(said(codec, &older.payload), said(codec, &payload), "version {}", version);
            let again = states.decode(&name, number, older.codec, &older.payload).unwrap();
            prop_assert_eq!(&again, &S::from(kept.clone()), "version {} and back", version);
            // Where no version on the way loses anything, down and up are inverse; where one does, doing it again loses no more.
            if kept == S::from(meaning.clone()).into() {
                prop_assert_eq!(&again, &newest);
            }
            let twice = states.encode_as(&again, &Form::new(name.clone(), number)).unwrap();
            prop_assert_eq!(&twice.payload, &older.payload, "version {} again", version);
            // What the build of that version has stored.
            let (codec, payload) = stored(shape, meaning.clone());
            let read = states.decode(&name, number, codec, &payload.into()).unwrap();
            prop_assert_eq!(read, S::from(kept), "stored by the build of version {}", version);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn chains_from_type_to_type_are_inverse_unless_a_version_has_no_room(
        versions in versions(), cents in -1_000_000_i64..1_000_000, memo in "[a-zü ]{0,12}",
    ) {
        let (meaning, build) = (Meaning { cents, memo }, Build { versions: &versions });
        let (newest, ..) = *versions.last().unwrap();
        of_serde!(newest, S => build.check::<S>(&meaning)?, else unreachable!("no state is a protobuf message"));
    }
}
