//! Asks a peer for the bench: see `herald_benches::load`.

use clap::Parser;
use herald_benches::{Failure, load};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    options: load::Options,
}

fn main() -> Result<(), Failure> {
    load::run(&Arguments::parse().options)
}
