use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;

use super::key_records::active_master;
use super::passphrase::{Enrolment, Passphrase};
use super::{KeyBytes, KeySource, KeysError, MasterKeyError, MasterKeyId, MasterKeys, Ring};
use crate::Records;

/// The keys of one or more sources as master keys; the first source's active key is the active one.
///
/// Files and variables are read again while they are used; a passphrase is made into a key once.
#[derive(Clone)]
pub struct RingKeys {
    parts: Vec<Part>,
    /// All of them together.
    ring: Ring,
}

/// One source, and what was in it.
#[derive(Clone)]
struct Part {
    /// `None`: it is what it is.
    source: Option<KeySource>,
    ring: Ring,
}

impl RingKeys {
    /// Reads all sources. A passphrase that the journal does not know is given a salt and a number, when it is the first source and either
    /// nothing is encrypted yet or another source has the key that is active now: so a mistyped one is refused, and does not become a key.
    ///
    /// # Errors
    /// [`KeysError::Unreadable`], [`KeysError::InvalidRing`], [`KeysError::UnknownPassphrase`]; none of them quotes what was read.
    pub async fn open(sources: &[KeySource], records: &dyn Records) -> Result<Self, KeysError> {
        Self::read(sources, records, true).await
    }

    /// The same without writing anything: every passphrase must be known.
    ///
    /// # Errors
    /// As [`RingKeys::open`].
    pub async fn open_for_reading(sources: &[KeySource], records: &dyn Records) -> Result<Self, KeysError> {
        Self::read(sources, records, false).await
    }

    async fn read(sources: &[KeySource], records: &dyn Records, enrol: bool) -> Result<Self, KeysError> {
        let mut parts = Vec::with_capacity(sources.len());
        let mut unknown = None;
        for (n, source) in sources.iter().enumerate() {
            let ring = match source {
                KeySource::Passphrase(variable) => {
                    let passphrase = Passphrase::from_variable(source, variable)?;
                    match passphrase.find(records).await? {
                        Some(ring) => ring,
                        None if n == 0 && enrol => {
                            unknown = Some(passphrase);
                            continue;
                        }
                        None => return Err(KeysError::UnknownPassphrase { place: source.to_string() }),
                    }
                }
                KeySource::File(_) | KeySource::Variable(_) => source.read()?,
            };
            parts.push(Part { source: Some(source.clone()), ring });
        }
        if let Some(passphrase) = unknown {
            let ring = Self::enrolled(&passphrase, &parts, records).await?;
            parts.insert(0, Part { source: sources.first().cloned(), ring });
        }
        Self::of(parts)
    }

    async fn enrolled(
        passphrase: &Passphrase,
        others: &[Part],
        records: &dyn Records,
    ) -> Result<Ring, KeysError> {
        let enrolment = match active_master(records).await? {
            None => Enrolment::First,
            Some(active) if others.iter().any(|part| part.ring.key(active).is_some()) => Enrolment::Beside,
            Some(_) => return Err(KeysError::UnknownPassphrase { place: passphrase.place().to_owned() }),
        };
        tracing::info!(keys = passphrase.place(), ?enrolment, "a new passphrase gets a salt and a number");
        passphrase.enrol(records).await
    }

    fn of(parts: Vec<Part>) -> Result<Self, KeysError> {
        let mut all: Option<Ring> = None;
        for part in &parts {
            all = Some(match all {
                None => part.ring.clone(),
                Some(all) => all.with(&part.ring).map_err(|error| KeysError::InvalidRing {
                    place: part.source.as_ref().map_or_else(String::new, KeySource::to_string),
                    error,
                })?,
            });
        }
        match all {
            Some(ring) => Ok(Self { parts, ring }),
            None => Err(KeysError::NoSource),
        }
    }

    /// What is in the sources now.
    fn again(&self) -> Result<Self, KeysError> {
        let read = |part: &Part| {
            let ring = match &part.source {
                None | Some(KeySource::Passphrase(_)) => part.ring.clone(),
                Some(source) => source.read()?,
            };
            Ok(Part { source: part.source.clone(), ring })
        };
        Self::of(self.parts.iter().map(read).collect::<Result<Vec<_>, KeysError>>()?)
    }
}

impl From<Ring> for RingKeys {
    fn from(ring: Ring) -> Self {
        Self { parts: vec![Part { source: None, ring: ring.clone() }], ring }
    }
}

#[async_trait]
impl MasterKeys for RingKeys {
    fn active(&self) -> MasterKeyId {
        self.ring.active()
    }

    fn ids(&self) -> Vec<MasterKeyId> {
        self.ring.ids().collect()
    }

    async fn wrap(
        &self,
        under: MasterKeyId,
        context: &[u8],
        key: &KeyBytes,
    ) -> Result<Bytes, MasterKeyError> {
        let master = self.ring.key(under).ok_or(MasterKeyError::Missing { id: under })?;
        Ok(master.wrap(context, key))
    }

    async fn unwrap(
        &self,
        under: MasterKeyId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<KeyBytes, MasterKeyError> {
        let master = self.ring.key(under).ok_or(MasterKeyError::Missing { id: under })?;
        master.unwrap(context, wrapped).map_err(|_| MasterKeyError::Refused { id: under })
    }

    async fn reload(&self) -> Result<Option<Arc<dyn MasterKeys>>, KeysError> {
        if self.parts.iter().all(|part| part.source.is_none()) {
            return Ok(None);
        }
        let before = self.clone();
        // A file may lie on a network.
        let newer = tokio::task::spawn_blocking(move || before.again())
            .map(|read| read.unwrap_or_else(|panic| Err(KeysError::Unread { reason: panic.to_string() })))
            .await?;
        Ok((!newer.ring.is_same_as(&self.ring)).then(|| Arc::new(newer) as Arc<dyn MasterKeys>))
    }
}

impl fmt::Debug for RingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<_> = self.parts.iter().filter_map(|part| part.source.as_ref()).collect();
        f.debug_struct("RingKeys").field("sources", &sources).field("ring", &self.ring).finish()
    }
}
