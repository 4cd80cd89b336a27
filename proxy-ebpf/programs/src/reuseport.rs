//! sk_reuseport: which worker gets a new connection, and which one inherits the half-open
//! connections of a listener that closes.

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::SkReuseportContext;
use proxy_common::address::Address;
use proxy_common::counter::Counter;
use proxy_common::load::WORKERS_MAX;
use proxy_ebpf::Choice;

use crate::field::{address, field};
use crate::maps::{SERVICES, SOCKETS, WORKER_COUNT, WORKERS, count, global};

/// Always passes: a program that can't choose leaves the choice to the kernel's hash.
#[inline(always)]
pub fn select(ctx: &SkReuseportContext, live: impl Fn(u32) -> u32) -> u32 {
    let counter = match choose(ctx, live) {
        Some(()) if ctx.migrating_sk().is_some() => Counter::Migrated,
        Some(()) => Counter::Chosen,
        None => Counter::ChosenByHash,
    };
    count(counter);
    SK_PASS
}

#[inline(always)]
fn choose(ctx: &SkReuseportContext, live: impl Fn(u32) -> u32) -> Option<()> {
    let address = listening(ctx);
    // SAFETY: the value is read at once; user space writes it before the program is attached.
    let service = unsafe { SERVICES.get(&address).copied() }?;
    // SAFETY: no arguments.
    let mut choice = Choice::new(unsafe { bpf_ktime_get_ns() });
    let workers = global(&WORKER_COUNT);
    for index in 0..WORKERS_MAX {
        if index >= workers {
            break;
        }
        choice.consider(index, WORKERS.get(index)?, live(index));
    }
    let slot = service
        .wrapping_mul(WORKERS_MAX)
        .wrapping_add(told(choice)?);
    SOCKETS.select_reuseport(ctx, slot).ok()
}

/// The address that the group listens on, whatever the client has dialled.
#[inline(always)]
fn listening(ctx: &SkReuseportContext) -> Address {
    let socket = field!(ctx.md, __bindgen_anon_3.sk);
    let family = field!(socket, family);
    let octets = address!(socket, family, src_ip4, src_ip6);
    let port = field!(socket, src_port);
    Address {
        octets,
        family,
        port,
    }
}

/// The worker that was chosen, which a debug build tells.
#[inline(always)]
fn told(choice: Choice) -> Option<u32> {
    #[cfg(feature = "log")]
    match choice.index() {
        Some(worker) => {
            let cost = choice.cost();
            aya_log_ebpf::debug!(
                0,
                "sk_reuseport: worker {}, the least cost: {}",
                worker,
                cost
            );
        }
        None => aya_log_ebpf::debug!(0, "sk_reuseport: no worker lives, the hash chooses"),
    }
    choice.index()
}
