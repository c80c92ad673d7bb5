use std::io::{self, BufWriter, Write};

use annals_journal::{Codec, Envelope, Head, JournalError, PersistenceId, Replayed, SeqNr, json_lines};
use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::exit::Exit;
use crate::history::{Chapter, History};
use crate::ids::unknown;
use crate::protobuf_text;
use crate::stores::{GIVE_KEYS, KeyedJournalArgs, Stores};

/// Print the events of one id.
///
/// A line an event: number, time, manifest and version, payload. JSON stands as it is stored, protobuf by the numbers of its fields, anything
/// else in base64; what is sealed is opened with --keys, and shown as sealed without. An event that cannot be read is named on standard
/// error, and the others are printed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// Whose events, such as 'account|alice'
    #[arg(value_name = "ID")]
    id: PersistenceId,
    #[command(flatten)]
    journal: KeyedJournalArgs,
    /// The first number to print
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// The last number to print
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Print JSON lines, as `annals export` does
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals events 'account|alice' --journal sqlite://bank.db
  annals events 'account|alice' --journal sqlite://bank.db --from 100 --to 120 --json
  annals events 'account|alice' --journal sqlite://bank.db --keys file:ring.json

Exit codes: 0 printed; 1 some events cannot be read, or are sealed; 2 wrong command line; 3 the journal cannot be opened, or has no such id";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    if args.to.is_some_and(|to| to < args.from) {
        bail!("--from {} is above --to {}", args.from, args.to.unwrap_or_default());
    }
    let stores = args.journal.open_read_only().await?;
    let printed = print(&args, &stores).await;
    stores.close().await;
    printed
}

async fn print(args: &Args, stores: &Stores) -> anyhow::Result<Exit> {
    let head = stores.stored_journal().head(&args.id).await?;
    if head == Head::EMPTY {
        bail!("{}", unknown(&args.id));
    }
    let last = head.seq_nr;
    let from = SeqNr::new(args.from).unwrap_or(SeqNr::MAX);
    let to = args.to.and_then(SeqNr::new).map_or(last, |to| to.min(last));
    if from > to {
        bail!("{} has no event from {from} on; its last is {last}", args.id);
    }
    let mut out = BufWriter::new(io::stdout());
    let mut history = History::opened(stores, &args.id, head, from, to).await;
    let (mut exit, mut sealed) = (Exit::Well, 0_u64);
    while let Some(chapter) = history.next().await {
        if let Chapter::Item(Replayed::Event(event)) = &chapter {
            sealed += u64::from(event.envelope.key_id.is_some());
        }
        match chapter {
            Chapter::Item(item) if args.json => json(&mut out, &args.id, &item)?,
            Chapter::Item(item) => text(&mut out, &item)?,
            Chapter::Unreadable(_, error) => {
                // In order with the lines, where both go to one place.
                out.flush()?;
                eprintln!("{error}");
                exit = Exit::Found;
            }
            Chapter::Broken(error) => return Err(broken(out, error)),
        }
    }
    out.flush()?;
    if sealed > 0 {
        eprintln!("{sealed} events are sealed: {GIVE_KEYS}");
        exit = Exit::Found;
    }
    Ok(exit)
}

fn broken(mut out: impl Write, error: JournalError) -> anyhow::Error {
    match out.flush() {
        Ok(()) => error.into(),
        Err(unread) => unread.into(),
    }
}

fn json(out: &mut (dyn Write + Send), id: &PersistenceId, item: &Replayed) -> io::Result<()> {
    match item {
        Replayed::Event(event) => json_lines::write_event(out, &event.envelope),
        Replayed::Deleted { to, .. } => json_lines::write_deleted(out, id, *to),
        Replayed::Erased { to, .. } => json_lines::write_erased(out, id, *to),
        _ => Ok(()),
    }
}

fn text(out: &mut impl Write, item: &Replayed) -> io::Result<()> {
    match item {
        Replayed::Event(event) => {
            let Envelope { seq_nr, timestamp, manifest, schema_version, tags, .. } = &event.envelope;
            write!(out, "{seq_nr}  {timestamp}  {manifest} v{schema_version}  {}", payload(&event.envelope))?;
            for tag in tags {
                write!(out, "  [{}]", tag.as_str())?;
            }
            writeln!(out)
        }
        Replayed::Deleted { from, to } => writeln!(out, "{from} to {to} were deleted"),
        Replayed::Erased { from, to } => writeln!(out, "{from} to {to} were erased"),
        _ => Ok(()),
    }
}

/// The payload for a person to read.
fn payload(envelope: &Envelope) -> String {
    let bytes = &envelope.payload;
    if let Some(key) = envelope.key_id {
        return format!("sealed under data key {}, {} bytes", key.0, bytes.len());
    }
    match (envelope.codec, std::str::from_utf8(bytes)) {
        (Codec::Json, Ok(text)) => one_line(text),
        (Codec::Protobuf, _) if let Some(text) = protobuf_text::show(bytes) => text,
        (codec, _) => format!("{codec}, {} bytes: {}", bytes.len(), STANDARD.encode(bytes)),
    }
}

/// JSON that was stored over several lines has white space that is not worth them.
fn one_line(json: &str) -> String {
    if !json.contains(char::is_control) {
        return json.to_owned();
    }
    match serde_json::from_str::<serde_json::Value>(json) {
        Ok(value) => value.to_string(),
        Err(_) => format!("{json:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_line_without_control_characters() {
        assert_eq!(one_line(r#"{"b": 1.0}"#), r#"{"b": 1.0}"#);
        assert_eq!(one_line("{\n  \"a\": 1\n}"), r#"{"a":1}"#);
        assert_eq!(one_line("\u{1b}[31m"), r#""\u{1b}[31m""#);
    }
}
