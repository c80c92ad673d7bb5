use annals_migrations::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum Named {
    #[event(manifest = "door.opened")]
    Opened,
    #[event(manifest = "door.opened")]
    Unlocked,
}

#[derive(Serialize, Deserialize, Event)]
enum Kebab {
    SentBack,
    #[allow(non_camel_case_types)]
    Sent_Back,
}

fn main() {}
