//! sockops: the life of the service's own connections, from established to closed.

use aya_ebpf::bindings::{
    BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
    BPF_TCP_CLOSE, BPF_TCP_CLOSE_WAIT, BPF_TCP_CLOSING, BPF_TCP_FIN_WAIT2, BPF_TCP_LAST_ACK,
    bpf_map_type, bpf_sock_ops,
};
use aya_ebpf::btf_maps::{Array, RingBuf};
use aya_ebpf::helpers::{
    bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_setsockopt, bpf_sk_storage_get,
};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::SockOpsContext;
use proxy_common::close::{FIN_ACKED, FIN_RECEIVED};
use proxy_common::counter::Counter;
use proxy_common::load::WORKERS_MAX;
use proxy_common::mark::{MARK_COUNTED, MARK_SOURCE_COUNTED, ROLE_CLIENT};
use proxy_common::{CloseEvent, SocketMark, TcpProfile};
use proxy_ebpf::rate::prefix;

use crate::atomic;
use crate::field::{address, field};
use crate::maps::count;
use crate::rates::{self, Source};
use crate::sources;

/// The marks; `BPF_F_CLONE` hands a listener's to what it accepts. The crate's own type has no
/// place for that flag.
#[repr(C)]
struct Marks {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const SocketMark,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: a definition for the loader; the pointers are never followed.
unsafe impl Sync for Marks {}

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static MARKS: Marks = Marks {
    r#type: core::ptr::null(),
    key: core::ptr::null(),
    value: core::ptr::null(),
    max_entries: core::ptr::null(),
    map_flags: core::ptr::null(),
};

/// Established client connections of each worker, those that wait to be accepted included.
#[btf_map]
static LIVE: Array<u64, { WORKERS_MAX as usize }> = Array::new();

/// Close events on their way to user space.
#[btf_map]
static EVENTS: RingBuf<CloseEvent, 262_144> = RingBuf::new();

/// Nobody reads the ring: no events are written. User space sets it before the load.
#[unsafe(no_mangle)]
static WANTS_EVENTS: u32 = 0;

/// How many connections of a worker are established.
#[inline(always)]
pub fn live(worker: u32) -> u32 {
    LIVE.get(worker).map_or(0, |live| *live as u32)
}

/// One call of the kernel.
#[inline(always)]
pub fn event(ctx: &SockOpsContext) {
    match ctx.op() {
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB | BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => {
            established(ctx);
        }
        BPF_SOCK_OPS_STATE_CB => match ctx.arg(1) {
            BPF_TCP_CLOSE => closed(ctx),
            BPF_TCP_FIN_WAIT2 => waiting(ctx),
            _ => {}
        },
        _ => {}
    }
}

/// The mark of the socket, if it is the service's own.
#[inline(always)]
pub fn mark(ops: *mut bpf_sock_ops) -> Option<*mut SocketMark> {
    let socket = field!(ops, __bindgen_anon_2.sk);
    if socket.is_null() {
        return None;
    }
    let map = core::ptr::addr_of!(MARKS).cast_mut().cast();
    // SAFETY: a map and a socket that the verifier knows; without the flag nothing is created.
    let mark = unsafe { bpf_sk_storage_get(map, socket.cast(), core::ptr::null_mut(), 0) };
    (!mark.is_null()).then_some(mark.cast())
}

#[inline(always)]
fn established(ctx: &SockOpsContext) {
    let Some(mark) = mark(ctx.ops) else {
        count(Counter::SocketForeign);
        return;
    };
    count(match ctx.op() {
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => Counter::ClientEstablished,
        _ => Counter::UpstreamEstablished,
    });
    // SAFETY: the socket's own storage, which lives as long as the socket.
    let mark = unsafe { &mut *mark };
    // SAFETY: no arguments.
    mark.established_ns = unsafe { bpf_ktime_get_ns() };
    apply(ctx.ops, &mark.profile);
    // Nobody counts connections to the origin, or asks for their end.
    if mark.role != ROLE_CLIENT {
        return;
    }
    let source = source(ctx.ops);
    rates::charge(source);
    // With what another program of the group has asked for on this socket.
    let flags = field!(ctx.ops, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
    if ctx.set_cb_flags(flags as i32).is_err() {
        return count(Counter::CloseUnwatched);
    }
    if let Some(live) = LIVE.get_ptr_mut(mark.worker) {
        // SAFETY: the map gave the pointer, and the word is aligned.
        unsafe { atomic::add(live, 1) };
        mark.state = MARK_COUNTED;
    }
    let prefix = prefix(source.octets, source.family);
    if sources::enter(&prefix, mark.established_ns) {
        mark.state |= MARK_SOURCE_COUNTED;
    } else {
        count(Counter::SourceUncounted);
    }
}

#[inline(always)]
fn apply(ops: *mut bpf_sock_ops, profile: &TcpProfile) {
    let mut refused = 0;
    if profile.congestion[0] != 0 {
        let mut name = profile.congestion;
        refused |= set(ops, TCP_CONGESTION, &mut name);
    }
    if profile.notsent_lowat != 0 {
        let mut bytes = profile.notsent_lowat;
        refused |= set(ops, TCP_NOTSENT_LOWAT, &mut bytes);
    }
    if profile.initial_window != 0 {
        let mut segments = profile.initial_window;
        refused |= set(ops, TCP_BPF_IW, &mut segments);
    }
    if refused != 0 {
        count(Counter::ProfileRefused);
    }
}

#[inline(always)]
fn set<T>(ops: *mut bpf_sock_ops, option: i32, value: &mut T) -> i64 {
    let pointer = core::ptr::from_mut(value).cast();
    // SAFETY: the context, and a value on the stack of the length that is told.
    unsafe { bpf_setsockopt(ops.cast(), SOL_TCP, option, pointer, size_of::<T>() as i32) }
}

/// Our FIN is acknowledged. What is received from here on ends with the peer's FIN; whether it came
/// at all is not told at the close, since the kernel puts a small stand-in in the socket's place.
#[inline(always)]
fn waiting(ctx: &SockOpsContext) {
    let Some(mark) = mark(ctx.ops) else { return };
    // SAFETY: the socket's own storage, which lives as long as the socket.
    let mark = unsafe { &mut *mark };
    mark.received_before_fin = field!(ctx.ops, bytes_received);
}

#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let Some(mark) = mark(ctx.ops) else { return };
    // SAFETY: the socket's own storage, which lives as long as the socket.
    let mark = unsafe { &mut *mark };
    if mark.role != ROLE_CLIENT {
        // Another program of the group asked for this.
        return;
    }
    let state = mark.state;
    mark.state = 0;
    if state & MARK_SOURCE_COUNTED != 0 {
        let source = source(ctx.ops);
        if !sources::leave(&prefix(source.octets, source.family)) {
            count(Counter::SourceLost);
        }
    }
    if state & MARK_COUNTED != 0
        && let Some(live) = LIVE.get_ptr_mut(mark.worker)
    {
        // SAFETY: the map gave the pointer, and the word is aligned.
        unsafe { atomic::add(live, MINUS_ONE) };
    }
    if crate::maps::global(&WANTS_EVENTS) != 0 {
        let counter = match EVENTS.reserve(0) {
            Some(mut entry) => {
                entry.write(close_event(ctx, mark));
                entry.submit(0);
                Counter::CloseEvent
            }
            None => Counter::CloseEventDropped,
        };
        count(counter);
    }
}

#[inline(always)]
fn close_event(ctx: &SockOpsContext, mark: &SocketMark) -> CloseEvent {
    let ops = ctx.ops;
    let bytes_received = field!(ops, bytes_received);
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the context.
    let cookie = unsafe { bpf_get_socket_cookie(ops.cast()) };
    CloseEvent {
        cookie,
        bytes_acked: field!(ops, bytes_acked),
        bytes_received,
        duration_ns: now.wrapping_sub(mark.established_ns),
        // The kernel keeps eighths of a microsecond.
        srtt_us: field!(ops, srtt_us) >> 3,
        min_rtt_us: field!(ops, rtt_min),
        retransmits: field!(ops, total_retrans),
        role: mark.role,
        service: mark.service,
        worker: mark.worker,
        flags: fins(ctx, bytes_received, mark),
        padding: 0,
    }
}

/// Which FINs are among the bytes, from the state before the last.
#[inline(always)]
fn fins(ctx: &SockOpsContext, bytes_received: u64, mark: &SocketMark) -> u32 {
    let state = ctx.arg(0);
    let has_sent = matches!(
        state,
        BPF_TCP_FIN_WAIT2 | BPF_TCP_CLOSING | BPF_TCP_LAST_ACK
    );
    let has_received = match state {
        BPF_TCP_CLOSE_WAIT | BPF_TCP_CLOSING | BPF_TCP_LAST_ACK => true,
        BPF_TCP_FIN_WAIT2 => bytes_received != mark.received_before_fin,
        _ => false,
    };
    let mut flags = 0;
    if has_sent && field!(ctx.ops, snd_una) == field!(ctx.ops, snd_nxt) {
        flags |= FIN_ACKED;
    }
    if has_received {
        flags |= FIN_RECEIVED;
    }
    flags
}

#[inline(always)]
fn source(ops: *mut bpf_sock_ops) -> Source {
    let family = field!(ops, family);
    let octets = address!(ops, family, remote_ip4, remote_ip6);
    Source { octets, family }
}

const MINUS_ONE: u64 = u64::MAX;

/// `linux/in.h`, `linux/tcp.h` and `linux/bpf.h`: the bindings leave these out.
const SOL_TCP: i32 = 6;
const TCP_CONGESTION: i32 = 13;
const TCP_NOTSENT_LOWAT: i32 = 25;
const TCP_BPF_IW: i32 = 1001;
