//! The XML of a log as a sequence of tags, each with the line where it stands.

use std::io::{self, BufRead, Read};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Number, Value};

use super::{Source, XesError};

/// Pulls tags out of XML text.
pub(super) struct Markup {
    xml: Reader<Lines>,
    version: XmlVersion,
    buffer: Vec<u8>,
    /// Where the last tag began.
    line: u64,
}

/// What a log consists of; text and comments mean nothing in XES.
pub(super) enum Node {
    Start(Tag),
    End,
    Eof,
}

/// A start tag with the two attributes that XES has.
pub(super) struct Tag {
    pub(super) element: Element,
    pub(super) name: String,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

/// What a tag is, whatever its namespace prefix.
#[derive(Clone, Copy)]
pub(super) enum Element {
    Log,
    Trace,
    Event,
    Attribute(Kind),
    /// The ordered content of a list.
    Values,
    /// `extension`, `global`, `classifier`, and what XES does not know.
    Other,
}

/// The type of an attribute.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `string`, `date`, `id`.
    Text,
    Int,
    Float,
    Boolean,
    /// `list`, `container`.
    Many,
}

impl Markup {
    pub(super) fn new(xml: Source) -> Self {
        let mut xml = Reader::from_reader(Lines { inner: xml, line: 1 });
        xml.config_mut().expand_empty_elements = true;
        Self { xml, version: XmlVersion::default(), buffer: Vec::new(), line: 1 }
    }

    /// The next tag.
    pub(super) fn pull(&mut self) -> Result<Node, XesError> {
        loop {
            self.buffer.clear();
            self.line = self.xml.get_ref().line;
            let line = self.line;
            let wrong = |reason: String| XesError { line, reason };
            match self.xml.read_event_into(&mut self.buffer) {
                Ok(Event::Start(start)) => {
                    return Tag::read(&start, self.version).map(Node::Start).map_err(wrong);
                }
                Ok(Event::End(_)) => return Ok(Node::End),
                Ok(Event::Eof) => return Ok(Node::Eof),
                Ok(Event::Decl(declaration)) => {
                    self.version = declaration.xml_version().unwrap_or_default();
                }
                Ok(_) => {}
                Err(quick_xml::Error::Io(error)) => {
                    return Err(wrong(format!("the file cannot be read further: {error}")));
                }
                Err(error) => return Err(wrong(error.to_string())),
            }
        }
    }

    /// Steps over everything up to the end tag of what was just opened in `inside`.
    pub(super) fn skip(&mut self, inside: &str) -> Result<(), XesError> {
        let mut open = 1_u64;
        while open > 0 {
            match self.pull()? {
                Node::Start(_) => open += 1,
                Node::End => open -= 1,
                Node::Eof => return Err(self.ends_inside(inside)),
            }
        }
        Ok(())
    }

    /// An error about the last tag.
    pub(super) fn error(&self, reason: impl Into<String>) -> XesError {
        XesError { line: self.line, reason: reason.into() }
    }

    pub(super) fn ends_inside(&self, element: &str) -> XesError {
        self.error(format!("the file ends inside <{element}>"))
    }
}

impl Tag {
    fn read(start: &BytesStart<'_>, version: XmlVersion) -> Result<Self, String> {
        let name = start.local_name();
        let name: &str = name.as_ref();
        let (mut key, mut value) = (None, None);
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| format!("<{name}>: {error}"))?;
            let target = match attribute.key.as_ref() {
                "key" => &mut key,
                "value" => &mut value,
                _ => continue,
            };
            let text = attribute.normalized_value(version).map_err(|error| format!("<{name}>: {error}"))?;
            *target = Some(text.into_owned());
        }
        Ok(Self { element: Element::named(name), name: name.to_owned(), key, value })
    }
}

impl Element {
    fn named(name: &str) -> Self {
        match name {
            "log" => Self::Log,
            "trace" => Self::Trace,
            "event" => Self::Event,
            "string" | "date" | "id" => Self::Attribute(Kind::Text),
            "int" => Self::Attribute(Kind::Int),
            "float" => Self::Attribute(Kind::Float),
            "boolean" => Self::Attribute(Kind::Boolean),
            "list" | "container" => Self::Attribute(Kind::Many),
            "values" => Self::Values,
            _ => Self::Other,
        }
    }
}

impl Kind {
    /// The value of an attribute; `Null` for one that only contains others, `None` when it is missing.
    ///
    /// What is not of its type, or has no JSON form (`INF`, which XES allows), stays text.
    pub(super) fn value(self, text: Option<String>) -> Option<Value> {
        let Some(text) = text else {
            return matches!(self, Self::Many).then_some(Value::Null);
        };
        let typed = match self {
            Self::Int => text.parse::<i64>().ok().map(Value::from),
            Self::Float => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
            Self::Boolean => text.parse().ok().map(Value::Bool),
            Self::Many => Some(Value::Null),
            Self::Text => None,
        };
        Some(typed.unwrap_or(Value::String(text)))
    }
}

/// Counts lines as they are consumed.
struct Lines {
    inner: Source,
    line: u64,
}

impl Read for Lines {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Lines {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed was filled before, so this reads nothing.
        if let Some(consumed) = self.inner.fill_buf().ok().and_then(|filled| filled.get(..amount)) {
            let ends = consumed.iter().filter(|byte| **byte == b'\n').count();
            self.line += u64::try_from(ends).unwrap_or_default();
        }
        self.inner.consume(amount);
    }
}
