use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum Variant {
    #[event(verison = 2)]
    Opened,
}

#[derive(Serialize, Deserialize, Event)]
#[event(version = 2)]
enum OnTheEnum {
    Opened,
}

#[derive(Serialize, Deserialize, Event)]
enum OnAField {
    Opened {
        #[event(version = 2)]
        by: String,
    },
}

#[derive(Serialize, Deserialize, Command)]
#[command(protobuf)]
struct Open;

fn main() {}
