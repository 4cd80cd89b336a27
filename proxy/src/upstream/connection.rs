//! One connection to an origin: the unsplit socket and its two buffers, which outlive a request so
//! that a small one costs one write, one read and no allocation.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// A connection to an origin; `S` is an `OriginIo` but for tests.
#[derive(Debug)]
pub(super) struct Connection<S> {
    io: S,
    /// What was read and not yet taken.
    pub(super) read: BytesMut,
    /// Heads and chunk framing to be sent.
    pub(super) out: BytesMut,
    /// How many bytes the next buffer for reading has.
    read_size: usize,
    /// The deadline of the response head. It stays registered from request to request, because
    /// moving a registered one on is cheap and making one is not.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    pub(super) fn new(io: S) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            out: BytesMut::new(),
            read_size: SMALL_READ,
            timer: None,
        }
    }

    /// The socket and what was read from it, for those who go on without HTTP.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.read)
    }

    /// The socket itself, for those who move bytes past the buffers.
    pub(super) fn io(&self) -> &S {
        &self.io
    }

    /// Sets the deadline that [`Self::poll_deadline`] waits for.
    pub(super) fn arm(&mut self, deadline: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
    }

    /// Ready once the deadline has passed; never if none was set.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Gives back what a connection between two requests does not need. The size of the last
    /// answers is remembered, so that the next one of that size is read at once.
    pub(super) fn shrink(&mut self) {
        self.out.clear();
        if self.out.capacity() > MAX_IDLE_BUFFER {
            self.out = BytesMut::new();
        }
        self.read_size = self.read_size.min(MAX_IDLE_BUFFER);
        if self.read.capacity() > MAX_IDLE_BUFFER {
            self.read = BytesMut::new();
        }
    }

    /// The body went past the buffers, and the next one may as well: what is read with its head
    /// stays little.
    pub(super) fn bypassed(&mut self) {
        self.read_size = SMALL_READ;
        if self.read.capacity() > SMALL_READ {
            self.read = BytesMut::new();
        }
    }

    /// Gives back what a connection without work does not need.
    pub(super) fn rest(&mut self) {
        self.read_size = SMALL_READ;
        self.read = BytesMut::new();
        self.out = BytesMut::new();
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Whether nothing has come since the last response: no end of stream, and no bytes that
    /// nobody asked for. The runtime knows that already: a quiet socket costs no system call.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut unsolicited = [0_u8; 1];
        let mut cx = Context::from_waker(Waker::noop());
        // Without `unconstrained` a task at the end of its budget would call any socket quiet.
        let read = tokio::task::unconstrained(self.io.read(&mut unsolicited));
        pin!(read).poll(&mut cx).is_pending()
    }

    /// Reads once; the number of bytes appended to `read`, 0 at the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = (self.read.capacity() - self.read.len()).min(LARGE_READ);
        let mut buffer = (&mut self.read).limit(room);
        let count = ready!(pin!(self.io.read_buf(&mut buffer)).poll(cx))?;
        if count >= room {
            self.read_size = (self.read_size * 4).min(LARGE_READ);
        }
        Poll::Ready(Ok(count))
    }

    /// Takes the buffer's front back if nobody holds what was sliced from it, else begins another.
    /// `BytesMut` alone would let a buffer grow behind the slices taken from it.
    fn make_room(&mut self) {
        if self.read.capacity() - self.read.len() >= self.read_size / 2
            || self.read.try_reclaim(self.read_size)
        {
            return;
        }
        if self.read.is_empty() {
            self.read = BytesMut::with_capacity(self.read_size);
        } else {
            self.read.reserve(self.read_size);
        }
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    /// Writes `out`, then `data`, then `tail`, and consumes what was written. Ready when nothing
    /// is left, here or in a TLS session's buffer.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        tail: &mut &[u8],
    ) -> Poll<io::Result<()>> {
        while !(self.out.is_empty() && data.is_empty() && tail.is_empty()) {
            let io = Pin::new(&mut self.io);
            let slices = [&*self.out, &**data, tail].map(IoSlice::new);
            let count = if data.is_empty() && tail.is_empty() {
                ready!(io.poll_write(cx, &self.out))?
            } else {
                ready!(io.poll_write_vectored(cx, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let rest = consume(&mut self.out, count);
            let rest = consume(data, rest);
            consume(tail, rest);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

/// Drops up to `count` bytes from the front of `buffer`; how many remain to be dropped.
fn consume(buffer: &mut impl Buf, count: usize) -> usize {
    let here = buffer.remaining().min(count);
    buffer.advance(here);
    count - here
}

/// A head and a small body.
const SMALL_READ: usize = 4 * 1024;

/// The piece in which a large body is handed on.
const LARGE_READ: usize = 64 * 1024;

/// The most bytes that each buffer keeps between two requests.
const MAX_IDLE_BUFFER: usize = 16 * 1024;
