//! One connection to an origin: the unsplit socket and its two buffers. It has them while something is
//! in them, from the pool, which lends them to one connection after another: a small request costs one
//! write, one read and no allocation, and of many connections that wait none holds a buffer.

use std::cell::Cell;
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

/// The buffers that the connections of a pool have in turn.
#[derive(Default)]
pub(super) struct Buffers {
    read: Spare,
    out: Spare,
}

/// One of them, while no connection has it.
#[derive(Default)]
struct Spare(Cell<BytesMut>);

impl Buffers {
    /// Gives their memory back.
    pub(super) fn clear(&self) {
        self.read.0.take();
        self.out.0.take();
    }
}

impl Spare {
    fn lend(&self, buffer: &mut BytesMut) {
        if buffer.capacity() == 0 {
            *buffer = self.0.take();
        }
    }

    /// Takes a buffer in which nothing is, unless it is a large body's.
    fn take_back(&self, buffer: &mut BytesMut) {
        if buffer.is_empty() && (1..=MAX_SPARE).contains(&buffer.capacity()) {
            self.0.set(std::mem::take(buffer));
        }
    }
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

    /// Room for the head of a request.
    pub(super) fn room_for_head(&mut self, buffers: &Buffers) -> &mut BytesMut {
        buffers.out.lend(&mut self.out);
        self.out.reserve(USUAL_HEAD);
        &mut self.out
    }

    /// Gives the buffers back to those that the pool lends, as far as nothing is in them.
    fn leave(&mut self, buffers: &Buffers) {
        buffers.read.take_back(&mut self.read);
        buffers.out.take_back(&mut self.out);
    }

    /// Gives back what a connection between two requests does not need. The size of the last
    /// answers is remembered, so that the next one of that size is read at once.
    pub(super) fn shrink(&mut self, buffers: &Buffers) {
        self.out.clear();
        self.leave(buffers);
        self.read = BytesMut::new();
        self.out = BytesMut::new();
        self.read_size = self.read_size.min(MAX_SPARE);
    }

    /// The body went past the buffers, and the next one may as well: what is read with its head
    /// stays little.
    pub(super) fn bypassed(&mut self) {
        self.read_size = SMALL_READ;
        if self.read.capacity() > SMALL_READ {
            self.read = BytesMut::new();
        }
    }

    /// Forgets how large the last answers were.
    pub(super) fn forget_size(&mut self) {
        self.read_size = SMALL_READ;
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
    pub(super) fn poll_fill(
        &mut self,
        buffers: &Buffers,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        buffers.read.lend(&mut self.read);
        self.make_room();
        let room = (self.read.capacity() - self.read.len()).min(LARGE_READ);
        let mut buffer = (&mut self.read).limit(room);
        let Poll::Ready(count) = pin!(self.io.read_buf(&mut buffer)).poll(cx)? else {
            self.leave(buffers);
            return Poll::Pending;
        };
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

/// A request's head with some ten headers of Herald's.
const USUAL_HEAD: usize = 2 * 1024;

/// The piece in which a large body is handed on.
const LARGE_READ: usize = 64 * 1024;

/// The most bytes that a buffer has which is kept for the next connection.
const MAX_SPARE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn connections_have_one_buffer_in_turn_and_none_while_they_wait() {
        let buffers = Buffers::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut places = Vec::new();
        for _ in 0..3 {
            let (mut origin, near) = tokio::io::duplex(64);
            let mut connection = Connection::new(near);
            connection.room_for_head(&buffers).put_slice(b"head");
            assert!(connection.poll_fill(&buffers, &mut cx).is_pending());
            assert_eq!(&*connection.out, b"head");
            connection.out.clear();
            assert!(connection.poll_fill(&buffers, &mut cx).is_pending());
            assert_eq!(
                (connection.read.capacity(), connection.out.capacity()),
                (0, 0)
            );
            origin.write_all(b"answer").await.unwrap();
            let filled = connection.poll_fill(&buffers, &mut cx);
            assert!(matches!(filled, Poll::Ready(Ok(6))));
            assert_eq!(connection.read.split().freeze(), "answer");
            places.push(connection.room_for_head(&buffers).as_ptr());
            connection.shrink(&buffers);
            assert_eq!(
                (connection.read.capacity(), connection.out.capacity()),
                (0, 0)
            );
        }
        places.dedup();
        assert_eq!(places.len(), 1);
        buffers.clear();
        assert_eq!(
            buffers.read.0.take().capacity() + buffers.out.0.take().capacity(),
            0
        );
    }

    #[tokio::test]
    async fn what_came_stays_with_its_connection() {
        let buffers = Buffers::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut origin, near) = tokio::io::duplex(64);
        let mut connection = Connection::new(near);
        origin.write_all(b"HTTP/1.1 200").await.unwrap();
        assert!(connection.poll_fill(&buffers, &mut cx).is_ready());
        assert!(connection.poll_fill(&buffers, &mut cx).is_pending());
        assert_eq!(&*connection.read, b"HTTP/1.1 200");
        assert_eq!(buffers.read.0.take().capacity(), 0);
    }
}
