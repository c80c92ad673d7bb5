mod ring_file;

use std::path::PathBuf;

use annals_journal::encryption::Ring;
use serde::Serialize;

use self::ring_file::RingFile;
use crate::console::{print, print_json};
use crate::exit::Exit;

/// Make a ring of master keys, or add a key to one.
///
/// A ring is JSON: {"active":2,"keys":{"1":"…","2":"…"}}, each key 32 random bytes in base64. The new key becomes the active one. Old keys
/// stay: whoever removes one can never read again what needs it. The file can be read by its owner alone, and is replaced
/// in one step, so that an application that watches it never sees a half of it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The ring; made when it is not there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave the active key as it is
    #[arg(long)]
    keep_active: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Example:
  annals keys generate ring.json        makes a ring with key 1
  annals keys generate ring.json        adds key 2, which is active from then on

Keep a copy of the ring where the journal's backups are not: without it nobody can read them.

Exit codes: 0 done; 2 wrong command line; 3 the file is no ring, or cannot be written: it is as it was";

/// What was done; never a key.
#[derive(Serialize)]
struct Done {
    file: String,
    added: u32,
    active: u32,
    keys: Vec<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let (file, ring) = RingFile::open(&args.file)?;
    let (ring, added) = match ring {
        None => {
            let ring = Ring::generate()?;
            let made = ring.active();
            (ring, made)
        }
        Some(mut ring) => {
            let added = ring.add()?;
            if !args.keep_active {
                ring.activate(added);
            }
            (ring, added)
        }
    };
    file.save(&ring)?;
    let done = Done {
        file: args.file.display().to_string(),
        added: added.0,
        active: ring.active().0,
        keys: ring.ids().map(|id| id.0).collect(),
    };
    if args.json {
        print_json(&done)?;
    } else {
        let active = if done.active == done.added {
            "is active".to_owned()
        } else {
            format!("is not active, key {} is", done.active)
        };
        let what = if done.keys.len() == 1 { "made" } else { "has a new key" };
        print(format!("{} {what}: key {added} {active}", done.file))?;
    }
    Ok(Exit::Well)
}
