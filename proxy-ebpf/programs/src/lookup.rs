//! sk_lookup: runs for each packet that belongs to no connection yet, in the whole network
//! namespace. It acts on the service's own addresses and ports and lets all else pass.

use core::hint::black_box;

use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::btf_maps::{HashMap, SockMap};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::SkLookupContext;
use proxy_common::SERVICES_MAX;
use proxy_common::address::Address;
use proxy_common::counter::Counter;

use crate::field::{address, field, octets};
use crate::maps::count;
use crate::rates::{self, Source};

/// The addresses and ports that are the service's, with the service's index; [`BOUND`] where the
/// kernel finds the listener by itself.
#[btf_map]
static ADDRESSES: HashMap<Address, u32, 65_536> = HashMap::new();

/// A listener a service, for addresses that nobody has bound.
#[btf_map]
static ANCHORS: SockMap<{ SERVICES_MAX as usize }> = SockMap::new();

const BOUND: u32 = u32::MAX;
const TCP: u32 = 6;

#[inline(always)]
pub fn decide(ctx: &SkLookupContext) -> u32 {
    let lookup = ctx.lookup;
    let Some(service) = service(lookup) else {
        count(Counter::LookupForeign);
        return SK_PASS;
    };
    if rates::refuses(source(lookup)) {
        count(Counter::Refused);
        return SK_DROP;
    }
    if service != BOUND && ANCHORS.redirect_sk_lookup(ctx, service, 0).is_ok() {
        count(Counter::LookupAssigned);
    } else {
        count(Counter::LookupPassed);
    }
    SK_PASS
}

#[inline(always)]
fn service(lookup: *mut bpf_sk_lookup) -> Option<u32> {
    if field!(lookup, protocol) != TCP {
        return None;
    }
    let family = field!(lookup, family);
    let local = address!(lookup, family, local_ip4, local_ip6);
    let port = field!(lookup, local_port);
    let mut address = Address {
        octets: local,
        family,
        port,
    };
    // SAFETY: the value is copied at once.
    if let Some(service) = unsafe { ADDRESSES.get(&address) } {
        return Some(*service);
    }
    // Zeros that the compiler does not see, else it calls `memset`, whose loop the verifier takes from
    // nobody without CAP_PERFMON.
    address.octets = octets([black_box(0); 4]);
    // SAFETY: as above.
    unsafe { ADDRESSES.get(&address).copied() }
}

#[inline(always)]
fn source(lookup: *mut bpf_sk_lookup) -> Source {
    let family = field!(lookup, family);
    let octets = address!(lookup, family, remote_ip4, remote_ip6);
    Source { octets, family }
}
