//! The object for a process that may load programs but not touch the network's configuration
//! (CAP_BPF without CAP_NET_ADMIN): sk_reuseport alone, over what the workers publish.

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
