//! `steering.rs`, in a build that tells each decision: the same modules decide, and what they have
//! decided about a socket or an address of the service is told here, by aya-log's ring buffer.

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

use aya_ebpf::bindings::sk_action::SK_DROP;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
    BPF_TCP_CLOSE,
};
use aya_ebpf::macros::{sk_lookup, sk_reuseport, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SkReuseportContext, SockOpsContext};
use aya_log_ebpf::debug;
use field::{field, octets};
use proxy_common::address::FAMILY_IPV4;

#[sk_reuseport(migrate)]
fn herald_balance(ctx: SkReuseportContext) -> u32 {
    reuseport::select(&ctx, connections::live)
}

#[sock_ops]
fn herald_sockops(ctx: SockOpsContext) -> u32 {
    connections::event(&ctx);
    tell_connection(&ctx);
    1
}

#[sk_lookup]
fn herald_lookup(ctx: SkLookupContext) -> u32 {
    let verdict = lookup::decide(&ctx);
    tell_lookup(&ctx, verdict);
    verdict
}

/// The peer's address. All fields are read, and none in a branch: of two reads in two branches an
/// optimiser makes one at a computed offset, which the verifier refuses.
macro_rules! peer {
    ($context:expr) => {
        address(
            field!($context, family),
            field!($context, remote_ip4),
            [
                field!($context, remote_ip6, 0),
                field!($context, remote_ip6, 1),
                field!($context, remote_ip6, 2),
                field!($context, remote_ip6, 3),
            ],
        )
    };
}

#[inline(always)]
fn tell_connection(ctx: &SockOpsContext) {
    let op = ctx.op();
    let is_close = op == BPF_SOCK_OPS_STATE_CB && ctx.arg(1) == BPF_TCP_CLOSE;
    let is_start =
        op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB;
    if !is_close && !is_start {
        return;
    }
    let Some(mark) = connections::mark(ctx.ops) else {
        return;
    };
    // SAFETY: the socket's own storage, which lives as long as the socket.
    let (worker, role) = unsafe { ((*mark).worker, (*mark).role) };
    let peer = peer!(ctx.ops);
    let port = field!(ctx.ops, remote_port).swap_bytes();
    let what = if is_close { "closed" } else { "established" };
    debug!(
        ctx,
        "sockops: {}, role {}, worker {}, peer {:i} {}", what, role, worker, peer, port
    );
}

/// What is let pass is most often somebody else's.
#[inline(always)]
fn tell_lookup(ctx: &SkLookupContext, verdict: u32) {
    let lookup = ctx.lookup;
    let what = if verdict == SK_DROP {
        "refused"
    } else if !field!(lookup, __bindgen_anon_1.__bindgen_anon_1.sk).is_null() {
        "assigned"
    } else {
        return;
    };
    let source = peer!(lookup);
    let port = field!(lookup, local_port);
    debug!(
        ctx,
        "sk_lookup: {}, port {}, source {:i}", what, port, source
    );
}

/// As IPv6 (IPv4 mapped, RFC 4291 §2.5.5.2).
#[inline(always)]
fn address(family: u32, ip4: u32, ip6: [u32; 4]) -> [u8; 16] {
    octets(match family {
        FAMILY_IPV4 => [0, 0, 0xffff_u32.to_be(), ip4],
        _ => ip6,
    })
}
