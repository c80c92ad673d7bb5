//! What a journal held, to be kept elsewhere: an older copy of it that is put back cannot be seen from inside.
//!
//! ```text
//! {"annals_anchor":1,"written":"2026-11-23T08:15:30.000001Z","key":false}
//! {"persistence_id":"account|alice","head":10,"deleted_to":4,"generation":1,"digest":"<64 hex digits>"}     an id a line, in their order
//! {"ids":3,"seal":"<64 hex digits>"}
//! ```
//!
//! `digest` is that of the newest event ([`annals_journal::Envelope::digest`]), which no rewriting and no change of keys changes; an id
//! without events has none. `generation` is the highest of the id's data key, `erased_to` the last of these that was erased; they and `deleted_to` are
//! left out where they are 0. `seal` is over all bytes before its line: HMAC-SHA256 under a key of the journal where there is one, else
//! SHA-256, which finds a file that was cut but nobody who means it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};

use annals_journal::encryption::SealedJournal;
use annals_journal::{PersistenceId, Timestamp};
use anyhow::{Context as _, bail, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::entity::Checked;
use crate::output::Output;
use crate::snapshot_line::hex;

/// The key of anchors, when the journal has one: made of the key of its chains.
pub(super) struct AnchorKey(Zeroizing<[u8; 32]>);

impl AnchorKey {
    pub(super) async fn of(sealed: &SealedJournal) -> anyhow::Result<Self> {
        let mut key = Hmac::<Sha256>::new_from_slice(sealed.keys().chain_key().await?.as_bytes())?;
        key.update(b"annals anchor");
        Ok(Self(Zeroizing::new(key.finalize().into_bytes().into())))
    }
}

/// What an anchor says of an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) persistence_id: String,
    pub(super) head: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) deleted_to: u64,
    /// Of the data key: the highest that ever was.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) generation: u32,
    /// Of these, the last that was destroyed on purpose.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) erased_to: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
}

impl Entry {
    pub(super) fn new(id: &PersistenceId, checked: &Checked) -> Self {
        Self {
            persistence_id: id.to_string(),
            head: checked.head.seq_nr.get(),
            deleted_to: checked.head.deleted_to.get(),
            generation: checked.generation,
            erased_to: checked.erased_to,
            digest: checked.digest.map(|digest| hex(&digest.0)),
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_none(generation: &u32) -> bool {
    *generation == 0
}

#[derive(Serialize, Deserialize)]
struct Heading {
    annals_anchor: u32,
    written: String,
    key: bool,
}

#[derive(Serialize, Deserialize)]
struct End {
    ids: u64,
    seal: String,
}

/// Writes an anchor; there is no file before [`finish`](Self::finish).
pub(super) struct AnchorWriter {
    output: Output,
    seal: Seal,
    ids: u64,
}

impl AnchorWriter {
    pub(super) fn create(path: &Path, key: Option<&AnchorKey>) -> anyhow::Result<Self> {
        let output = Output::create(Some(path), None).context("--write-anchor")?;
        let mut writer = Self { output, seal: Seal::new(key)?, ids: 0 };
        let written = Timestamp::now().to_string();
        writer.line(&Heading { annals_anchor: FORMAT, written, key: key.is_some() })?;
        Ok(writer)
    }

    pub(super) fn add(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.ids += 1;
        self.line(entry)
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let end = End { ids: self.ids, seal: self.seal.clone().finish() };
        self.line(&end)?;
        self.output.finish().context("--write-anchor")
    }

    fn line(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(line)?;
        line.push('\n');
        self.seal.update(line.as_bytes());
        Ok(self.output.write_all(line.as_bytes())?)
    }
}

/// Reads an anchor whose seal was checked, an id at a time.
#[derive(Debug)]
pub(super) struct AnchorReader {
    path: PathBuf,
    lines: BufReader<File>,
    /// Ids that were not read yet.
    rest: u64,
    next: Option<Entry>,
}

impl AnchorReader {
    pub(super) fn open(path: &Path, key: Option<&AnchorKey>) -> anyhow::Result<Self> {
        let place = || format!("--anchor {}", path.display());
        let rest = check(path, key).with_context(place)?;
        let mut lines = BufReader::new(File::open(path).with_context(place)?);
        lines.read_line(&mut String::new()).with_context(place)?;
        let mut reader = Self { path: path.to_owned(), lines, rest, next: None };
        reader.advance()?;
        Ok(reader)
    }

    /// What the anchor says of an id, and the ids before it that are next: the journal does not have them.
    pub(super) fn take(&mut self, id: &PersistenceId) -> anyhow::Result<(Vec<Entry>, Option<Entry>)> {
        let mut gone = Vec::new();
        while let Some(next) = &self.next {
            if next.persistence_id.as_str() > id.as_str() {
                break;
            }
            let Some(entry) = self.next.take() else { break };
            self.advance()?;
            if entry.persistence_id == id.as_str() {
                return Ok((gone, Some(entry)));
            }
            gone.push(entry);
        }
        Ok((gone, None))
    }

    /// The next id behind all that the journal has.
    pub(super) fn take_next(&mut self) -> anyhow::Result<Option<Entry>> {
        let next = self.next.take();
        self.advance()?;
        Ok(next)
    }

    fn advance(&mut self) -> anyhow::Result<()> {
        if self.rest > 0 {
            self.rest -= 1;
            let mut line = String::new();
            self.lines.read_line(&mut line)?;
            let entry = serde_json::from_str(&line);
            self.next = Some(
                entry.with_context(|| format!("--anchor {}: it changed meanwhile", self.path.display()))?,
            );
        }
        Ok(())
    }
}

/// Checks heading and seal; answers how many ids there are.
fn check(path: &Path, key: Option<&AnchorKey>) -> anyhow::Result<u64> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let Ok(heading) = serde_json::from_str::<Heading>(&line) else {
        bail!("it is no anchor; name a file that `annals verify --write-anchor` wrote");
    };
    ensure!(
        heading.annals_anchor == FORMAT,
        "it has format {}, this build reads format {FORMAT}: run a newer build",
        heading.annals_anchor
    );
    if heading.key && key.is_none() {
        bail!("it is sealed with a key of the journal: give the journal's keys (--keys)");
    }
    if !heading.key && key.is_some() {
        bail!(
            "it is not sealed with a key, and the journal has one: somebody may have put it in the place of one that is; if it is from before the \
             journal had keys, compare with it once without --keys"
        );
    }
    let mut seal = Seal::new(key)?;
    let mut ids = 0;
    loop {
        seal.update(line.as_bytes());
        line.clear();
        ensure!(lines.read_line(&mut line)? > 0, "it is cut off");
        if let Ok(end) = serde_json::from_str::<End>(&line) {
            ensure!(end.ids == ids && seal.is(&end.seal), "{WRONG}");
            line.clear();
            ensure!(lines.read_line(&mut line)? == 0, "there is something behind its end");
            return Ok(ids);
        }
        ids += 1;
    }
}

#[derive(Clone)]
enum Seal {
    Hash(Sha256),
    Mac(Box<Hmac<Sha256>>),
}

impl Seal {
    fn new(key: Option<&AnchorKey>) -> anyhow::Result<Self> {
        Ok(match key {
            None => Self::Hash(Sha256::new()),
            Some(key) => Self::Mac(Box::new(Hmac::new_from_slice(key.0.as_slice())?)),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Hash(hash) => hash.update(bytes),
            Self::Mac(mac) => mac.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Hash(hash) => hex(&hash.finalize()),
            Self::Mac(mac) => hex(&mac.finalize().into_bytes()),
        }
    }

    /// Whether it is this one. Who measures the time of a comparison has the file.
    fn is(self, seal: &str) -> bool {
        self.finish() == seal
    }
}

const FORMAT: u32 = 1;
const WRONG: &str = "its seal does not match: it was changed or cut, or is of another journal";

#[cfg(test)]
mod tests {
    use annals_journal::{EventDigest, Head, SeqNr};

    use super::*;

    fn written(directory: &Path, key: Option<&AnchorKey>) -> PathBuf {
        let path = directory.join("anchor");
        let mut writer = AnchorWriter::create(&path, key).unwrap();
        for (name, head) in [("a|1", 3), ("a|2", 0), ("b|1", 7)] {
            let seq_nr = SeqNr::new(head).unwrap();
            let digest = (head > 0).then_some(EventDigest([7; 32]));
            let checked = Checked { head: Head { seq_nr, ..Head::EMPTY }, digest, ..Checked::default() };
            writer.add(&Entry::new(&PersistenceId::parse(name).unwrap(), &checked)).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn an_anchor_is_read_beside_the_ids_of_a_journal() {
        let directory = tempfile::tempdir().unwrap();
        let mut anchor = AnchorReader::open(&written(directory.path(), None), None).unwrap();
        let mut take = |id: &str| {
            let (gone, found) = anchor.take(&PersistenceId::parse(id).unwrap()).unwrap();
            (
                gone.into_iter().map(|entry| entry.persistence_id).collect::<Vec<_>>(),
                found.map(|entry| entry.head),
            )
        };
        assert_eq!(take("a|0"), (vec![], None));
        assert_eq!(take("a|1"), (vec![], Some(3)));
        assert_eq!(take("a|3"), (vec!["a|2".into()], None));
        assert_eq!(anchor.take_next().unwrap().unwrap().persistence_id, "b|1");
        assert_eq!(anchor.take_next().unwrap(), None);
    }

    #[test]
    fn a_changed_cut_or_foreign_anchor_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let key = Some(AnchorKey(Zeroizing::new([1; 32])));
        let path = written(directory.path(), key.as_ref());
        assert!(AnchorReader::open(&path, key.as_ref()).is_ok());
        let refused = |key: Option<&AnchorKey>| format!("{:#}", AnchorReader::open(&path, key).unwrap_err());
        assert!(refused(None).contains("with a key of the journal"));
        assert!(refused(Some(&AnchorKey(Zeroizing::new([2; 32])))).contains("seal does not match"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (changed, says) in [
            (text.replace("\"head\":7", "\"head\":6"), "seal does not match"),
            (lines[..3].join("\n"), "cut off"),
            ([lines[0], lines[1], lines[4]].join("\n"), "seal does not match"),
            (format!("{text}more"), "behind its end"),
            (lines[1..].join("\n"), "no anchor"),
            (text.replace("\"annals_anchor\":1", "\"annals_anchor\":9"), "newer build"),
            (text.replace("\"key\":true", "\"key\":false"), "somebody"),
        ] {
            std::fs::write(&path, changed).unwrap();
            assert!(refused(key.as_ref()).contains(says), "{says}: {}", refused(key.as_ref()));
        }
    }
}
