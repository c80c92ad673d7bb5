//! The test kit, on an aggregate that keeps its promises and on some that do not.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

mod account;
mod broken;
mod expectations;
mod given;
mod property;
mod replay;
mod running;
mod till;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a test that fails says.
#[track_caller]
fn failure_of(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the kit should have failed");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().map(|text| (*text).to_owned()).unwrap_or_default(),
    }
}
