use std::any::{TypeId, type_name};
use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::chain::Stage;
use crate::{CodecError, Shape};

/// One step from a version of a stored shape to the next one, up or down.
///
/// A step takes the old shape as a type of its own, or as a JSON value, and yields the next. Where the next step takes the type that
/// this one yields, the value is handed over as it is; otherwise it goes through JSON. Steps must be deterministic, as
/// [`apply`](https://docs.rs/annals) is: the same stored bytes must mean the same event for ever, so no clock, no randomness, no
/// lookup of something that changes.
///
/// ```
/// use annals_migrations::Step;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct WithdrawnV1 { cents: i64 }
/// #[derive(Serialize, Deserialize)]
/// struct WithdrawnV2 { cents: i64, reason: String }
///
/// // From type to type …
/// let typed = Step::typed(|old: WithdrawnV1| WithdrawnV2 { cents: old.cents, reason: String::new() });
/// // … and the same on the JSON.
/// let json = Step::default_value("reason", "");
/// ```
///
/// JSON values hold integers of 64 bits and floats of 64 bits: a shape with larger numbers needs a typed step.
pub struct Step {
    run: Box<dyn Fn(Stage) -> Result<Stage, CodecError> + Send + Sync>,
    end: End,
    /// The shape of the type that it takes, where it takes a type that serde reads.
    takes: Option<fn() -> Shape>,
}

/// How a step ends its chain, if it does.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// There is a next version.
    GoesOn,
    /// In several shapes, each with a chain of its own.
    Parts(Vec<(String, u32)>),
    /// In a `Vec` of this type.
    Values(TypeId, &'static str),
    /// In nothing.
    Nothing,
    /// Something follows a step that has ended it.
    Twice,
}

impl Step {
    /// From the type that was stored to the type of the next version, or of any version to the event itself, which ends the chain.
    pub fn typed<Old, New>(step: impl Fn(Old) -> New + Send + Sync + 'static) -> Self
    where
        Old: DeserializeOwned + 'static,
        New: Serialize + Send + 'static,
    {
        Self::new(End::GoesOn, move |stage| Ok(Stage::of_serde(step(stage.into_serde()?)))).taking::<Old>()
    }

    /// As [`Step::typed`], for a step that may refuse: what it refuses cannot be read.
    pub fn try_typed<Old, New, E>(step: impl Fn(Old) -> Result<New, E> + Send + Sync + 'static) -> Self
    where
        Old: DeserializeOwned + 'static,
        New: Serialize + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::new(End::GoesOn, move |stage| {
            Ok(Stage::of_serde(step(stage.into_serde()?).map_err(CodecError::custom)?))
        })
        .taking::<Old>()
    }

    /// From the type that was stored to the events that it means today: one, several, or none. Ends the chain.
    pub fn events<Old, Event>(step: impl Fn(Old) -> Vec<Event> + Send + Sync + 'static) -> Self
    where
        Old: DeserializeOwned + 'static,
        Event: Send + 'static,
    {
        let end = End::Values(TypeId::of::<Event>(), type_name::<Event>());
        Self::new(end, move |stage| Ok(Stage::Ended(Box::new(step(stage.into_serde()?))))).taking::<Old>()
    }

    /// From the protobuf message that was stored to that of the next version.
    pub fn protobuf<Old, New>(step: impl Fn(Old) -> New + Send + Sync + 'static) -> Self
    where
        Old: prost::Message + Default + 'static,
        New: prost::Message + 'static,
    {
        Self::new(End::GoesOn, move |stage| Ok(Stage::of_prost(step(stage.into_prost()?))))
    }

    /// From what was stored as a protobuf message to a type that serde stores.
    pub fn from_protobuf<Old, New>(step: impl Fn(Old) -> New + Send + Sync + 'static) -> Self
    where
        Old: prost::Message + Default + 'static,
        New: Serialize + Send + 'static,
    {
        Self::new(End::GoesOn, move |stage| Ok(Stage::of_serde(step(stage.into_prost()?))))
    }

    /// From what was stored as JSON to a protobuf message.
    pub fn into_protobuf<Old, New>(step: impl Fn(Old) -> New + Send + Sync + 'static) -> Self
    where
        Old: DeserializeOwned + 'static,
        New: prost::Message + 'static,
    {
        Self::new(End::GoesOn, move |stage| Ok(Stage::of_prost(step(stage.into_serde()?)))).taking::<Old>()
    }

    /// Changes the fields of a JSON object in place.
    pub fn fields<E>(
        change: impl Fn(&mut Map<String, Value>) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::new(End::GoesOn, move |stage| {
            let mut value: Value = stage.into_serde()?;
            let Value::Object(fields) = &mut value else {
                return Err(CodecError::custom("it is no object with fields".to_owned()));
            };
            change(fields).map_err(CodecError::custom)?;
            Ok(Stage::Json(value))
        })
    }

    /// A field that was added: where it is missing, it has this value.
    pub fn default_value(field: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        Self::fields::<CodecError>(move |fields| {
            if !fields.contains_key(field) {
                fields.insert(field.to_owned(), value.clone());
            }
            Ok(())
        })
    }

    /// A field with a new name. One that is missing stays so; that the new name is taken is refused.
    pub fn rename_field(old: &'static str, new: &'static str) -> Self {
        Self::fields::<CodecError>(move |fields| {
            let Some(value) = fields.remove(old) else { return Ok(()) };
            match fields.insert(new.to_owned(), value) {
                None => Ok(()),
                Some(_) => {
                    Err(CodecError::custom(format!("field {old:?} is to become {new:?}, which is there")))
                }
            }
        })
    }

    /// A field that is no more.
    pub fn remove_field(field: &'static str) -> Self {
        Self::fields::<CodecError>(move |fields| {
            fields.remove(field);
            Ok(())
        })
    }

    /// A field whose type has changed. One that is missing stays so.
    pub fn convert_field<Old, New, E>(
        field: &'static str,
        convert: impl Fn(Old) -> Result<New, E> + Send + Sync + 'static,
    ) -> Self
    where
        Old: DeserializeOwned,
        New: Serialize,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::fields(move |fields| {
            let Some(value) = fields.get_mut(field) else { return Ok(()) };
            let converted = Old::deserialize(value.take())
                .map_err(CodecError::from)
                .and_then(|old| convert(old).map_err(CodecError::custom))
                .and_then(|new| Ok(serde_json::to_value(new)?));
            *value = converted.map_err(|reason| CodecError::custom(format!("field {field:?}: {reason}")))?;
            Ok::<(), CodecError>(())
        })
    }

    /// Divides one stored event into several, as JSON values: `divide` yields each with its place in `into`, which lists manifests with
    /// their versions. A name without a dot is of the kind. Each goes on along its own chain.
    pub fn split<E>(
        into: &[(&str, u32)],
        divide: impl Fn(Value) -> Result<Vec<(usize, Value)>, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let targets: Vec<_> = into.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        let places = targets.len();
        Self::new(End::Parts(targets), move |stage| {
            let parts = divide(stage.into_serde()?).map_err(CodecError::custom)?;
            match parts.iter().find(|(place, _)| *place >= places) {
                None => Ok(Stage::Parts(parts)),
                Some((place, _)) => {
                    Err(CodecError::custom(format!("a part says place {place}, there are {places}")))
                }
            }
        })
    }

    /// What was stored means nothing any more. Ends the chain.
    pub fn nothing() -> Self {
        Self::new(End::Nothing, |_| Ok(Stage::Nothing))
    }

    /// This step and then another, both between the same two versions.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let Self { run: first, end, takes } = self;
        match end {
            // Found when the node starts.
            End::Parts(_) | End::Values(..) | End::Nothing | End::Twice => {
                Self { run: first, end: End::Twice, takes }
            }
            End::GoesOn => {
                let run = next.run;
                Self { run: Box::new(move |stage| run(first(stage)?)), end: next.end, takes }
            }
        }
    }

    pub(crate) fn run(&self, stage: Stage) -> Result<Stage, CodecError> {
        (self.run)(stage)
    }

    pub(crate) fn takes(&self) -> Option<Shape> {
        self.takes.map(|shape| shape())
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    fn new(end: End, run: impl Fn(Stage) -> Result<Stage, CodecError> + Send + Sync + 'static) -> Self {
        Self { run: Box::new(run), end, takes: None }
    }

    fn taking<Old: DeserializeOwned>(self) -> Self {
        Self { takes: Some(Shape::of::<Old>), ..self }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("end", &self.end).finish_non_exhaustive()
    }
}
