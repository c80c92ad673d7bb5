//! Private servers for tests: found, installed or fetched, started on loopback and a free port, stopped, killed.
//!
//! `cargo xtask services` and the test step keep one under `target/services`; tests that kill their server or need a setting of
//! their own make one beside it. Nothing here knows Annals.

mod account;
pub mod cassandra;
mod postgres;
pub use postgres::{Cluster, Installation, Private, Settings};
mod process;

use std::path::{Path, PathBuf};

/// Where the servers of a workspace keep their data: below its target folder, or in the folder for temporary files when the
/// system user that runs them may not go there.
pub fn folder(target: &Path) -> PathBuf {
    let wanted = target.join("services");
    if account::may_enter(target) {
        return wanted;
    }
    // The same one each time: a later run finds what an earlier one left.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in wanted.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    std::env::temp_dir().join(format!("annals-services-{hash:016x}"))
}
