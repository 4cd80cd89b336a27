//! A client's connection at rest: nothing is held for it but its stream, and nothing is done until
//! the client sends something, the connection is to end, or its time is up.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use super::withdrawal::Endings;
use crate::net::Awaited;

/// Why a rest is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Parked {
    /// There is something to do.
    Woken,
    /// The client was silent for as long as it may be.
    TooLong,
}

/// Waits on `io`, at most until then.
pub(super) async fn park<IO: Awaited>(io: &mut IO, endings: &Endings, until: Instant) -> Parked {
    let mut drain = endings.drain.clone();
    let mut draining = pin!(drain.started());
    let mut timer = pin!(sleep_until(until));
    poll_fn(|cx| {
        if io.poll_awaited(cx).is_ready()
            || draining.as_mut().poll(cx).is_ready()
            || endings.withdrawal.poll(cx).is_ready()
        {
            Poll::Ready(Parked::Woken)
        } else {
            timer.as_mut().poll(cx).map(|()| Parked::TooLong)
        }
    })
    .await
}
