//! The socket as rustls sees it, watched: counts the records that rustls sealed with the keys of
//! application data, so that the kernel can go on with the next sequence number, and their
//! plaintext, so that a record nobody asked for is noticed. Once the kernel seals, what rustls
//! still wants to send is thrown away: its keys are no longer the connection's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A watched socket.
#[derive(Debug)]
pub struct Gate<S> {
    pub(super) socket: S,
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    phase: Phase,
    records: Records,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Records written before the last read used the handshake's keys.
    Handshake,
    Userspace,
    Kernel,
}

/// Records of application data that passed, read off their headers (RFC 8446 §5.2).
#[derive(Debug, Default)]
struct Records {
    sealed: u64,
    plaintext: u64,
    header: [u8; HEADER],
    header_filled: usize,
    body_left: usize,
}

impl<S> Gate<S> {
    /// A gate; where nothing is `watched` it costs a branch.
    pub fn new(socket: S, watched: bool) -> Self {
        Self {
            socket,
            watch: watched.then(|| Watch {
                phase: Phase::Handshake,
                records: Records::default(),
            }),
        }
    }

    /// The socket.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// The socket.
    pub fn socket_ref(&self) -> &S {
        &self.socket
    }

    /// The handshake is complete and flushed: tickets are counted as records, their bytes are not
    /// counted as plaintext. Where nothing will ever be handed over, nothing is `watched` further.
    pub(in crate::tls) fn begin(&mut self, watched: bool) {
        match &mut self.watch {
            Some(watch) if watched => {
                watch.phase = Phase::Userspace;
                watch.records.plaintext = 0;
            }
            _ => self.watch = None,
        }
    }

    /// The number of the next record and the bytes of plaintext so far; `None` inside a record.
    pub(super) fn counted(&self) -> Option<(u64, u64)> {
        let records = &self.watch.as_ref()?.records;
        (records.header_filled == 0 && records.body_left == 0)
            .then_some((records.sealed, records.plaintext))
    }

    /// From here the kernel seals.
    pub(super) fn close(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.phase = Phase::Kernel;
        }
    }

    fn is_closed(&self) -> bool {
        self.watch
            .as_ref()
            .is_some_and(|watch| watch.phase == Phase::Kernel)
    }
}

impl Records {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let here = self.body_left.min(bytes.len());
                self.body_left -= here;
                bytes = bytes.get(here..).unwrap_or_default();
                continue;
            }
            let (Some(slot), Some((byte, rest))) =
                (self.header.get_mut(self.header_filled), bytes.split_first())
            else {
                return;
            };
            *slot = *byte;
            bytes = rest;
            self.header_filled += 1;
            if self.header_filled == HEADER {
                self.end_header();
            }
        }
    }

    fn end_header(&mut self) {
        let [kind, _, _, high, low] = self.header;
        self.header_filled = 0;
        self.body_left = usize::from(u16::from_be_bytes([high, low]));
        if kind == APPLICATION_DATA {
            self.sealed += 1;
            self.plaintext += (self.body_left as u64).saturating_sub(OVERHEAD);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(watch) = &mut self.watch
            && watch.phase == Phase::Handshake
        {
            watch.records.sealed = 0;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_closed() {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        if let (Some(watch), Poll::Ready(Ok(count))) = (&mut self.watch, &polled) {
            watch.records.take(buf.get(..*count).unwrap_or_default());
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_closed() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        if let (Some(watch), Poll::Ready(Ok(count))) = (&mut self.watch, &polled) {
            let mut left = *count;
            for buf in bufs {
                let here = left.min(buf.len());
                watch.records.take(buf.get(..here).unwrap_or_default());
                left -= here;
            }
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

const HEADER: usize = 5;
const APPLICATION_DATA: u8 = 23;
/// The inner type and the tag, the same for all suites of TLS 1.3 that we offer.
const OVERHEAD: u64 = 1 + 16;
