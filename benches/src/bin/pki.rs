//! Writes the bench's certificates into a directory.

use std::path::PathBuf;

use clap::Parser;
use herald_benches::{Failure, identities};

#[derive(Debug, Parser)]
struct Options {
    /// Where `ca`, `server` and `client` go.
    directory: PathBuf,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.directory)?;
    identities::write_all(&options.directory)
}
