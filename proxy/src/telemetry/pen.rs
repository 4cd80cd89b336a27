//! One log as one worker writes it: takes records, hands them over to the writing thread in batches.

use std::cell::RefCell;

use tokio::sync::Notify;

use super::batch::Batch;
use super::sink::Queue;
use super::stamp::{Stamp, Stamps};
use crate::config::LogFormat;

/// One log as one worker writes it.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) format: LogFormat,
    queue: Queue,
    batch: RefCell<Batch>,
    /// Buffers of lines that are over, to be used again.
    spare: RefCell<Vec<Vec<u8>>>,
    stamps: Stamps,
    /// A batch was begun.
    pub(super) begun: Notify,
}

impl Pen {
    pub(super) fn new(format: LogFormat, queue: Queue) -> Self {
        Self {
            format,
            queue,
            batch: RefCell::default(),
            spare: RefCell::default(),
            stamps: Stamps::default(),
            begun: Notify::new(),
        }
    }

    /// An empty buffer for a line or a part of one.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// The time `then` as text, where it is `now` (nanoseconds of CLOCK_MONOTONIC both).
    pub(super) fn stamp(&self, then: u64, now: u64) -> Stamp {
        self.stamps.of(then, now)
    }

    /// Takes a whole line.
    pub(super) fn write(&self, line: Vec<u8>) {
        self.add(|batch| batch.line(&line));
        self.give_back(line);
    }

    /// Takes the record that `record` puts into the batch.
    pub(super) fn add(&self, record: impl FnOnce(&mut Batch)) {
        let mut batch = self.batch.borrow_mut();
        if batch.is_empty() {
            self.begun.notify_one();
        }
        record(&mut batch);
        if batch.is_full() {
            self.queue.send(&mut batch);
        }
    }

    /// Keeps a buffer to be used again.
    pub(super) fn give_back(&self, mut line: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && line.capacity() <= SPARE_BYTES_MAX {
            line.clear();
            spare.push(line);
        }
    }

    pub(super) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() {
            self.queue.send(&mut batch);
        }
    }
}

/// Empty lines kept, and the largest that is.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 4 * 1024;
