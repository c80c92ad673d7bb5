//! Values that leave a journal as something else: the rules of `annals export --mask FILE`.
//!
//! ```toml
//! other = "keep"                # what no rule names: keep or hide
//! ids = ["account"]             # kinds whose entity ids become pseudonyms
//! tags = "pseudonym"            # keep (default), pseudonym, drop
//! bytes = "refuse"              # payloads that are not JSON: refuse (default), keep, empty
//!
//! [[value]]                     # the first rule that covers a value decides
//! manifest = "account.*"        # * stands for any text; default "*"
//! path = "owner.name"           # * is one step, ** any number; covers what is inside, too; default "**"
//! with = "pseudonym"            # keep, hide, null, pseudonym
//!
//! [[value]]
//! path = "**.iban"
//! value = "DE00"                # always this
//! ```
//!
//! Equal values have equal pseudonyms (HMAC-SHA256 under the mask key), also where one is an entity id and the other a value, so that what
//! belongs together still does. Types stay: a text stays a text, a number a number. The keys of objects stay as they are.

mod rules;

use std::borrow::Cow;

use annals_journal::{Codec, Envelope, Manifest, PersistenceId, Tag};
use annals_snapshot::Snapshot;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Number, Value};
use sha2::Sha256;

use self::rules::{Opaque, Other, Rule, Rules, Tags, With};

/// Rules, and the key of their pseudonyms.
pub(crate) struct Mask {
    rules: Rules,
    key: Hmac<Sha256>,
}

impl Mask {
    /// Reads rules; the same key makes the same pseudonyms.
    pub(crate) fn new(rules: &str, key: &[u8]) -> anyhow::Result<Self> {
        let rules = Rules::parse(rules)?;
        // Any length is a key.
        let key = Hmac::new_from_slice(key).context("the mask key")?;
        Ok(Self { rules, key })
    }

    /// Whether entity ids become pseudonyms, which changes the order of ids.
    pub(crate) fn changes_ids(&self) -> bool {
        !self.rules.ids.is_empty()
    }

    /// The id as it leaves.
    pub(crate) fn id(&self, id: &PersistenceId) -> anyhow::Result<PersistenceId> {
        if !self.rules.ids.iter().any(|kind| kind == id.kind()) {
            return Ok(id.clone());
        }
        Ok(PersistenceId::new(id.kind(), &self.pseudonym(id.entity_id()))?)
    }

    /// The event as it leaves.
    pub(crate) fn event(&self, envelope: &Envelope) -> anyhow::Result<Envelope> {
        let Envelope { persistence_id, manifest, codec, payload, .. } = envelope;
        let place = || format!("{persistence_id} {:?} ({manifest})", envelope.seq_nr);
        Ok(Envelope {
            persistence_id: self.id(persistence_id)?,
            payload: self.payload(manifest, *codec, payload).with_context(place)?,
            tags: self.tags(&envelope.tags)?,
            ..envelope.clone()
        })
    }

    /// The snapshot as it leaves, but for the digest of its last event.
    pub(crate) fn snapshot(&self, snapshot: Snapshot) -> anyhow::Result<Snapshot> {
        let place = || format!("snapshot {:?} of {}", snapshot.seq_nr, snapshot.persistence_id);
        let payload =
            self.payload(&snapshot.manifest, snapshot.codec, &snapshot.payload).with_context(place)?;
        let persistence_id = self.id(&snapshot.persistence_id)?;
        Ok(Snapshot { persistence_id, payload, ..snapshot })
    }

    fn tags(&self, tags: &[Tag]) -> anyhow::Result<Vec<Tag>> {
        Ok(match self.rules.tags {
            Tags::Keep => tags.to_vec(),
            Tags::Drop => Vec::new(),
            Tags::Pseudonym => {
                tags.iter().map(|tag| Tag::new(&self.pseudonym(tag.as_str()))).collect::<Result<_, _>>()?
            }
        })
    }

    fn payload(&self, manifest: &Manifest, codec: Codec, payload: &Bytes) -> anyhow::Result<Bytes> {
        if codec != Codec::Json {
            return match self.rules.opaque {
                Opaque::Keep => Ok(payload.clone()),
                Opaque::Empty => Ok(Bytes::new()),
                Opaque::Refuse => bail!(
                    "the payload is {codec}, which rules for values cannot mask: say bytes = \"empty\" or bytes = \"keep\" in the \
                     rule file, or leave the id out"
                ),
            };
        }
        let before: Value = serde_json::from_slice(payload).context("the payload is not JSON")?;
        let mut after = before.clone();
        self.walk(manifest.as_str(), &mut Vec::new(), &mut after);
        // What no rule changes stays byte by byte.
        if after == before { Ok(payload.clone()) } else { Ok(serde_json::to_vec(&after)?.into()) }
    }

    fn walk(&self, manifest: &str, path: &mut Vec<String>, value: &mut Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    path.push(name.clone());
                    self.walk(manifest, path, value);
                    path.pop();
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (number, value) in items.iter_mut().enumerate() {
                    path.push(number.to_string());
                    self.walk(manifest, path, value);
                    path.pop();
                }
            }
            leaf => self.mask(manifest, path, leaf),
        }
    }

    fn mask(&self, manifest: &str, path: &[String], leaf: &mut Value) {
        match self.rules.of(manifest, path) {
            None if matches!(self.rules.other, Other::Keep) => {}
            None => *leaf = hidden(leaf),
            Some(Rule { value: Some(fixed), .. }) => {
                // TOML has nothing that JSON has not, but for dates, which become text.
                *leaf = serde_json::to_value(fixed).unwrap_or_default();
            }
            Some(Rule { with, .. }) => match with {
                Some(With::Keep) | None => {}
                Some(With::Hide) => *leaf = hidden(leaf),
                Some(With::Null) => *leaf = Value::Null,
                Some(With::Pseudonym) => *leaf = self.pseudonym_of(leaf),
            },
        }
    }

    fn pseudonym_of(&self, leaf: &Value) -> Value {
        match leaf {
            Value::String(text) => Value::String(self.pseudonym(text)),
            Value::Number(number) => {
                let digest = self.digest(&number.to_string());
                let positive =
                    u64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 1);
                if number.is_f64() {
                    Number::from_f64(positive as f64).map_or(Value::Null, Value::Number)
                } else {
                    positive.into()
                }
            }
            other => other.clone(),
        }
    }

    fn pseudonym(&self, text: &str) -> String {
        format!("p{}", crate::snapshot_line::hex(&self.digest(text)[..10]))
    }

    fn digest(&self, text: &str) -> [u8; 32] {
        let mut mac = self.key.clone();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// A value of the same type that says nothing.
fn hidden(leaf: &Value) -> Value {
    match leaf {
        Value::String(_) => Value::String("hidden".into()),
        Value::Number(number) if number.is_f64() => Number::from_f64(0.0).map_or(Value::Null, Value::Number),
        Value::Number(_) => 0.into(),
        Value::Bool(_) => false.into(),
        other => other.clone(),
    }
}

/// The key of pseudonyms: of a variable, or drawn, and then forgotten.
pub(crate) fn key(variable: Option<&str>) -> anyhow::Result<Cow<'static, [u8]>> {
    let Some(name) = variable else { return Ok(rand::random::<[u8; 32]>().to_vec().into()) };
    let text =
        std::env::var(name).with_context(|| format!("the mask key: the environment variable {name}"))?;
    if text.len() < SHORTEST_KEY {
        bail!(
            "the mask key in {name} has {} bytes, at least {SHORTEST_KEY} are needed: who guesses it can undo pseudonyms",
            text.len()
        );
    }
    Ok(text.into_bytes().into())
}

const SHORTEST_KEY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rules: &str) -> Mask {
        Mask::new(rules, b"a key of pseudonyms").unwrap()
    }

    fn masked(rules: &str, json: &str) -> String {
        let manifest = Manifest::new("account.opened").unwrap();
        let payload = Bytes::copy_from_slice(json.as_bytes());
        String::from_utf8(mask(rules).payload(&manifest, Codec::Json, &payload).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_first_rule_that_covers_a_value_decides() {
        let rules = r#"
            other = "hide"
            [[value]]
            path = "owner.city"
            with = "keep"
            [[value]]
            path = "owner"
            with = "null"
            [[value]]
            manifest = "account.*ed"
            path = "**.iban"
            value = "DE00"
            [[value]]
            manifest = "other.*"
            with = "keep"
        "#;
        assert_eq!(
            masked(
                rules,
                r#"{"owner":{"city":"Ulm","name":"Al"},"n":-7,"x":1.5,"ok":true,"in":[{"iban":"DE12"}]}"#
            ),
            r#"{"in":[{"iban":"DE00"}],"n":0,"ok":false,"owner":{"city":"Ulm","name":null},"x":0.0}"#
        );
    }

    #[test]
    fn what_no_rule_changes_stays_byte_by_byte() {
        let payload = r#"{"b": 1.0, "a": [ 1e3 ]}"#;
        assert_eq!(masked("", payload), payload);
        assert_eq!(masked("[[value]]\npath = \"elsewhere\"\nwith = \"hide\"", payload), payload);
    }

    #[test]
    fn equal_values_have_equal_pseudonyms_and_keep_their_type() {
        let rules = "ids = [\"account\"]\n[[value]]\nwith = \"pseudonym\"";
        let value: Value =
            serde_json::from_str(&masked(rules, r#"{"a":"bob","b":"bob","c":7,"d":null}"#)).unwrap();
        assert_eq!(value["a"], value["b"]);
        assert!(value["c"].is_u64() && value["c"] != 7 && value["d"].is_null());
        let bob = PersistenceId::new("account", "bob").unwrap();
        assert_eq!(mask(rules).id(&bob).unwrap().entity_id(), value["a"].as_str().unwrap());
        let other = PersistenceId::new("transfer", "bob").unwrap();
        assert_eq!(mask(rules).id(&other).unwrap(), other);
        let elsewhere = Mask::new(rules, b"another key").unwrap();
        assert_ne!(elsewhere.id(&bob).unwrap(), mask(rules).id(&bob).unwrap());
    }

    #[test]
    fn payloads_that_are_no_json_are_refused_unless_rules_say_otherwise() {
        let manifest = Manifest::new("account.opened").unwrap();
        let payload =
            |rules: &str| mask(rules).payload(&manifest, Codec::Protobuf, &Bytes::from_static(b"\x08\x01"));
        assert!(payload("").unwrap_err().to_string().contains("bytes = \"empty\""));
        assert_eq!(payload("bytes = \"empty\"").unwrap(), Bytes::new());
        assert_eq!(payload("bytes = \"keep\"").unwrap().len(), 2);
    }
}
