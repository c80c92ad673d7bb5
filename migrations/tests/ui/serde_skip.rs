use annals_migrations::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum Skipped {
    Opened,
    #[serde(rename = "x", skip)]
    Closed,
    #[serde(skip_deserializing)]
    Locked,
    #[serde(untagged)]
    Other(String),
}

fn main() {}
