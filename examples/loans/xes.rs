//! Reads an XES event log (IEEE 1849) trace by trace: gzip or plain, of any process.
//!
//! ```text
//! <log>                                    extension, global, classifier, attributes: skipped
//!   <trace>                                → Trace: one case
//!     <string key="concept:name" value="173688"/>
//!     <event>                              → Row: one line of the case's history
//!       <string key="concept:name" value="A_SUBMITTED"/>
//!       <string key="lifecycle:transition" value="COMPLETE"/>
//!       <date key="time:timestamp" value="2011-10-01T00:38:44.546+02:00"/>
//! ```
//!
//! At most one trace is in memory. An event outside a trace, which XES allows, is a trace of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod encoding;
mod markup;

use markup::{Element, Markup, Node, Tag};

/// Attributes by their keys. One inside another has the key `outer/inner`; a key that occurs more than once has an array.
pub(crate) type Attributes = BTreeMap<String, Value>;

/// One case as the log has it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Trace {
    /// `concept:name`.
    pub(crate) name: Option<String>,
    /// What else is said about it.
    pub(crate) attributes: Attributes,
    /// What happened, in the order of the log.
    pub(crate) rows: Vec<Row>,
}

/// One event as the log has it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// `concept:name`.
    pub(crate) activity: Option<String>,
    /// `lifecycle:transition`.
    pub(crate) transition: Option<String>,
    /// `time:timestamp`, as it is written.
    pub(crate) at: Option<String>,
    /// `org:resource`.
    pub(crate) by: Option<String>,
    /// What else is said about it.
    pub(crate) attributes: Attributes,
}

/// Why a log cannot be read further.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(crate) struct XesError {
    /// The line, from 1; in a packed file the line of what is inside.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// The traces of a log, one after the other; after an error there are no more.
pub(crate) struct XesReader {
    markup: Markup,
    place: Place,
}

/// Where the bytes of a log come from.
type Source = Box<dyn BufRead + Send>;

/// How far the reader is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    BeforeLog,
    InLog,
    Done,
}

impl XesReader {
    /// Opens a file, packed or not: its first two bytes tell. `watch` sees every byte that is read from it.
    ///
    /// # Errors
    /// When it cannot be opened or begun; everything later is an error of [`XesReader::next_trace`].
    pub(crate) fn open<W: Read + Send + 'static>(
        path: &Path,
        watch: impl FnOnce(File) -> W,
    ) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(BUFFER, watch(File::open(path)?));
        if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
            Ok(Self::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))))
        } else {
            Ok(Self::new(file))
        }
    }

    /// Reads XML text in the encoding that it declares.
    pub(crate) fn new(xml: impl BufRead + Send + 'static) -> Self {
        Self { markup: Markup::new(encoding::to_utf8(Box::new(xml))), place: Place::BeforeLog }
    }

    /// The next trace, or `None` after `</log>`.
    pub(crate) fn next_trace(&mut self) -> Result<Option<Trace>, XesError> {
        let trace = self.read_next();
        if !matches!(trace, Ok(Some(_))) {
            self.place = Place::Done;
        }
        trace
    }

    fn read_next(&mut self) -> Result<Option<Trace>, XesError> {
        if self.place == Place::BeforeLog {
            self.enter_log()?;
        }
        while self.place == Place::InLog {
            match self.markup.pull()? {
                Node::Start(Tag { element: Element::Trace, .. }) => return self.read_trace().map(Some),
                Node::Start(Tag { element: Element::Event, .. }) => {
                    let row = self.read_row()?;
                    return Ok(Some(Trace { rows: vec![row], ..Trace::default() }));
                }
                Node::Start(_) => self.markup.skip("log")?,
                Node::End => self.leave_log()?,
                Node::Eof => return Err(self.markup.ends_inside("log")),
            }
        }
        Ok(None)
    }

    fn enter_log(&mut self) -> Result<(), XesError> {
        match self.markup.pull()? {
            Node::Start(Tag { element: Element::Log, .. }) => {
                self.place = Place::InLog;
                Ok(())
            }
            Node::Start(tag) => Err(self
                .markup
                .error(format!("not an XES log: it begins with <{}>, not with <log>", tag.name))),
            Node::End | Node::Eof => Err(self.markup.error("not an XES log: there is no <log>")),
        }
    }

    fn leave_log(&mut self) -> Result<(), XesError> {
        self.place = Place::Done;
        match self.markup.pull()? {
            Node::Eof => Ok(()),
            _ => Err(self.markup.error("something follows after </log>")),
        }
    }

    fn read_trace(&mut self) -> Result<Trace, XesError> {
        let mut trace = Trace::default();
        loop {
            match self.markup.pull()? {
                Node::Start(Tag { element: Element::Event, .. }) => trace.rows.push(self.read_row()?),
                Node::Start(tag) => self.read_attribute(tag, "trace", &mut trace.attributes)?,
                Node::End => {
                    trace.name = take_text(&mut trace.attributes, "concept:name");
                    return Ok(trace);
                }
                Node::Eof => return Err(self.markup.ends_inside("trace")),
            }
        }
    }

    fn read_row(&mut self) -> Result<Row, XesError> {
        let mut attributes = Attributes::new();
        loop {
            match self.markup.pull()? {
                Node::Start(tag) => self.read_attribute(tag, "event", &mut attributes)?,
                Node::End => {
                    return Ok(Row {
                        activity: take_text(&mut attributes, "concept:name"),
                        transition: take_text(&mut attributes, "lifecycle:transition"),
                        at: take_text(&mut attributes, "time:timestamp"),
                        by: take_text(&mut attributes, "org:resource"),
                        attributes,
                    });
                }
                Node::Eof => return Err(self.markup.ends_inside("event")),
            }
        }
    }

    /// Reads an attribute, and those inside it, up to its end tag.
    fn read_attribute(&mut self, tag: Tag, inside: &str, into: &mut Attributes) -> Result<(), XesError> {
        let mut key = String::new();
        // Length of `key` outside each open element.
        let mut outside = Vec::new();
        let mut next = Some(tag);
        loop {
            if let Some(tag) = next.take() {
                match tag.element {
                    Element::Attribute(kind) => {
                        outside.push(key.len());
                        let own = tag.key.ok_or_else(|| {
                            self.markup.error(format!("<{}> in <{inside}> has no key", tag.name))
                        })?;
                        if !key.is_empty() {
                            key.push('/');
                        }
                        key.push_str(&own);
                        let value = kind
                            .value(tag.value)
                            .ok_or_else(|| self.markup.error(format!("attribute {own:?} has no value")))?;
                        insert(into, &key, value);
                    }
                    Element::Values => outside.push(key.len()),
                    Element::Trace | Element::Event | Element::Log => {
                        let reason = if key.is_empty() {
                            format!("<{}> cannot stand in <{inside}>", tag.name)
                        } else {
                            format!("<{}> stands inside attribute {key:?}, which is not closed", tag.name)
                        };
                        return Err(self.markup.error(reason));
                    }
                    Element::Other => self.markup.skip(inside)?,
                }
                if outside.len() > MAX_DEPTH {
                    let reason = format!("attributes lie in one another more than {MAX_DEPTH} deep");
                    return Err(self.markup.error(reason));
                }
            }
            if outside.is_empty() {
                return Ok(());
            }
            match self.markup.pull()? {
                Node::Start(tag) => next = Some(tag),
                Node::End => key.truncate(outside.pop().unwrap_or_default()),
                Node::Eof => return Err(self.markup.ends_inside(inside)),
            }
        }
    }
}

/// `Null` is a list, which has no value of its own.
fn insert(into: &mut Attributes, key: &str, value: Value) {
    match into.get_mut(key) {
        _ if value.is_null() => {}
        None => {
            into.insert(key.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// Takes an attribute out, as text.
fn take_text(attributes: &mut Attributes, key: &str) -> Option<String> {
    match attributes.remove(key)? {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// How much is read from the file, or unpacked, at once, in bytes.
const BUFFER: usize = 1 << 16;
/// What a gzip file begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How deep attributes may lie in one another.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests;
