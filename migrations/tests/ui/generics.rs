use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum Changed<T> {
    To(T),
}

#[derive(Serialize, Deserialize, Command)]
struct Change<'a> {
    to: &'a str,
}

fn main() {}
