use std::fmt;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::made_up::MadeUp;

/// Leads a type to one of its places, hears what it wants there, and ends it with an error.
pub(crate) struct Probe<'a> {
    pub(super) path: &'a [Turn],
    pub(super) question: &'a Question,
    pub(super) answer: &'a mut Option<Answer>,
}

/// A step of the way to a place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// What an option may hold.
    Some,
    /// Behind made-up elements whose strings have this number.
    Element {
        at: usize,
        text: usize,
    },
    Key,
    /// Behind a made-up key.
    Value {
        text: usize,
    },
    Field(&'static str),
    Variant(u32),
}

/// What is asked at the end of the way.
pub(super) enum Question {
    What,
    /// Whether a struct is content with made-up values of these fields; each with the number of its strings.
    With(Vec<(&'static str, usize)>),
}

/// What a type says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Scalar(&'static str),
    Option,
    List,
    Map,
    Tuple(usize),
    Struct(&'static str, &'static [&'static str]),
    Enum(&'static str, &'static [&'static str]),
    /// It is.
    Content,
    Missing(&'static str),
    Refused,
}

impl<'a> Probe<'a> {
    fn scalar<T>(self, name: &'static str) -> Result<T, Stop> {
        self.say(Answer::Scalar(name))
    }

    fn say<T>(self, answer: Answer) -> Result<T, Stop> {
        if self.path.is_empty() {
            *self.answer = Some(answer);
        }
        Err(Stop::Refused)
    }

    /// The next turn, and who goes on behind it.
    fn turn(self) -> Option<(Turn, Self)> {
        let (turn, path) = self.path.split_first()?;
        Some((*turn, Self { path, ..self }))
    }

    fn tuple<'de, V: Visitor<'de>>(self, answer: Answer, visitor: V) -> Result<V::Value, Stop> {
        if self.path.is_empty() {
            return self.say(answer);
        }
        match self.turn() {
            Some((Turn::Element { at, text }, probe)) => {
                visitor.visit_seq(Elements { before: at, text, probe: Some(probe) })
            }
            _ => Err(Stop::Refused),
        }
    }

    fn fields<'de, V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if !self.path.is_empty() {
            return match self.turn() {
                Some((Turn::Field(name), probe)) => {
                    visitor.visit_map(OneField { name: Some(name), probe: Some(probe) })
                }
                _ => Err(Stop::Refused),
            };
        }
        match self.question {
            Question::What => self.say(Answer::Struct(name, fields)),
            Question::With(given) => {
                *self.answer = Some(match visitor.visit_map(GivenFields(given.iter(), 0)) {
                    Ok(_) => Answer::Content,
                    Err(Stop::Missing(field)) => Answer::Missing(field),
                    Err(Stop::Refused) => Answer::Refused,
                });
                Err(Stop::Refused)
            }
        }
    }
}

macro_rules! scalars {
    ($($method:ident $name:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            self.scalar($name)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    scalars! {
        deserialize_any "any" deserialize_bool "bool" deserialize_i8 "i8" deserialize_i16 "i16" deserialize_i32 "i32"
        deserialize_i64 "i64" deserialize_i128 "i128" deserialize_u8 "u8" deserialize_u16 "u16" deserialize_u32 "u32"
        deserialize_u64 "u64" deserialize_u128 "u128" deserialize_f32 "f32" deserialize_f64 "f64" deserialize_char "char"
        deserialize_str "string" deserialize_string "string" deserialize_bytes "bytes" deserialize_byte_buf "bytes"
        deserialize_unit "null" deserialize_identifier "any" deserialize_ignored_any "any"
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Stop> {
        self.scalar("null")
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.path.is_empty() {
            return self.say(Answer::Option);
        }
        match self.turn() {
            Some((Turn::Some, probe)) => visitor.visit_some(probe),
            _ => Err(Stop::Refused),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.tuple(Answer::List, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.tuple(Answer::Tuple(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.tuple(Answer::Tuple(len), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.path.is_empty() {
            return self.say(Answer::Map);
        }
        match self.turn() {
            Some((Turn::Key, probe)) => visitor.visit_map(Entry::Key(Some(probe))),
            Some((Turn::Value { text }, probe)) => {
                visitor.visit_map(Entry::Value { text, probe: Some(probe) })
            }
            _ => Err(Stop::Refused),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.fields(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.path.is_empty() {
            return self.say(Answer::Enum(name, variants));
        }
        match self.turn() {
            Some((Turn::Variant(index), fields)) => {
                visitor.visit_enum(crate::codec::VariantReader { index, fields })
            }
            _ => Err(Stop::Refused),
        }
    }
}

/// Made-up elements, and then the one that is asked.
struct Elements<'a> {
    before: usize,
    text: usize,
    probe: Option<Probe<'a>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        if self.before > 0 {
            self.before -= 1;
            return seed.deserialize(MadeUp::of_text(self.text)).map(Some);
        }
        self.probe.take().map(|probe| seed.deserialize(probe)).transpose()
    }
}

/// One entry of a map, whose key or value is asked.
enum Entry<'a> {
    Key(Option<Probe<'a>>),
    Value { text: usize, probe: Option<Probe<'a>> },
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        match self {
            Self::Key(probe) => probe.take().map(|probe| seed.deserialize(probe)).transpose(),
            Self::Value { probe: None, .. } => Ok(None),
            Self::Value { text, .. } => seed.deserialize(MadeUp::of_text(*text)).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        match self {
            Self::Value { probe, .. } => {
                probe.take().map_or(Err(Stop::Refused), |probe| seed.deserialize(probe))
            }
            Self::Key(_) => Err(Stop::Refused),
        }
    }
}

/// One field of a struct, which is asked.
struct OneField<'a> {
    name: Option<&'static str>,
    probe: Option<Probe<'a>>,
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let key = |name| -> StrDeserializer<'static, Stop> { IntoDeserializer::into_deserializer(name) };
        self.name.take().map(|name| seed.deserialize(key(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        self.probe.take().map_or(Err(Stop::Refused), |probe| seed.deserialize(probe))
    }
}

/// Some fields of a struct with made-up values.
struct GivenFields<'a>(std::slice::Iter<'a, (&'static str, usize)>, usize);

impl<'de> MapAccess<'de> for GivenFields<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some((name, text)) = self.0.next() else { return Ok(None) };
        self.1 = *text;
        let key: StrDeserializer<'static, Stop> = name.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(MadeUp::of_text(self.1))
    }
}

/// How every question ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    Missing(&'static str),
    Refused,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value is read here, only what one would be")
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Refused
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}
