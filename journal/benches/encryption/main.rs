//! What encryption costs where no entity is near: the cipher, and the rotation of master keys.
//!
//! `cargo xtask bench encryption` runs it beside the engine's part (`benches/engine/sealed.rs`), once with each cipher; by hand:
//! `cargo bench -p annals-journal --bench encryption --features encryption`, with `aws-lc-rs` for the other cipher.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod cipher;
mod re_encrypting;
mod rotation;
#[path = "../../../benches/engine/stats.rs"]
mod stats;
#[path = "../../../benches/engine/table.rs"]
mod table;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["rotate", file, rings, count] = args[..] {
        return rotation::role(file.as_ref(), rings.as_ref(), count.parse().unwrap());
    }
    let has = |flag: &str| args.contains(&flag);
    let quick = has("--quick");
    let mut rows = cipher::rows(quick);
    // The records are the same whatever the cipher: the fast one's run need not measure them again.
    if !has("--cipher") {
        rows.extend(rotation::rows(quick));
    }
    if let Some(at) = args.iter().position(|arg| *arg == "--json") {
        std::fs::write(args[at + 1], serde_json::to_vec_pretty(&rows).unwrap()).unwrap();
    }
    table::print(&rows);
}

/// The cipher of this build.
const CIPHER: &str = if cfg!(feature = "aws-lc-rs") { "aws-lc-rs" } else { "aes-gcm" };
