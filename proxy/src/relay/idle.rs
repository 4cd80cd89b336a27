//! The idle deadline of an exchange: bytes move at no cost, silence is measured by one timer that is
//! made with the first wait and looked at when it fires.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How long neither body of an exchange may move.
#[derive(Debug)]
pub struct IdleLimit {
    limit: Duration,
    moved: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleLimit {
    /// A limit of `limit`; what is noticed of silence is between that and twice as long.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            moved: false,
            timer: None,
        }
    }

    /// Something has moved.
    pub fn moved(&mut self) {
        self.moved = true;
    }

    /// Ready when nothing has moved for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        while timer.as_mut().poll(cx).is_ready() {
            if !std::mem::take(&mut self.moved) {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + limit);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn silence_ends_it_and_movement_does_not() {
        let limit = Duration::from_secs(60);
        let mut idle = IdleLimit::new(limit);
        let began = Instant::now();
        for _ in 0..5 {
            let waited = tokio::time::timeout(limit / 2, poll_fn(|cx| idle.poll(cx))).await;
            assert!(waited.is_err());
            idle.moved();
        }
        poll_fn(|cx| idle.poll(cx)).await;
        let silent = began.elapsed() - limit / 2 * 5;
        assert!((limit..=limit * 2).contains(&silent), "{silent:?}");
    }
}
