//! Close events out of the kernel's ring: read on the control thread, handed to the worker that
//! had the connection. The ring wakes its reader once; what comes in the moment after that is
//! read together, so that a busy server pays no wake-up a connection. Bytes that are no event are
//! left out.

use std::io;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use proxy_common::CloseEvent;

use crate::sys::ring;

/// The reader's end of the ring.
pub struct CloseEvents(RingBuf<MapData>);

impl std::fmt::Debug for CloseEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CloseEvents")
    }
}

impl CloseEvents {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Gives the events of each worker to `give`, as they come. Ends with an error alone.
    ///
    /// # Errors
    /// Those of waiting for the ring.
    pub async fn forward(
        self,
        workers: usize,
        give: impl Fn(usize, &mut Vec<CloseEvent>),
    ) -> io::Result<()> {
        let mut ring = ring::watch(self.0)?;
        let mut events: Vec<Vec<CloseEvent>> = (0..workers).map(|_| Vec::new()).collect();
        loop {
            let mut ready = ring.readable_mut().await?;
            tokio::time::sleep(TOGETHER).await;
            // Before it is read: what comes meanwhile wakes again.
            ready.clear_ready();
            while let Some(item) = ready.get_inner_mut().next() {
                let event = CloseEvent::from_bytes(&item);
                let of_worker = event.and_then(|event| {
                    let worker = usize::try_from(event.worker).ok()?;
                    Some((event, events.get_mut(worker)?))
                });
                if let Some((event, of_worker)) = of_worker {
                    of_worker.push(event);
                }
            }
            for (worker, events) in events.iter_mut().enumerate() {
                if !events.is_empty() {
                    give(worker, events);
                    events.clear();
                }
            }
        }
    }
}

/// The ring holds 3,640 events: 145,000 connections a second end before one is lost.
const TOGETHER: Duration = Duration::from_millis(25);
