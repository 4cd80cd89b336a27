//! What one worker records with: its counters and its pens. Single-threaded; a record costs a few
//! copies into a batch, and once in some hundred records or [`FLUSH_AFTER`] a hand-over to the writing
//! thread.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::closing::{Closing, Inbox};
use super::metrics::Board;
use super::pen::Pen;

/// One worker's end of all records.
#[derive(Debug)]
pub struct Ledger {
    /// The worker's counters.
    pub board: Arc<Board>,
    pub(super) access: Option<Rc<Pen>>,
    pub(super) connections: Option<Rc<Pen>>,
    /// Where the kernel tells of the end of connections, and that is written down.
    pub(super) closing: Option<Rc<Closing>>,
    worker: usize,
    connection: Cell<u64>,
}

impl Ledger {
    pub(super) fn new(
        worker: usize,
        board: Arc<Board>,
        access: Option<Rc<Pen>>,
        connections: Option<Rc<Pen>>,
    ) -> Self {
        Self {
            board,
            access,
            connections,
            closing: None,
            worker,
            connection: Cell::new(0),
        }
    }

    /// Has records of connections wait for what the kernel tells by `inbox`.
    pub(super) fn joining(mut self, inbox: Arc<Inbox>) -> Self {
        if self.connections.is_some() {
            let board = Arc::clone(&self.board);
            self.closing = Some(Rc::new(Closing::new(inbox, board)));
        }
        self
    }

    /// A ledger that counts and writes nothing down.
    pub fn silent() -> Rc<Self> {
        Rc::new(Self::new(0, Arc::default(), None, None))
    }

    /// Hands over what is not full, again and again. Never ends; a task of the worker's.
    pub async fn keep_flushing(self: Rc<Self>) {
        let joining = async {
            if let Some(closing) = &self.closing {
                Rc::clone(closing).keep_joining().await;
            }
        };
        tokio::join!(
            keep_flushing(self.access.as_deref()),
            keep_flushing(self.connections.as_deref()),
            joining,
        );
    }

    /// Hands everything over at the worker's end, what the kernel still tells in a moment included.
    pub async fn finish(&self) {
        if let Some(closing) = &self.closing {
            closing.settle().await;
        }
        self.flush();
    }

    /// Hands everything over now.
    pub fn flush(&self) {
        for pen in [&self.access, &self.connections].into_iter().flatten() {
            pen.flush();
        }
    }

    /// A number that no other connection of this process has.
    pub(super) fn next_connection(&self) -> u64 {
        let number = self.connection.get();
        self.connection.set(number.wrapping_add(1));
        // 65536 workers, 2^48 connections of each.
        ((self.worker as u64) << 48) | (number & ((1 << 48) - 1))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.flush();
    }
}

async fn keep_flushing(pen: Option<&Pen>) {
    let Some(pen) = pen else { return };
    loop {
        pen.begun.notified().await;
        tokio::time::sleep(FLUSH_AFTER).await;
        pen.flush();
    }
}

/// A record waits at most this long for others.
pub const FLUSH_AFTER: Duration = Duration::from_millis(100);
