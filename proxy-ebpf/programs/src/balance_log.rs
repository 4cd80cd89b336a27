//! `balance.rs`, in a build that tells each decision.

#![no_std]
#![no_main]

mod field;
mod maps;
mod panic;
mod reuseport;

use aya_ebpf::macros::sk_reuseport;
use aya_ebpf::programs::SkReuseportContext;

#[sk_reuseport(migrate)]
fn herald_balance(ctx: SkReuseportContext) -> u32 {
    reuseport::select(&ctx, |_| 0)
}
