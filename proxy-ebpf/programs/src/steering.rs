//! The object with all three programs.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod connections;
mod field;
mod lookup;
mod maps;
mod panic;
mod rates;
mod reuseport;
mod sources;

use aya_ebpf::macros::{sk_lookup, sk_reuseport, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SkReuseportContext, SockOpsContext};

#[sk_reuseport(migrate)]
fn herald_balance(ctx: SkReuseportContext) -> u32 {
    reuseport::select(&ctx, connections::live)
}

/// Always 1: with 0 the kernel would drop the replies of every other program on the cgroup.
#[sock_ops]
fn herald_sockops(ctx: SockOpsContext) -> u32 {
    connections::event(&ctx);
    1
}

#[sk_lookup]
fn herald_lookup(ctx: SkLookupContext) -> u32 {
    lookup::decide(&ctx)
}
