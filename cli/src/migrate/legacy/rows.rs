use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use annals_journal::json_lines;
use annals_journal::{Codec, Envelope, PersistenceId, SeqNr, Token, WriterId};
use annals_migrations::{LegacyEvent, LegacyMapping};
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::import::Line;

/// Where the rows are.
pub(super) enum Source {
    Lines(PathBuf),
    Table { file: PathBuf, name: String },
}

/// Rows that were all read once, and where each stands: those of one id come together, in their order.
///
/// What is in them is not kept, so memory has about 40 bytes a row.
pub(super) struct Rows {
    source: Source,
    mapping: LegacyMapping,
    places: BTreeMap<PersistenceId, Vec<Place>>,
}

/// Where a row stands: a byte of the file, or a `rowid` of the table; and what it is ordered by.
struct Place {
    at: i64,
    /// Which row it is, from 1, for messages.
    number: u64,
    order: Order,
}

#[derive(Debug, Clone, PartialEq)]
enum Order {
    Number(f64),
    Whole(i64),
    Text(Box<str>),
}

impl Rows {
    /// Reads every row and hands on what it is.
    pub(super) fn read(
        source: Source,
        order: Option<&str>,
        mapping: &LegacyMapping,
        each: &mut dyn FnMut(Option<&LegacyEvent>),
    ) -> anyhow::Result<Self> {
        let mut places = BTreeMap::<PersistenceId, Vec<Place>>::new();
        let mut number = 0;
        let mut add = |at: i64, row: Map<String, Value>| {
            number += 1;
            let event = mapping.wrap(&row)?;
            each(event.as_ref());
            let Some(event) = event else { return Ok(()) };
            let order = match order {
                None => Order::Whole(0),
                Some(field) => Order::of(field, row.get(field))?,
            };
            places.entry(event.persistence_id).or_default().push(Place { at, number, order });
            anyhow::Ok(())
        };
        match &source {
            Source::Lines(path) => each_line(path, &mut add)?,
            Source::Table { file, name } => each_row(file, name, &mut add)?,
        }
        for places in places.values_mut() {
            // Stable: rows that are ordered alike, or by nothing, stay as they stand.
            places.sort_by(|one, other| one.order.compare(&other.order));
        }
        Ok(Self { source, mapping: mapping.clone(), places })
    }

    pub(super) fn ids(&self) -> u64 {
        self.places.len() as u64
    }

    /// The rows as lines of an export, from a thread of their own.
    pub(super) fn into_lines(self) -> std::io::Result<mpsc::Receiver<anyhow::Result<Line>>> {
        let (lines, received) = mpsc::channel(LINES_AHEAD);
        std::thread::Builder::new().name("annals-legacy".into()).spawn(move || {
            let sent = self.send(&mut |line| lines.blocking_send(Ok(line)).is_ok());
            if let Err(error) = sent {
                // Nobody listens: it was told before.
                drop(lines.blocking_send(Err(error)));
            }
        })?;
        Ok(received)
    }

    fn send(self, line: &mut dyn FnMut(Line) -> bool) -> anyhow::Result<()> {
        let mut reader = Reader::open(&self.source)?;
        for (id, places) in &self.places {
            let mut seq_nr = SeqNr::ZERO;
            for place in places {
                seq_nr = seq_nr.next();
                let row = reader.row(place.at).with_context(|| format!("row {}", place.number))?;
                let event = self.mapping.wrap(&row)?.filter(|event| event.persistence_id == *id);
                let Some(event) = event else {
                    bail!("row {} has changed meanwhile: run it again", place.number)
                };
                let mut text = Vec::new();
                json_lines::write_event(&mut text, &envelope(event, seq_nr))?;
                let text = String::from_utf8(text)?;
                if !line(Line { number: place.number, text, read: 0 }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// What is stored: the same each time, so that a second run finds what the first one wrote.
fn envelope(event: LegacyEvent, seq_nr: SeqNr) -> Envelope {
    Envelope {
        persistence_id: event.persistence_id,
        seq_nr,
        token: Token::NONE,
        writer: WriterId::from_bytes([0; 16]),
        timestamp: event.timestamp,
        manifest: event.manifest,
        schema_version: 1,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: event.payload,
    }
}

impl Order {
    fn of(field: &str, value: Option<&Value>) -> anyhow::Result<Self> {
        match value {
            Some(Value::Number(number)) => Ok(match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Whole(whole),
                (None, Some(number)) => Self::Number(number),
                (None, None) => bail!("field {field:?} is {number}, which is no number to order by"),
            }),
            Some(Value::String(text)) => Ok(Self::Text(text.as_str().into())),
            other => bail!(
                "field {field:?} is {}, and rows are ordered by it: it should be a number or a text",
                other.unwrap_or(&Value::Null)
            ),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Text(_), _) => Ordering::Greater,
            (_, Self::Text(_)) => Ordering::Less,
            (one, other) => one.float().total_cmp(&other.float()),
        }
    }

    fn float(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Whole(whole) => *whole as f64,
            Self::Text(_) => f64::INFINITY,
        }
    }
}

/// Reads single rows.
enum Reader {
    Lines(BufReader<File>),
    Table { rows: Connection, one: String },
}

impl Reader {
    fn open(source: &Source) -> anyhow::Result<Self> {
        Ok(match source {
            Source::Lines(path) => Self::Lines(BufReader::new(File::open(path)?)),
            Source::Table { file, name } => {
                let one =
                    format!("SELECT rowid AS \"annals rowid\", * FROM {} WHERE rowid = ?1", quoted(name));
                Self::Table { rows: open_table(file)?, one }
            }
        })
    }

    fn row(&mut self, at: i64) -> anyhow::Result<Map<String, Value>> {
        match self {
            Self::Lines(file) => {
                file.seek(SeekFrom::Start(at.cast_unsigned()))?;
                let mut line = String::new();
                file.read_line(&mut line)?;
                Ok(serde_json::from_str(&line)?)
            }
            Self::Table { rows, one } => {
                let mut statement = rows.prepare_cached(one)?;
                let mut found = statement.query([at])?;
                match found.next()? {
                    Some(row) => Ok(of_columns(row)?.1),
                    None => bail!("it is gone"),
                }
            }
        }
    }
}

type Add<'a> = &'a mut dyn FnMut(i64, Map<String, Value>) -> anyhow::Result<()>;

fn each_line(path: &Path, add: Add<'_>) -> anyhow::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut at, mut number) = (0_u64, 0_u64);
    let mut line = String::new();
    loop {
        line.clear();
        number += 1;
        let read = file.read_line(&mut line).with_context(|| format!("line {number}: is no text"))?;
        if read == 0 {
            return Ok(());
        }
        if !line.trim().is_empty() {
            let row =
                serde_json::from_str(&line).with_context(|| format!("line {number} is no JSON object"))?;
            add(at.cast_signed(), row).with_context(|| format!("line {number}"))?;
        }
        at += read as u64;
    }
}

fn each_row(file: &Path, name: &str, add: Add<'_>) -> anyhow::Result<()> {
    let rows = open_table(file)?;
    let all = format!("SELECT rowid AS \"annals rowid\", * FROM {} ORDER BY rowid", quoted(name));
    let mut statement = rows.prepare(&all).with_context(|| format!("table {name:?}"))?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let (rowid, row) = of_columns(row)?;
        add(rowid, row).with_context(|| format!("row {rowid}"))?;
    }
    Ok(())
}

fn open_table(file: &Path) -> anyhow::Result<Connection> {
    Ok(Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// A row's number and its columns as fields.
fn of_columns(row: &rusqlite::Row<'_>) -> anyhow::Result<(i64, Map<String, Value>)> {
    let mut fields = Map::new();
    for (at, name) in row.as_ref().column_names().into_iter().enumerate().skip(1) {
        let value = match row.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(text) => {
                std::str::from_utf8(text).with_context(|| format!("column {name:?}"))?.into()
            }
            // JSON is often kept in a BLOB.
            ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text.into(),
                Err(_) => STANDARD.encode(bytes).into(),
            },
        };
        fields.insert(name.to_owned(), value);
    }
    Ok((row.get(0)?, fields))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const LINES_AHEAD: usize = 256;
