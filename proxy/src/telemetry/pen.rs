//! One log as one worker writes it: takes whole lines, hands them over to the writing thread in
//! batches. A line costs a copy into the batch; its buffer is used again.

use std::cell::RefCell;

use tokio::sync::Notify;

use super::sink::{BATCH_BYTES, Batch, Queue};
use super::stamp::{Stamp, Stamps};
use crate::clock;
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

    /// An empty line, the time it begins (monotonic nanoseconds), and that as text.
    pub(super) fn line(&self) -> (Vec<u8>, u64, Stamp) {
        let now = clock::monotonic();
        let line = self.spare.borrow_mut().pop().unwrap_or_default();
        (line, now, self.stamps.at(now))
    }

    /// Takes a whole line.
    pub(super) fn write(&self, mut line: Vec<u8>) {
        let mut batch = self.batch.borrow_mut();
        if batch.records == 0 {
            self.begun.notify_one();
        }
        batch.lines.extend_from_slice(&line);
        batch.records += 1;
        if batch.lines.len() >= BATCH_BYTES {
            self.queue.send(&mut batch);
        }
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && line.capacity() <= SPARE_BYTES_MAX {
            line.clear();
            spare.push(line);
        }
    }

    pub(super) fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if batch.records > 0 {
            self.queue.send(&mut batch);
        }
    }
}

/// Empty lines kept, and the largest that is.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 4 * 1024;
