//! Writes the ledger's test vectors into a folder: `cargo run -p accredit-ledger --example write_vectors -- vectors/ledger`.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool for contributors: its one purpose is to write these files"
)]

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("vectors/ledger"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    for (name, text) in accredit_ledger::vectors::generate() {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
