use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Migrations, Schema};

/// What an entity can be asked to do; its schema lets a command travel to another node that may run other code.
///
/// Made by `#[derive(Command)]`.
pub trait Command: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What a command is sent as.
    const SCHEMA: Schema;

    /// How older versions are read, and today's written for older builds. None by default.
    fn migrations() -> Migrations<Self> {
        Migrations::new()
    }
}
