//! All metrics as Prometheus reads them (text exposition format 0.0.4). Values are gathered from
//! the workers' boards when they are asked for.

use super::metrics::{BOUNDS, Board, Counter, OriginState};
use super::reason::{HandshakeFailure, Protocol, Reason, Side, VerdictKind};
use super::{KtlsCounts, Telemetry};
use crate::clock::{self, NANOS_PER_SECOND};

/// The whole page.
pub fn page(telemetry: &Telemetry) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    process(&mut page, telemetry);
    swaps(&mut page, &telemetry.boards);
    connections(&mut page, &telemetry.boards);
    requests(&mut page, &telemetry.boards);
    shadows(&mut page, &telemetry.boards);
    durations(&mut page, &telemetry.boards);
    upstreams(&mut page, &origins(telemetry));
    kernel(&mut page, telemetry);
    ktls(&mut page, &telemetry.ktls.now());
    logs(&mut page, telemetry);
    page.0
}

/// What all workers say of each origin, added up.
pub fn origins(telemetry: &Telemetry) -> Vec<OriginState> {
    let mut sums: Vec<OriginState> = Vec::new();
    for state in telemetry.boards.iter().flat_map(|board| board.origins()) {
        let Some(sum) = sums.iter_mut().find(|sum| sum.label == state.label) else {
            sums.push(state);
            continue;
        };
        // One worker that can't reach it is enough to look at it.
        sum.healthy = match (sum.healthy, state.healthy) {
            (Some(one), Some(other)) => Some(one && other),
            (one, other) => one.or(other),
        };
        sum.idle += state.idle;
        sum.opened += state.opened;
        sum.reused += state.reused;
        sum.retried += state.retried;
        sum.discarded += state.discarded;
    }
    sums
}

/// Sums one counter over all workers.
pub fn total(boards: &[std::sync::Arc<Board>], counter: impl Fn(&Board) -> &Counter) -> u64 {
    boards.iter().map(|board| counter(board).get()).sum()
}

/// As [`total`], for a counter in an array.
pub fn total_at(
    boards: &[std::sync::Arc<Board>],
    counters: impl Fn(&Board) -> &[Counter],
    index: usize,
) -> u64 {
    let at = |board: &std::sync::Arc<Board>| counters(board).get(index).map_or(0, Counter::get);
    boards.iter().map(at).sum()
}

struct Page(String);

impl Page {
    /// Begins a family; its samples follow at once.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0
            .push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            let text = text.replace('\n', "\\n");
            self.0.push_str(&format!("{label}=\"{text}\""));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.0.push_str(&format!(" {value}\n"));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn process(page: &mut Page, telemetry: &Telemetry) {
    let name = "herald_build_info";
    page.family(name, "gauge", "Always 1; the labels say what runs.");
    page.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let uptime = clock::monotonic().saturating_sub(telemetry.started);
    page.single(
        "herald_uptime_seconds",
        "gauge",
        "Time since the start.",
        Seconds(uptime),
    );
    page.single(
        "herald_ready",
        "gauge",
        "1 while new connections are accepted, 0 before and while stopping.",
        u8::from(telemetry.is_ready()),
    );
    let reloads = telemetry.reloads.now();
    page.single(
        "herald_config_generation",
        "gauge",
        "The configuration in force, counted from 1 at the start.",
        reloads.generation,
    );
    page.single(
        "herald_reloads_refused_total",
        "counter",
        "Configurations that were not put in force.",
        reloads.refused,
    );
    page.single(
        "herald_workers",
        "gauge",
        "Worker threads.",
        telemetry.boards.len(),
    );
}

/// What a reload costs those who serve.
fn swaps(page: &mut Page, boards: &[std::sync::Arc<Board>]) {
    let name = "herald_config_swap_seconds";
    page.family(
        name,
        "gauge",
        "The longest that putting another configuration in force has held a worker up.",
    );
    for (index, board) in boards.iter().enumerate() {
        let longest = Seconds(board.swap_longest.get());
        page.sample(name, &[("worker", &index.to_string())], longest);
    }
}

fn connections(page: &mut Page, boards: &[std::sync::Arc<Board>]) {
    let by_worker = |page: &mut Page, name: &str, value: fn(&Board) -> u64| {
        for (index, board) in boards.iter().enumerate() {
            page.sample(name, &[("worker", &index.to_string())], value(board));
        }
    };
    let name = "herald_connections_open";
    page.family(name, "gauge", "Client connections open now.");
    by_worker(page, name, Board::connections_open);
    let name = "herald_connections_total";
    page.family(name, "counter", "Client connections accepted.");
    by_worker(page, name, |board| board.connections_opened.get());
    let name = "herald_handshakes_total";
    page.family(name, "counter", "TLS handshakes completed.");
    let full = total(boards, |board| &board.handshakes_full);
    let resumed = total(boards, |board| &board.handshakes_resumed);
    page.sample(name, &[("kind", "full")], full);
    page.sample(name, &[("kind", "resumed")], resumed);
    let name = "herald_handshakes_failed_total";
    page.family(name, "counter", "TLS handshakes that did not complete.");
    for failure in HandshakeFailure::ALL {
        let count = total_at(boards, |board| &board.handshakes_failed, failure.index());
        page.sample(name, &[("reason", failure.label())], count);
    }
    page.single(
        "herald_client_received_bytes_total",
        "counter",
        "HTTP bytes received from clients, without TLS.",
        total(boards, |board| &board.received_bytes),
    );
    page.single(
        "herald_client_sent_bytes_total",
        "counter",
        "HTTP bytes sent to clients, without TLS.",
        total(boards, |board| &board.sent_bytes),
    );
}

fn requests(page: &mut Page, boards: &[std::sync::Arc<Board>]) {
    let name = "herald_requests_total";
    page.family(
        name,
        "counter",
        "Requests that are over, by class of the status; none: no answer.",
    );
    for protocol in Protocol::ALL {
        for (class, status) in CLASSES.iter().enumerate() {
            let counters = |board: &Board| -> u64 {
                let classes = board.requests.get(protocol.index());
                classes
                    .and_then(|classes| classes.get(class))
                    .map_or(0, Counter::get)
            };
            let count: u64 = boards.iter().map(|board| counters(board)).sum();
            let labels = [("protocol", protocol.label()), ("status", status)];
            page.sample(name, &labels, count);
        }
    }
    let name = "herald_verdicts_total";
    page.family(
        name,
        "counter",
        "Requests by what was concluded about the client certificate.",
    );
    for verdict in VerdictKind::ALL {
        let count = total_at(boards, |board| &board.verdicts, verdict.index());
        page.sample(name, &[("verdict", verdict.label())], count);
    }
    for (side, name, help) in [
        (
            Side::Herald,
            "herald_requests_refused_total",
            "Requests that were refused.",
        ),
        (
            Side::Client,
            "herald_requests_broken_off_total",
            "Requests that the client broke off.",
        ),
        (
            Side::Origin,
            "herald_upstream_errors_total",
            "Requests that the origin did not answer as it should.",
        ),
    ] {
        page.family(name, "counter", help);
        for reason in Reason::ALL.iter().filter(|reason| reason.side() == side) {
            let count = total_at(boards, |board| &board.reasons, reason.index());
            page.sample(name, &[("reason", reason.label())], count);
        }
    }
    page.single(
        "herald_request_body_bytes_total",
        "counter",
        "Bytes of request bodies handed to origins.",
        total(boards, |board| &board.request_body_bytes),
    );
    page.single(
        "herald_response_body_bytes_total",
        "counter",
        "Bytes of response bodies given to clients.",
        total(boards, |board| &board.response_body_bytes),
    );
}

fn shadows(page: &mut Page, boards: &[std::sync::Arc<Board>]) {
    page.single(
        "herald_shadow_denials_total",
        "counter",
        "Requests that a policy in shadow mode would have denied.",
        total(boards, |board| &board.shadow_denials),
    );
}

fn durations(page: &mut Page, boards: &[std::sync::Arc<Board>]) {
    let name = "herald_request_duration_seconds";
    page.family(
        name,
        "histogram",
        "From the head of a request to the end of its answer; resolution 1 to 10 ms.",
    );
    let mut cumulative = 0;
    let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
    for (index, bound) in bounds.enumerate() {
        cumulative += total_at(boards, |board| &board.duration.buckets, index);
        let bucket = format!("{name}_bucket");
        page.sample(&bucket, &[("le", bound)], cumulative);
    }
    let nanos = total(boards, |board| &board.duration.nanos);
    page.sample(&format!("{name}_sum"), &[], Seconds(nanos));
    page.sample(&format!("{name}_count"), &[], cumulative);
}

fn upstreams(page: &mut Page, origins: &[OriginState]) {
    type Value = fn(&OriginState) -> Option<u64>;
    let families: [(&str, &str, &str, Value); 6] = [
        (
            "herald_upstream_healthy",
            "gauge",
            "1 while requests are sent there, 0 while it is left out.",
            |origin| origin.healthy.map(u64::from),
        ),
        (
            "herald_upstream_connections_idle",
            "gauge",
            "Connections to the origin that wait for a request.",
            |origin| Some(origin.idle),
        ),
        (
            "herald_upstream_connections_total",
            "counter",
            "Connections made to the origin.",
            |origin| Some(origin.opened),
        ),
        (
            "herald_upstream_connections_discarded_total",
            "counter",
            "Idle connections closed: expired, ended by the origin, or too many.",
            |origin| Some(origin.discarded),
        ),
        (
            "herald_upstream_requests_total",
            "counter",
            "Requests sent to the origin, repetitions included.",
            |origin| Some(origin.opened + origin.reused),
        ),
        (
            "herald_upstream_retries_total",
            "counter",
            "Requests sent again on a new connection.",
            |origin| Some(origin.retried),
        ),
    ];
    for (name, kind, help, value) in families {
        let samples: Vec<_> = origins
            .iter()
            .filter_map(|origin| Some((&*origin.label, value(origin)?)))
            .collect();
        if !samples.is_empty() {
            page.family(name, kind, help);
        }
        for (label, value) in samples {
            page.sample(name, &[("upstream", label)], value);
        }
    }
}

fn kernel(page: &mut Page, telemetry: &Telemetry) {
    let counts = telemetry.kernel.now();
    if !counts.is_empty() {
        let name = "herald_kernel_decisions_total";
        page.family(name, "counter", "Decisions of the kernel programs (eBPF).");
        for (decision, count) in counts {
            page.sample(name, &[("decision", decision)], count);
        }
        let name = "herald_close_events_total";
        page.family(name, "counter", "Ends of connections told by the kernel.");
        let boards = &telemetry.boards;
        let joined = total(boards, |board| &board.closes_joined);
        let missed = total(boards, |board| &board.closes_missed);
        let unclaimed = total(boards, |board| &board.closes_unclaimed);
        for (outcome, count) in [
            ("joined", joined),
            ("missed", missed),
            ("unclaimed", unclaimed),
        ] {
            page.sample(name, &[("outcome", outcome)], count);
        }
    }
}

fn ktls(page: &mut Page, counts: &KtlsCounts) {
    for (name, help, value) in [
        (
            "herald_ktls_offloads_total",
            "Connections whose encryption the kernel took over.",
            counts.offloads,
        ),
        (
            "herald_ktls_rekeys_total",
            "Keys that were replaced in the kernel.",
            counts.rekeys,
        ),
        (
            "herald_ktls_spliced_bytes_total",
            "Bytes of response bodies that never entered userspace.",
            counts.spliced_bytes,
        ),
        (
            "herald_ktls_unspliced_total",
            "Connections on which splicing was given up for copying.",
            counts.unspliced,
        ),
    ] {
        page.single(name, "counter", help, value);
    }
    if !counts.refusals.is_empty() {
        let name = "herald_ktls_refusals_total";
        page.family(
            name,
            "counter",
            "Connections that were to be handed to the kernel and stayed in userspace.",
        );
        for (reason, count) in &counts.refusals {
            page.sample(name, &[("reason", reason)], count);
        }
    }
}

fn logs(page: &mut Page, telemetry: &Telemetry) {
    let logs = telemetry.logs();
    if !logs.is_empty() {
        let name = "herald_log_records_total";
        page.family(name, "counter", "Records written.");
        for log in &logs {
            page.sample(name, &[("log", log.name)], log.written);
        }
        let name = "herald_log_records_dropped_total";
        page.family(
            name,
            "counter",
            "Records lost: the queue was full, or the file could not be written.",
        );
        for log in &logs {
            page.sample(name, &[("log", log.name)], log.dropped);
        }
    }
    let held_back = telemetry.handshakes.held_back()
        + telemetry.connections.held_back()
        + telemetry.requests.held_back();
    page.single(
        "herald_log_lines_suppressed_total",
        "counter",
        "Lines about peers that the limit per source held back.",
        held_back,
    );
}

/// Nanoseconds, shown in seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / NANOS_PER_SECOND, self.0 % NANOS_PER_SECOND);
        write!(f, "{whole}.{rest:09}")
    }
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
