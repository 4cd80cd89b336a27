//! A request that holds its worker, for `cargo xtask bench steering` alone.
//!
//! Compiled with `--cfg bench_stall` only, and a test looks that the header's name is nowhere in the
//! binary: a client that could stop a worker would stop everybody else on it.

use std::thread;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// Does nothing for [`HELD`] if the request asks for that, as a call that blocks would.
pub(super) fn hold(headers: &HeaderMap) {
    if headers.contains_key(&ASKED) {
        thread::sleep(HELD);
    }
}

const ASKED: HeaderName = HeaderName::from_static("x-bench-stall");
const HELD: Duration = Duration::from_millis(30);
