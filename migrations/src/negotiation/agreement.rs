use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use annals_journal::{Manifest, WriterId};

use super::Announcement;
use crate::{Form, Versions};

/// In which form a manifest is written, so that everybody who must read it can: the highest that all read and no hold forbids.
///
/// Readers come and go, holds are set and released; after each change, [`Agreement::form`] answers anew. No clock, no I/O: whoever knows
/// the readers tells them (the journal's registered processes, the members of a cluster).
///
/// ```
/// use annals_journal::{Manifest, WriterId};
/// use annals_migrations::{Agreement, Announcement, Form, Versions};
///
/// let moved = Manifest::new("account.moved")?;
/// let form = |version| Form::new(moved.clone(), version);
/// let newer = Versions { manifest: moved.clone(), reads: 1..=2, writes: vec![form(2), form(1)] };
///
/// let (mut agreement, id) = (Agreement::new(), WriterId::from_bytes([1; 16]));
/// let mut older = Announcement::new("bank-1");
/// older.hosts("account", &[Versions::only(moved.clone(), 1)]);
/// agreement.joined(id, older);
/// assert_eq!(agreement.form("account", &newer)?, form(1));
/// agreement.left(id);
/// assert_eq!(agreement.form("account", &newer)?, form(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Agreement {
    readers: BTreeMap<WriterId, Announcement>,
    holds: BTreeMap<Manifest, u32>,
    leaving: BTreeSet<Form>,
}

impl Agreement {
    /// Without readers and holds: everything is written as it is today.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader came, or says something else than before.
    pub fn joined(&mut self, reader: WriterId, announcement: Announcement) {
        self.readers.insert(reader, announcement);
    }

    /// A reader is gone.
    pub fn left(&mut self, reader: WriterId) {
        self.readers.remove(&reader);
    }

    /// Nobody writes a manifest above this version until it is released; 0: not at all.
    pub fn hold(&mut self, manifest: Manifest, version: u32) {
        self.holds.insert(manifest, version);
    }

    /// Ends a hold.
    pub fn release(&mut self, manifest: &Manifest) {
        self.holds.remove(manifest);
    }

    /// A rewriting removes a form: nobody begins to write it.
    pub fn leaves(&mut self, form: Form) {
        self.leaving.insert(form);
    }

    /// The readers.
    pub fn readers(&self) -> impl Iterator<Item = (WriterId, &Announcement)> {
        self.readers.iter().map(|(id, announcement)| (*id, announcement))
    }

    /// The lowest version at which a manifest is held, by an operator or by a process.
    pub fn held(&self, manifest: &Manifest) -> Option<u32> {
        let by_readers = self.readers.values().filter_map(|reader| reader.holds().get(manifest));
        self.holds.get(manifest).into_iter().chain(by_readers).min().copied()
    }

    /// The first of the forms that can be written which everybody reads.
    ///
    /// # Errors
    /// [`NoCommonForm`]: no downcaster reaches a form that all read. It says what stands against each.
    pub fn form(&self, kind: &str, today: &Versions) -> Result<Form, NoCommonForm> {
        let mut against = Vec::new();
        for form in &today.writes {
            match self.objection(kind, form) {
                None => return Ok(form.clone()),
                Some(objection) => against.push((form.clone(), objection)),
            }
        }
        Err(NoCommonForm { against })
    }

    /// Why a form must not be written now; `None`: it may.
    pub fn objection(&self, kind: &str, form: &Form) -> Option<Objection> {
        self.opposed(kind, form).or_else(|| self.leaving.contains(form).then_some(Objection::Leaving))
    }

    /// The same, but for what a rewriting removes.
    pub(crate) fn opposed(&self, kind: &str, form: &Form) -> Option<Objection> {
        if let Some(at) = self.held(&form.manifest).filter(|at| form.version > *at) {
            return Some(Objection::Held { at });
        }
        let (reader, announcement) =
            self.readers.iter().find(|(_, reader)| reader.reads(kind, form) == Some(false))?;
        Some(Objection::Unread {
            node: announcement.node().to_owned(),
            reader: *reader,
            reads: announcement.range(kind, &form.manifest).cloned(),
        })
    }
}

/// Why a form must not be written now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Objection {
    /// An operator, or a process, holds the manifest at a lower version.
    Held {
        /// The version; 0: the manifest is not written at all.
        at: u32,
    },
    /// A process that hosts the kind does not read it.
    Unread {
        /// The name of the process.
        node: String,
        /// Its id.
        reader: WriterId,
        /// What it reads of the manifest; `None`: nothing.
        reads: Option<RangeInclusive<u32>>,
    },
    /// A rewriting removes it from the journal.
    Leaving,
}

impl Objection {
    /// What stands against a form, and what to do about it.
    pub(crate) fn sentence(&self, form: &Form) -> String {
        match self {
            Self::Held { at } => {
                format!("{} is held at version {at} (`annals schema release {0}` ends it)", form.manifest)
            }
            Self::Unread { node, reader, reads } => {
                format!("process {node:?} ({reader}) reads {} of it", read(reads))
            }
            Self::Leaving => REMOVED.to_owned(),
        }
    }
}

/// No form in which something can be written is read by everybody; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NoCommonForm {
    /// Each form in which it can be written, and what stands against it.
    pub against: Vec<(Form, Objection)>,
}

impl fmt::Display for NoCommonForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((today, _)) = self.against.first() else {
            return f.write_str("it is only read by this build, never written");
        };
        write!(f, "{today} is not written")?;
        let (mut held, mut leaves, mut unread) = (false, false, None);
        for (form, objection) in &self.against {
            match objection {
                Objection::Held { at: 0 } => write!(f, ": {} is held back", form.manifest)?,
                Objection::Held { at } => write!(f, ": {} is held at version {at}", form.manifest)?,
                Objection::Unread { node, reader, reads } => {
                    write!(f, ": process {node:?} ({reader}) reads {} of {}", read(reads), form.manifest)?;
                }
                Objection::Leaving => write!(f, ": {REMOVED}")?,
            }
            match objection {
                Objection::Held { .. } => held = true,
                Objection::Unread { reads, .. } => unread = reads.as_ref().or(unread),
                Objection::Leaving => leaves = true,
            }
        }
        let last = self.against.last().map_or(today, |(form, _)| form);
        write!(f, "; no downcaster leads below {last}: ")?;
        match unread {
            Some(reads) => write!(f, "add one with `to({} => ..)`, or stop that process", reads.end())?,
            None if held || leaves => write!(f, "add one")?,
            None => write!(f, "stop that process")?,
        }
        if leaves {
            f.write_str(", or repeat it when that is done")?;
        }
        if held {
            write!(f, ", or release it with `annals schema release {}`", today.manifest)?;
        }
        Ok(())
    }
}

const REMOVED: &str = "a rewrite is removing it from the journal; one that was killed is run again, or ended by one that keeps it";

/// A range of versions in a sentence.
pub(super) fn read(reads: &Option<RangeInclusive<u32>>) -> String {
    match reads {
        None => "nothing".to_owned(),
        Some(reads) if *reads.end() == u32::MAX => format!("versions {} and above", reads.start()),
        Some(reads) if reads.start() == reads.end() => format!("version {}", reads.end()),
        Some(reads) => format!("versions {} to {}", reads.start(), reads.end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str) -> Manifest {
        Manifest::new(name).unwrap()
    }

    fn form(version: u32) -> Form {
        Form::new(manifest("account.moved"), version)
    }

    fn today() -> Versions {
        Versions {
            manifest: manifest("account.moved"),
            reads: 1..=3,
            writes: vec![form(3), form(2), form(1)],
        }
    }

    fn reader(reads: RangeInclusive<u32>) -> Announcement {
        let mut announcement = Announcement::new("bank");
        announcement
            .hosts("account", &[Versions { manifest: manifest("account.moved"), reads, writes: vec![] }]);
        announcement
    }

    fn id(byte: u8) -> WriterId {
        WriterId::from_bytes([byte; 16])
    }

    #[test]
    fn the_highest_form_that_all_read_is_written() {
        let mut agreement = Agreement::new();
        assert_eq!(agreement.form("account", &today()).unwrap(), form(3));
        agreement.joined(id(1), reader(1..=2));
        agreement.joined(id(2), reader(2..=9));
        assert_eq!(agreement.form("account", &today()).unwrap(), form(2));
        agreement.joined(id(1), reader(1..=3));
        assert_eq!(agreement.form("account", &today()).unwrap(), form(3));
        agreement.left(id(1));
        agreement.left(id(2));
        assert_eq!(agreement.form("account", &today()).unwrap(), form(3));
    }

    #[test]
    fn a_reader_that_does_not_host_the_kind_blocks_nothing() {
        let mut agreement = Agreement::new();
        let mut other = Announcement::new("shop");
        other.hosts("order", &[Versions::only(manifest("account.moved"), 1)]);
        agreement.joined(id(1), other);
        assert_eq!(agreement.form("account", &today()).unwrap(), form(3));
    }

    #[test]
    fn the_lowest_hold_counts_whoever_says_it() {
        let mut agreement = Agreement::new();
        agreement.hold(manifest("account.moved"), 2);
        assert_eq!(agreement.form("account", &today()).unwrap(), form(2));
        let mut holding = reader(1..=3);
        holding.hold(manifest("account.moved"), 1);
        agreement.joined(id(1), holding);
        assert_eq!(agreement.form("account", &today()).unwrap(), form(1));
        agreement.left(id(1));
        agreement.release(&manifest("account.moved"));
        assert_eq!(agreement.form("account", &today()).unwrap(), form(3));
    }

    #[test]
    fn what_no_downcaster_reaches_is_refused_with_what_to_do() {
        let mut agreement = Agreement::new();
        agreement.joined(id(1), reader(1..=2));
        let mut today = today();
        today.writes.truncate(1);
        let refused = agreement.form("account", &today).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "account.moved version 3 is not written: process \"bank\" (01010101-0101-0101-0101-010101010101) reads versions 1 to 2 of \
             account.moved; no downcaster leads below account.moved version 3: add one with `to(2 => ..)`, or stop that process"
        );
        agreement.hold(manifest("account.moved"), 0);
        let held = agreement.form("account", &today).unwrap_err().to_string();
        assert!(held.contains("account.moved is held back"), "{held}");
        assert!(held.contains("annals schema release account.moved"), "{held}");
    }

    #[test]
    fn what_a_rewrite_removes_is_written_in_an_older_form_as_long_as_there_is_one() {
        let mut agreement = Agreement::new();
        agreement.leaves(form(3));
        assert_eq!(agreement.form("account", &today()).unwrap(), form(2));
        let mut today = today();
        today.writes.truncate(1);
        assert_eq!(
            agreement.form("account", &today).unwrap_err().to_string(),
            "account.moved version 3 is not written: a rewrite is removing it from the journal; one that was killed is run again, or ended \
             by one that keeps it; no downcaster leads below account.moved version 3: add one, or repeat it when that is done"
        );
    }

    #[test]
    fn a_renamed_manifest_is_written_under_its_old_name_as_long_as_someone_knows_no_other() {
        let old = Form::new(manifest("account.debited"), 1);
        let renamed = Versions {
            manifest: manifest("account.moved"),
            reads: 1..=1,
            writes: vec![form(1), old.clone()],
        };
        let mut agreement = Agreement::new();
        let mut reader = Announcement::new("bank");
        reader.hosts("account", &[Versions::only(manifest("account.debited"), 1)]);
        agreement.joined(id(1), reader);
        assert_eq!(agreement.form("account", &renamed).unwrap(), old);
    }
}
