use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum Said {
    #[event(manifest = "door opened")]
    Opened,
    #[event(manifest = "")]
    Closed,
}

#[derive(Serialize, Deserialize, Event)]
enum FromTheIdent {
    Geöffnet,
}

#[derive(Serialize, Deserialize, Command)]
#[command(manifest = "tür.öffnen")]
struct Open;

fn main() {}
