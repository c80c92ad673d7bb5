use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum Zero {
    #[event(version = 0)]
    Opened,
}

#[derive(Serialize, Deserialize, Event)]
enum Twice {
    #[event(version = 1, version = 2)]
    Opened,
}

#[derive(Serialize, Deserialize, Event)]
enum TooLarge {
    #[event(version = 4294967296)]
    Opened,
}

#[derive(Serialize, Deserialize, Command)]
#[command(version = 0)]
struct Open;

fn main() {}
