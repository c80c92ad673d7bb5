use std::collections::HashMap;

use annals_journal::{Envelope, Manifest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rewriter::StoredState;
use super::{Rewritten, Target};
use crate::{AdaptError, Encoded, EventAdapter, EventList, Form, ListAdapter, StateAdapter, Versions};

/// A kind without its types.
pub(super) trait Kind: Send + Sync {
    fn event(&self, stored: &Envelope, target: &Target) -> Result<Rewritten, AdaptError>;
    fn state(&self, stored: &StoredState<'_>, target: &Target) -> Result<Rewritten, AdaptError>;
    fn versions(&self) -> Vec<Versions>;
}

pub(super) struct OfKind<E, S, A> {
    events: ListAdapter<A>,
    states: StateAdapter<S>,
    event_forms: Forms,
    state_forms: Forms,
    types: std::marker::PhantomData<fn() -> E>,
}

impl<E, S, A> OfKind<E, S, A>
where
    E: 'static,
    S: Serialize + DeserializeOwned + 'static,
    A: EventAdapter<E>,
{
    pub(super) fn new(events: A, states: StateAdapter<S>) -> Self {
        let events = ListAdapter::new(events);
        let (event_forms, state_forms) = (Forms::new(events.versions()), Forms::new(states.versions()));
        Self { events, states, event_forms, state_forms, types: std::marker::PhantomData }
    }

    /// The events of today that a stored one means, each with its form of today.
    fn today(&self, stored: &Envelope) -> Result<Vec<(E, Encoded)>, AdaptError> {
        let mut events = Vec::with_capacity(1);
        let mut refused = None;
        self.events.from_journal(stored, &mut |event| match self.events.to_journal(&event) {
            Ok(encoded) => events.push((event, encoded)),
            Err(error) => refused = refused.take().or(Some(error)),
        })?;
        refused.map_or(Ok(events), Err)
    }

    fn is_kept(&self, stored: &Envelope, target: &Target) -> Result<bool, AdaptError> {
        if !EventList::is(&stored.manifest) {
            return Ok(self.event_forms.kept(&form_of(stored), target));
        }
        let parts = EventList::parts(stored)?;
        Ok(parts.len() != 1
            && parts.iter().all(|part| {
                let form = Form::new(part.manifest.clone(), part.schema_version);
                self.event_forms.kept(&form, target)
            }))
    }
}

impl<E, S, A> Kind for OfKind<E, S, A>
where
    E: 'static,
    S: Serialize + DeserializeOwned + 'static,
    A: EventAdapter<E>,
{
    fn event(&self, stored: &Envelope, target: &Target) -> Result<Rewritten, AdaptError> {
        if self.is_kept(stored, target)? {
            return Ok(Rewritten::Stays);
        }
        let mut today = self.today(stored)?;
        // Most are one event, which is written as it is today.
        if let [(_, encoded)] = &today[..]
            && !encoded.read_back
            && self.event_forms.wanted(encoded, target)?.is_none()
            && let Some((_, encoded)) = today.pop()
        {
            let stays = is_same(&encoded, stored);
            return Ok(if stays { Rewritten::Stays } else { Rewritten::Becomes { encoded, loses: false } });
        }
        let mut made = Vec::with_capacity(today.len());
        for (event, encoded) in &today {
            made.push(match self.event_forms.wanted(encoded, target)? {
                None => encoded.clone(),
                Some(form) => self.events.to_journal_as(event, form)?,
            });
        }
        let encoded = if made.len() == 1 { made.remove(0) } else { EventList::encode(&made)? };
        if is_same(&encoded, stored) {
            return Ok(Rewritten::Stays);
        }
        // What says so may be read back as something else.
        let loses = encoded.read_back && {
            let again = self.today(&encoded.clone().in_envelope(stored))?;
            !again.iter().map(|(_, form)| form).eq(today.iter().map(|(_, form)| form))
        };
        Ok(Rewritten::Becomes { encoded, loses })
    }

    fn state(&self, stored: &StoredState<'_>, target: &Target) -> Result<Rewritten, AdaptError> {
        let form = Form::new(stored.manifest.clone(), stored.schema_version);
        if self.state_forms.kept(&form, target) {
            return Ok(Rewritten::Stays);
        }
        let decode =
            |of: &StoredState<'_>| self.states.decode(of.manifest, of.schema_version, of.codec, of.payload);
        let state = decode(stored)?;
        let today = self.states.encode(&state)?;
        let encoded = match self.state_forms.wanted(&today, target)? {
            None => return Ok(Rewritten::Becomes { encoded: today, loses: false }),
            Some(form) => self.states.encode_as(&state, form)?,
        };
        let again = decode(&StoredState {
            manifest: &encoded.manifest,
            schema_version: encoded.schema_version,
            codec: encoded.codec,
            payload: &encoded.payload,
        })?;
        let loses = self.states.encode(&again)? != today;
        Ok(Rewritten::Becomes { encoded, loses })
    }

    fn versions(&self) -> Vec<Versions> {
        [self.events.versions(), self.states.versions()].concat()
    }
}

/// What a kind reads and writes, to be asked for each event.
struct Forms {
    /// Today's version of each manifest that is written today.
    today: HashMap<Manifest, u32>,
    /// For these, all forms in which they can be written, today's first.
    writes: HashMap<Manifest, Vec<Form>>,
}

impl Forms {
    fn new(versions: Vec<Versions>) -> Self {
        let writes: HashMap<_, _> = versions
            .into_iter()
            .filter_map(|of| Some((of.writes.first()?.manifest.clone(), of.writes)))
            .collect();
        let today = writes.iter().map(|(manifest, forms)| (manifest.clone(), forms[0].version)).collect();
        Self { today, writes }
    }

    fn kept(&self, form: &Form, target: &Target) -> bool {
        target.keeps(form, self.today.get(&form.manifest).copied())
    }

    /// In which form to write what has this form today; `None`: in that one.
    fn wanted(&self, today: &Encoded, target: &Target) -> Result<Option<&Form>, AdaptError> {
        let forms = self.writes.get(&today.manifest).map(Vec::as_slice).unwrap_or_default();
        match target.choose(forms) {
            Some(form) if form.manifest == today.manifest && form.version == today.schema_version => Ok(None),
            Some(form) => Ok(Some(form)),
            // An adapter of the user's own need not list what it writes.
            None if matches!(target, Target::Newest) => Ok(None),
            None => Err(AdaptError::Custom {
                manifest: today.manifest.clone(),
                version: today.schema_version,
                reason: "the build that is to read it reads none of the forms in which this build can write it: add a \
                         downcaster with `to(..)`"
                    .into(),
            }),
        }
    }
}

fn form_of(stored: &Envelope) -> Form {
    Form::new(stored.manifest.clone(), stored.schema_version)
}

fn is_same(encoded: &Encoded, stored: &Envelope) -> bool {
    encoded.manifest == stored.manifest
        && encoded.schema_version == stored.schema_version
        && encoded.codec == stored.codec
        && encoded.payload == stored.payload
}
