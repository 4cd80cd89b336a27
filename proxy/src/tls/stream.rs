//! The client's stream after the handshake: rustls's connection over the client's socket, as HTTP
//! reads and writes it. Large bodies are moved in large steps: ciphertext is read up to 384 KiB at a
//! time while an upload lasts (rustls alone reads 4 KiB), and plaintext is handed to rustls in pieces.
//! From a hand-over to the kernel on (`kernel.rs`) plaintext goes to the socket as it is.
//! Nothing but rustls's own few KiB is held while the connection is idle.

use std::io::{self, IoSlice, Write as _};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::kernel::{Gate, Lane, Sender};
use super::socket::ClientSocket;
use crate::net::{Awaited, HalfClose};

#[cfg(test)]
mod tests;

/// See the module's documentation.
#[derive(Debug)]
pub struct ClientStream {
    socket: Gate<ClientSocket>,
    /// Boxed, for a kibibyte would be moved with the stream otherwise.
    tls: Box<ServerConnection>,
    /// `None` where the kernel will never have a part in this connection.
    sender: Option<Box<Sender>>,
    /// Ciphertext that rustls has not taken yet. Empty and without memory but in an upload.
    incoming: BytesMut,
    /// Bytes that the next read takes while the client sends so much that large reads pay, else 0.
    upload_read: usize,
    /// What is wrong with the ciphertext behind plaintext that was handed on.
    broken: Option<io::Error>,
    /// Whether the client has said, by close_notify, that nothing more comes of it.
    ended: bool,
    /// Whether all that rustls has to send is a session ticket, which waits for company.
    holds_ticket: bool,
}

impl ClientStream {
    /// Takes a connection whose handshake is complete.
    pub(super) fn new(
        mut socket: Gate<ClientSocket>,
        tls: ServerConnection,
        sender: Option<Box<Sender>>,
    ) -> Self {
        socket.begin(sender.is_some());
        Self {
            socket,
            holds_ticket: tls.wants_write(),
            tls: Box::new(tls),
            sender,
            incoming: BytesMut::new(),
            upload_read: 0,
            broken: None,
            ended: false,
        }
    }

    /// Where a response's body and this stream meet, if the kernel may have a part in it.
    pub fn lane(&self, is_http1: bool) -> Option<Rc<Lane>> {
        let lane = self.sender.as_ref()?.lane();
        lane.speaks(is_http1);
        Some(lane)
    }

    /// The half that the kernel has taken over.
    fn kernel(&mut self) -> Option<(&mut Sender, &mut Gate<ClientSocket>)> {
        let sender = self.sender.as_mut().filter(|sender| sender.is_kernel())?;
        Some((sender, &mut self.socket))
    }

    /// Copies plaintext that rustls has ready; whether there was any, or a clean end.
    fn take_plaintext(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let mut taken = false;
        while buf.remaining() > 0 {
            let chunk = match self.tls.reader().into_first_chunk() {
                Ok([]) => {
                    self.ended = true;
                    return Ok(true);
                }
                Ok(chunk) => chunk,
                Err(error) if taken || error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let count = chunk.len().min(buf.remaining()).min(COPY_MAX);
            buf.put_slice(chunk.get(..count).unwrap_or_default());
            io::BufRead::consume(&mut self.tls.reader(), count);
            taken = true;
        }
        Ok(taken)
    }

    /// Gives rustls more ciphertext, from what was read before or from the socket.
    fn poll_ciphertext(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        if self.incoming.is_empty() && self.upload_read > 0 {
            ready!(self.poll_fill(cx))?;
        }
        if !self.incoming.is_empty() {
            return Poll::Ready(self.decrypt_incoming(cx));
        }
        let mut socket = Socket(&mut self.socket, cx);
        let count = match self.tls.read_tls(&mut socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            other => other?,
        };
        self.upload_read = after_read(count);
        Poll::Ready(self.decrypt(cx))
    }

    fn decrypt_incoming(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let count = self.tls.read_tls(&mut Pieces(&self.incoming))?;
        if count == 0 {
            // After close_notify rustls takes no more: what follows it is not looked at.
            self.incoming = BytesMut::new();
        }
        self.incoming.advance(count);
        self.decrypt(cx)
    }

    fn decrypt(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let processed = self.tls.process_new_packets();
        if let Some(sender) = self.sender.as_mut().filter(|sender| sender.is_kernel()) {
            let failure = processed.as_ref().err();
            sender.answer(&self.socket, &mut self.tls, failure, cx);
        } else if processed.is_err() || self.tls.wants_write() && !self.holds_ticket {
            // An alert, or the answer to a KeyUpdate. If the socket is full it goes with the next
            // write; a reader does not wait for that.
            drop(self.poll_write_tls(cx));
        }
        match processed {
            Ok(_state) => Ok(()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    /// One large read. At a pause or at the end of an upload the memory is given back.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.reserve(self.upload_read);
        let read = pin!(self.socket.read_buf(&mut self.incoming)).poll(cx);
        self.upload_read = match read {
            Poll::Ready(Ok(count)) => after_read(count),
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        read.map_ok(|_count| ())
    }

    fn poll_write_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.holds_ticket = false;
        poll_write_tls(&mut self.socket, &mut self.tls, cx)
    }

    /// The client says nothing more for now: what was to go with an answer goes alone.
    fn send_tickets(&mut self, cx: &mut Context<'_>) {
        if self.tls.wants_write() && self.kernel().is_none() {
            // An error shows when something is written or read again.
            drop(self.poll_write_tls(cx));
        }
    }
}

/// Sends what rustls has encrypted; ready when nothing of it is left.
pub(super) fn poll_write_tls(
    socket: &mut Gate<ClientSocket>,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        match tls.write_tls(&mut Socket(socket, cx)) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 && !self.take_plaintext(buf)? {
            let Poll::Ready(read) = self.poll_ciphertext(cx) else {
                self.send_tickets(cx);
                return Poll::Pending;
            };
            read?;
        }
        // What was read with it and costs no system call.
        while buf.remaining() > 0 && !self.incoming.is_empty() && self.broken.is_none() {
            if let Err(error) = self.decrypt_incoming(cx) {
                self.broken = Some(error);
            }
            self.take_plaintext(buf)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Awaited for ClientStream {
    fn poll_awaited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_plaintext = match self.tls.reader().into_first_chunk() {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(_) => true,
        };
        if has_plaintext || self.broken.is_some() || !self.incoming.is_empty() {
            return Poll::Ready(());
        }
        self.socket.socket_ref().poll_read_ready(cx)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.tls.reader().into_first_chunk() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok([]) | Err(_) => return Poll::Ready(()),
                Ok(_) => return Poll::Pending,
            }
            if self.incoming.is_empty() && self.broken.is_none() {
                ready!(self.socket.socket_ref().poll_read_ready(cx));
            }
            if ready!(self.poll_ciphertext(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }
}

impl HalfClose for ClientStream {
    fn poll_half_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sent once, however often it is asked for; the TCP connection stays open both ways.
        if let Some((sender, gate)) = self.kernel() {
            return sender.poll_close(gate, cx);
        }
        self.tls.send_close_notify();
        ready!(self.poll_write_tls(cx))?;
        self.poll_flush(cx)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some((sender, gate)) = self.kernel() {
            return sender.poll_send(gate, cx, bufs);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let count = split(bufs, &mut pieces);
        let pieces = pieces.get(..count).unwrap_or_default();
        if pieces.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Twice: rustls may have been full, and has room once it was emptied.
        for _ in 0..2 {
            let taken = self.tls.writer().write_vectored(pieces)?;
            match self.poll_write_tls(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // rustls was full and still is.
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Ready(Ok(())) if taken == 0 => {}
                Poll::Pending | Poll::Ready(Ok(())) => {
                    if let Some(sender) = &mut self.sender {
                        sender.took(taken);
                    }
                    return Poll::Ready(Ok(taken));
                }
            }
        }
        // It takes nothing more, as at the end of its keys.
        Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some((sender, gate)) = self.kernel() {
            return sender.poll_control(gate, cx);
        }
        if self.ended && self.holds_ticket {
            // It goes with the answer that is due, or with our close_notify.
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write_tls(cx))?;
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        let this = &mut *self;
        if let Some(sender) = &mut this.sender {
            sender.hand_over_if_wanted(&mut this.socket, &mut this.tls);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some((sender, gate)) = self.kernel() {
            ready!(sender.poll_close(gate, cx))?;
        }
        self.tls.send_close_notify();
        self.socket.socket().ends();
        ready!(self.poll_write_tls(cx))?;
        if self.ended {
            // Nothing that comes now could be lost: close(2) sends the FIN, with what waits for it.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// What the next read of an upload has room for, after one of `count` bytes: who sends little at a time
/// gets no large buffer.
const fn after_read(count: usize) -> usize {
    if count < RUSTLS_READ {
        0
    } else if count < UPLOAD_READ {
        UPLOAD_READ
    } else {
        UPLOAD_READ_FAST
    }
}

/// Cuts buffers into pieces of at most [`COPY_MAX`]; how many of `pieces` were used.
fn split<'a>(bufs: &'a [IoSlice<'_>], pieces: &mut [IoSlice<'a>]) -> usize {
    let cut = bufs.iter().flat_map(|buf| buf.chunks(COPY_MAX));
    let mut count = 0;
    for (place, piece) in pieces.iter_mut().zip(cut) {
        *place = IoSlice::new(piece);
        count += 1;
    }
    count
}

/// Bytes at hand, copied in small pieces.
struct Pieces<'a>(&'a [u8]);

impl io::Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buf.len());
        let (taken, rest) = self.0.split_at(count);
        for (to, from) in buf.chunks_mut(COPY_MAX).zip(taken.chunks(COPY_MAX)) {
            to.get_mut(..from.len())
                .unwrap_or_default()
                .copy_from_slice(from);
        }
        self.0 = rest;
        Ok(count)
    }
}

/// The socket as rustls wants it: blocking in form, `WouldBlock` in place of `Pending`.
pub(super) struct Socket<'a, 'c, 'w>(
    pub(super) &'a mut Gate<ClientSocket>,
    pub(super) &'c mut Context<'w>,
);

impl io::Read for Socket<'_, '_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.0).poll_read(self.1, &mut buf) {
            Poll::Ready(result) => result.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl io::Write for Socket<'_, '_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.0).poll_write(self.1, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.0).poll_write_vectored(self.1, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Pin::new(&mut *self.0).poll_flush(self.1))
    }
}

fn blocking<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// The most that one copy moves. glibc copies more with `rep movsb`, which on AMD Zen 3 and 4 is
/// several times slower when the target is not aligned, and behind a record's header it never is
/// (glibc bug 30994). A 64 MiB download spent a third of its time there.
const COPY_MAX: usize = 2 * 1024;
/// Pieces handed to rustls at once: its buffer of 64 KiB, and some for small slices between.
const PIECES_MAX: usize = 36;
/// What rustls asks of a reader at a time (0.23).
const RUSTLS_READ: usize = 4 * 1024;
/// What an upload is read in. Of one that is fast 384 KiB took a fifth less CPU time than 128: fewer
/// reads, and fewer wake-ups of who is at either end. 512 changed nothing more.
const UPLOAD_READ: usize = 64 * 1024;
const UPLOAD_READ_FAST: usize = 384 * 1024;
