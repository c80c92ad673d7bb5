use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;

use crate::passphrase::Passphrase;
use crate::passphrase_file::{OpeningReader, is_sealed};

/// The lines of a file, also of a sealed one.
pub(super) struct Input {
    name: String,
    lines: Box<dyn BufRead + Send>,
    length: Option<u64>,
    read: Arc<AtomicU64>,
    told: u64,
    line: u64,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path, passphrase: Option<&Passphrase>) -> anyhow::Result<Self> {
        let name =
            if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let (input, length): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).with_context(|| name.clone())?;
            let found = file.metadata().with_context(|| name.clone())?;
            if found.is_dir() {
                bail!("{name} is a directory; name a file that `annals export` wrote");
            }
            (Box::new(file), found.is_file().then_some(found.len()))
        };
        let read = Arc::new(AtomicU64::new(0));
        let mut bytes = BufReader::with_capacity(BUFFER, Counted { input, read: Arc::clone(&read) });
        let begins = bytes.fill_buf().with_context(|| name.clone())?;
        if begins.starts_with(SQLITE) {
            bail!("{name} is a SQLite file; import what `annals export --journal sqlite://{name}` writes");
        }
        let lines: Box<dyn BufRead + Send> = match (is_sealed(begins), passphrase) {
            (false, None) => Box::new(bytes),
            (true, Some(passphrase)) => {
                let opened = OpeningReader::new(bytes, passphrase).with_context(|| name.clone())?;
                Box::new(BufReader::with_capacity(BUFFER, opened))
            }
            (true, None) => {
                bail!("{name} is sealed under a passphrase; give it with --decrypt passphrase:env:NAME")
            }
            (false, Some(_)) => bail!("{name} is not sealed; leave --decrypt out"),
        };
        Ok(Self { name, lines, length, read, told: 0, line: 0 })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the file, when it is one.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes that were read since the last time.
    fn take_read(&mut self) -> u64 {
        let read = self.read.load(Ordering::Relaxed);
        let more = read - self.told;
        self.told = read;
        more
    }

    /// Reads on a thread of its own, so that a command which waits for its input can be interrupted, and some lines ahead.
    pub(super) fn into_lines(mut self) -> io::Result<mpsc::Receiver<anyhow::Result<Line>>> {
        let (lines, received) = mpsc::channel(LINES_AHEAD);
        std::thread::Builder::new().name("annals-input".into()).spawn(move || {
            loop {
                let line = match self.next_line() {
                    Ok(Some((number, text))) => Ok(Line { number, text, read: self.take_read() }),
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                let last = line.is_err();
                if lines.blocking_send(line).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(received)
    }

    /// The next line that has something, and its number.
    fn next_line(&mut self) -> anyhow::Result<Option<(u64, String)>> {
        loop {
            self.line += 1;
            let place = |line: u64, name: &str| format!("{name}, line {line}");
            let mut bytes = Vec::new();
            let read = (&mut self.lines).take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
            let count = read.with_context(|| place(self.line, &self.name))?;
            if count == 0 {
                return Ok(None);
            }
            if bytes.len() as u64 > LONGEST_LINE {
                bail!(
                    "{}: longer than {LONGEST_LINE} bytes, which no event is",
                    place(self.line, &self.name)
                );
            }
            let line = String::from_utf8(bytes).with_context(|| {
                format!("{}: is no text; is this what `annals export` wrote?", place(self.line, &self.name))
            })?;
            if !line.trim().is_empty() {
                return Ok(Some((self.line, line)));
            }
        }
    }
}

/// A line that has something.
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: String,
    /// Bytes of the file that were read for it.
    pub(crate) read: u64,
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(into)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

const SQLITE: &[u8] = b"SQLite format 3\0";
const LINES_AHEAD: usize = 256;
const BUFFER: usize = 256 * 1024;
/// Above the largest payload of any backend in base64, and a snapshot's.
const LONGEST_LINE: u64 = 128 * 1024 * 1024;
