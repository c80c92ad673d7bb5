use annals_migrations::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum Shapes {
    #[event(protobuf)]
    Named { by: String },
    #[event(protobuf)]
    Two(String, String),
    #[event(protobuf)]
    Unit,
}

fn main() {}
