use annals_migrations::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[serde(rename_all = "camelCase", tag = "type", content = "value")]
enum Tagged {
    Opened,
}

#[derive(Serialize, Deserialize, Event)]
#[serde(untagged)]
enum Untagged {
    Opened,
}

#[derive(Clone, Serialize, Deserialize, Event)]
#[serde(into = "String", try_from = "String")]
enum Converted {
    Opened,
}

impl From<Converted> for String {
    fn from(_: Converted) -> Self {
        String::new()
    }
}

impl TryFrom<String> for Converted {
    type Error = String;

    fn try_from(_: String) -> Result<Self, String> {
        Ok(Self::Opened)
    }
}

fn main() {}
