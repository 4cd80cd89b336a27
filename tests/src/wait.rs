//! Waiting for a condition with a deadline. No test sleeps and hopes.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Generous: only a failing test pays it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls `probe` until it answers, and panics with `what` after [`PATIENCE`].
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// Polls `probe` until it answers, and panics with `what` after `limit`.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain: {what}"
        );
        thread::sleep(POLL);
    }
}

/// Polls `probe` until it is content or a second has passed; its last answer.
pub fn settled<T>(mut probe: impl FnMut() -> (bool, T)) -> T {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let (content, answer) = probe();
        if content || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(POLL);
    }
}

const POLL: Duration = Duration::from_millis(5);
