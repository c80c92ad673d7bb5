use serde_json::{Map, Value};

use super::made_up::MadeUp;
use super::probe::{Answer, Probe, Question, Turn};
use super::{ANY, ENUM, MAP, OPTION, SAME, TUPLE, UNSEEN, marked};

/// Asks a type for all of its places; `deserialize` hands it a probe.
pub(super) fn trace(deserialize: &dyn Fn(Probe<'_>)) -> Value {
    Tracer { deserialize, path: Vec::new(), within: Vec::new(), places: 0 }.place()
}

struct Tracer<'a> {
    deserialize: &'a dyn Fn(Probe<'_>),
    path: Vec<Turn>,
    /// The types that the place lies in: name, and fields or variants.
    within: Vec<(&'static str, &'static [&'static str])>,
    places: usize,
}

impl Tracer<'_> {
    /// What belongs at the path.
    fn place(&mut self) -> Value {
        self.places += 1;
        if self.places > MOST_PLACES || self.path.len() > DEEPEST {
            return UNSEEN.into();
        }
        match self.ask(&Question::What) {
            Some(Answer::Scalar(name)) => name.into(),
            Some(Answer::Option) => marked(OPTION, self.behind(Turn::Some)),
            Some(Answer::List) => Value::Array(vec![self.behind(Turn::Element { at: 0, text: 0 })]),
            Some(Answer::Map) => self.map(),
            Some(Answer::Tuple(len)) => {
                let elements = (0..len).map(|at| self.behind_made_up(|text| Turn::Element { at, text }));
                marked(TUPLE, elements.collect())
            }
            Some(Answer::Struct(name, fields)) => self.within(name, fields, |tracer| tracer.fields(fields)),
            Some(Answer::Enum(name, variants)) => self.within(name, variants, |tracer| {
                let each =
                    |(index, name): (u32, &&str)| ((*name).to_owned(), tracer.behind(Turn::Variant(index)));
                marked(ENUM, Value::Object((0..).zip(variants).map(each).collect()))
            }),
            Some(Answer::Content | Answer::Missing(_) | Answer::Refused) | None => UNSEEN.into(),
        }
    }

    fn map(&mut self) -> Value {
        let key = self.behind(Turn::Key);
        if key == ANY {
            // A struct with flattened fields reads the names itself.
            return key;
        }
        let value = self.behind_made_up(|text| Turn::Value { text });
        marked(MAP, Value::Array(vec![key, value]))
    }

    fn fields(&mut self, fields: &'static [&'static str]) -> Value {
        let optional = self.optional(fields);
        let each = fields.iter().map(|field| {
            let name = if optional.contains(field) { format!("{field}?") } else { (*field).to_owned() };
            (name, self.behind(Turn::Field(field)))
        });
        Value::Object(each.collect::<Map<_, _>>())
    }

    /// The fields that may be missing; one of which that cannot be seen is not among them.
    fn optional(&mut self, fields: &'static [&'static str]) -> Vec<&'static str> {
        // With which strings each one can be made up, if at all.
        let mut given = Vec::new();
        for field in fields {
            let found = (0..MadeUp::TEXTS).find(|text| {
                let answer = self.ask(&Question::With(vec![(*field, *text)]));
                matches!(answer, Some(Answer::Content | Answer::Missing(_)))
            });
            given.extend(found.map(|text| (*field, text)));
        }
        let place = |field: &str| fields.iter().position(|name| *name == field);
        let may_be_missing = |field: &&'static str| {
            let others = given.iter().copied().filter(|(name, _)| name != field).collect();
            match self.ask(&Question::With(others)) {
                Some(Answer::Content) => true,
                // serde names the first one that is missing.
                Some(Answer::Missing(other)) => place(other) > place(field),
                _ => false,
            }
        };
        fields.iter().copied().filter(may_be_missing).collect()
    }

    fn within(
        &mut self,
        name: &'static str,
        parts: &'static [&'static str],
        inside: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        if !name.is_empty() && self.within.contains(&(name, parts)) {
            return marked(SAME, name.into());
        }
        self.within.push((name, parts));
        let value = inside(self);
        self.within.pop();
        value
    }

    fn behind(&mut self, turn: Turn) -> Value {
        self.path.push(turn);
        let value = self.place();
        self.path.pop();
        value
    }

    /// What belongs behind values that are made up, with the first strings that what stands there takes.
    fn behind_made_up(&mut self, turn: impl Fn(usize) -> Turn) -> Value {
        for text in 0..MadeUp::TEXTS {
            self.path.push(turn(text));
            let seen = self.ask(&Question::What).is_some();
            self.path.pop();
            if seen {
                return self.behind(turn(text));
            }
        }
        UNSEEN.into()
    }

    fn ask(&self, question: &Question) -> Option<Answer> {
        let mut answer = None;
        (self.deserialize)(Probe { path: &self.path, question, answer: &mut answer });
        answer
    }
}

/// Enough for any event; a bound for types that lie in each other in ever new ways.
const MOST_PLACES: usize = 10_000;
const DEEPEST: usize = 64;
