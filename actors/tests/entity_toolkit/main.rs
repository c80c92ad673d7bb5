//! Persistent actors have timers, watches and children of their own.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod children;
mod given;
mod kettle;
mod setbacks;
mod stops;
mod timers;
mod watches;

use std::time::Duration;

use annals_actors::EntityRef;
use annals_actors::testing::TestNode;
use kettle::{Kettle, Notes, kettles};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

async fn kitchen() -> TestNode {
    TestNode::builder().kind(kettles).start().await
}

/// What the entity has noted so far.
async fn notes(kettle: &EntityRef<Kettle>) -> Vec<String> {
    kettle.ask(Notes).await.unwrap()
}
