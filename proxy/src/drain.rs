//! Graceful stop: one trigger, many watchers; the stop is over when the last watcher is gone.

use tokio::sync::{mpsc, watch};

/// Starts the drain and waits for it. Lives on the control thread.
#[derive(Debug)]
pub struct DrainTrigger {
    signal: watch::Sender<bool>,
    gone: mpsc::Receiver<()>,
}

/// Held by everything that must finish before the process may end.
#[derive(Clone, Debug)]
pub struct DrainWatch {
    signal: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

/// A connected trigger and watch.
pub fn channel() -> (DrainTrigger, DrainWatch) {
    let (signal, watch) = watch::channel(false);
    let (alive, gone) = mpsc::channel(1);
    (
        DrainTrigger { signal, gone },
        DrainWatch {
            signal: watch,
            _alive: alive,
        },
    )
}

impl DrainTrigger {
    /// Tells every watcher to finish.
    pub fn start(&self) {
        self.signal.send_replace(true);
    }

    /// Returns when every watcher has been dropped.
    pub async fn drained(&mut self) {
        // No watcher ever sends; the channel closes with the last one.
        while self.gone.recv().await.is_some() {}
    }
}

impl DrainWatch {
    /// Returns when the drain has started (also when the trigger is gone).
    pub async fn started(&mut self) {
        // An error means that nobody can ask any more: time to go as well.
        drop(self.signal.wait_for(|draining| *draining).await);
    }

    /// Whether [`Self::started`] is worth asking again: a look at a counter.
    pub fn is_asked(&self) -> bool {
        !matches!(self.signal.has_changed(), Ok(false))
    }

    /// Whether the drain has started.
    pub fn is_started(&self) -> bool {
        *self.signal.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_drain_ends_with_its_last_watcher() {
        let (mut trigger, watch) = channel();
        let mut second = watch.clone();
        assert!(!watch.is_started());
        trigger.start();
        second.started().await;
        assert!(watch.is_started());
        drop(watch);
        let mut drained = Box::pin(trigger.drained());
        assert!(futures_poll_pending(&mut drained).await);
        drop(second);
        drained.await;
    }

    async fn futures_poll_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }
}
