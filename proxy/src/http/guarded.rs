//! A client's stream under three guards: a client that takes nothing of what is written for too
//! long, one whose conduct on the connection is past bearing, and one that has gone while it waited
//! for its answer. Each ends the connection with an error. While writes go through, a guard costs a
//! branch.
//!
//! hyper has the third itself, but it looks by reading, into 8 KiB that it takes for each request
//! since the last one's are still its head's. The stream tells it without.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::Awaited;

/// Why a connection is ended, if it is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Abuse {
    /// More requests broken off than a client may.
    #[error("the client broke off too many requests")]
    Resets,
    /// Nothing of an answer taken for too long.
    #[error("the client takes nothing of its answer")]
    SlowReader,
}

/// Where other parts of a connection say that it must end, and are told what moves on its stream.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    abuse: Cell<Option<Abuse>>,
    /// Whether anything was read since the last request's head, or its body, was complete.
    heard: Cell<bool>,
    /// Whether anything was written that was not flushed.
    unflushed: Cell<bool>,
    /// Whether an HTTP/1.1 client has said all that it has to say and waits for its answer.
    awaits_answer: Cell<bool>,
}

impl Conduct {
    pub(super) fn is_past_bearing(&self, abuse: Abuse) {
        self.abuse.set(Some(abuse));
    }

    pub(super) fn check(&self) -> io::Result<()> {
        match self.abuse.get() {
            None => Ok(()),
            Some(abuse) => Err(io::Error::other(abuse)),
        }
    }

    /// What was read so far is accounted for.
    pub(super) fn quiet(&self) {
        self.heard.set(false);
    }

    /// The client waits for its answer, or does no more.
    pub(super) fn set_awaits_answer(&self, awaits: bool) {
        self.awaits_answer.set(awaits);
    }

    pub(super) fn is_quiet(&self) -> bool {
        !self.heard.get() && !self.unflushed.get()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Guarded<IO> {
    io: IO,
    conduct: Rc<Conduct>,
    /// What was read already by whom the stream was taken from.
    before: Bytes,
    write_timeout: Duration,
    /// Since when the client takes nothing.
    stalled: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<IO: Awaited + Unpin> Guarded<IO> {
    /// An error if the client has gone. hyper flushes whenever it is polled, if it has nothing to write
    /// too.
    fn check_presence(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_gone = self.conduct.awaits_answer.get() && self.poll_gone(cx).is_ready();
        match is_gone {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        }
    }
}

impl<IO> Guarded<IO> {
    pub(super) fn new(io: IO, write_timeout: Duration, conduct: Rc<Conduct>) -> Self {
        Self {
            io,
            conduct,
            before: Bytes::new(),
            write_timeout,
            stalled: None,
            timer: None,
        }
    }

    pub(super) fn into_inner(self) -> IO {
        self.io
    }

    /// Gives back what was read and not used; it is read again first.
    pub(super) fn put_back(&mut self, read: Bytes) {
        // Empty bytes may still hold all of the buffer that they were cut from.
        self.before = match read.is_empty() {
            true => Bytes::new(),
            false => read,
        };
        self.timer = None;
    }

    /// What a write came to: an error, if the client has taken nothing for too long.
    fn watch<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        let deadline = since + self.write_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // The timer is left to run when the client goes on, and looked at when it has fired: no
        // timer is touched while an answer moves.
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::Error::other(Abuse::SlowReader)));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<IO: Read + Unpin> Read for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.conduct.check()?;
        if !self.before.is_empty() {
            let count = self.before.len().min(buf.remaining());
            buf.put_slice(&self.before.split_to(count));
            self.conduct.heard.set(true);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.conduct.heard.set(true);
        }
        read
    }
}

impl<IO: Awaited + Unpin> Awaited for Guarded<IO> {
    fn poll_awaited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.before.is_empty() && self.conduct.check().is_ok() {
            self.io.poll_awaited(cx)
        } else {
            Poll::Ready(())
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.before.is_empty() {
            true => self.io.poll_gone(cx),
            false => Poll::Pending,
        }
    }
}

impl<IO: Write + Awaited + Unpin> Write for Guarded<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.conduct.unflushed.set(true);
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if written.is_pending() {
            self.check_presence(cx)?;
        }
        self.watch(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.conduct.unflushed.set(flushed.is_pending());
        self.check_presence(cx)?;
        self.watch(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conduct.unflushed.set(true);
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(shut, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.conduct.unflushed.set(true);
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        if written.is_pending() {
            self.check_presence(cx)?;
        }
        self.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
