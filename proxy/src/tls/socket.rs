//! The client's socket under TLS: a budget of bytes while the handshake lasts, and a close that
//! lingers, so that a client still sending gets to read its answer.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{self, SendAncillaryBuffer, SendFlags};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::telemetry::Wire;

/// See the module's documentation.
#[derive(Debug)]
pub struct ClientSocket {
    tcp: TcpStream,
    /// Bytes the client may still send in its handshake.
    budget: Option<usize>,
    linger: Option<Linger>,
    /// Whether our FIN follows what is written.
    ending: bool,
    /// Counts what passes, where somebody wants to know.
    wire: Option<Rc<Wire>>,
}

/// The time after our FIN: what the client still sends is read and thrown away. Closed with unread
/// bytes, the kernel would answer RST, and the client may lose an answer it has not read yet
/// (RFC 9112 §9.6).
#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    bytes: usize,
}

/// The handshake's budget is used up.
#[derive(Debug, Error)]
#[error("handshake too large")]
pub(super) struct TooLarge;

impl ClientSocket {
    pub(super) fn new(tcp: TcpStream, budget: usize, wire: Option<Rc<Wire>>) -> Self {
        Self {
            tcp,
            budget: Some(budget),
            linger: None,
            ending: false,
            wire,
        }
    }

    /// The handshake is over; from here HTTP has limits of its own.
    pub(super) fn lift_budget(&mut self) {
        self.budget = None;
    }

    /// What is written from here on waits for our FIN and goes with it in one packet (MSG_MORE,
    /// tcp(7)): close_notify is worth none of its own.
    pub(super) fn ends(&mut self) {
        self.ending = true;
    }

    /// Ready when there may be something to read.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.tcp.poll_read_ready(cx).map(drop)
    }

    /// The socket itself. What is written to it from here on is not counted.
    pub fn tcp(&self) -> &TcpStream {
        if let Some(wire) = &self.wire {
            wire.bypassed();
        }
        &self.tcp
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            bufs if self.ending => self.poll_send_more(cx, bufs),
            // One record, as for any small answer: send(2) is the cheaper call.
            [record] => Pin::new(&mut self.tcp).poll_write(cx, record),
            records => Pin::new(&mut self.tcp).poll_write_vectored(cx, records),
        }
    }

    fn poll_send_more(
        &self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            let sent = self.tcp.try_io(Interest::WRITABLE, || {
                let mut nothing = SendAncillaryBuffer::default();
                Ok(net::sendmsg(&self.tcp, bufs, &mut nothing, flags)?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn sent(&self, written: &Poll<io::Result<usize>>) {
        if let (Some(wire), Poll::Ready(Ok(count))) = (&self.wire, written) {
            wire.sent(*count);
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(linger) = &mut self.linger else {
            return Poll::Ready(());
        };
        if linger.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 4096];
        while linger.bytes < LINGER_BYTES_MAX {
            let mut read = ReadBuf::new(&mut scratch);
            // An error is an end as well: the client is gone.
            if ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read)).is_err()
                || read.filled().is_empty()
            {
                break;
            }
            linger.bytes += read.filled().len();
            if let Some(wire) = &self.wire {
                wire.received(read.filled().len());
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if let Some(wire) = &self.wire {
            wire.received(buf.filled().len() - before);
        }
        if let Some(budget) = &mut self.budget {
            match budget.checked_sub(buf.filled().len() - before) {
                Some(rest) => *budget = rest,
                None => return Poll::Ready(Err(io::Error::other(TooLarge))),
            }
        }
        result
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            match ready!(Pin::new(&mut self.tcp).poll_shutdown(cx)) {
                // The client has closed already: that is what was to be reached.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    return Poll::Ready(Ok(()));
                }
                other => other?,
            }
            // A failed handshake has sent its alert; its bytes have had their budget.
            if self.budget.is_some() {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(Linger {
                until: Box::pin(sleep(LINGER_MAX)),
                bytes: 0,
            });
        }
        self.poll_linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.poll_send(cx, bufs);
        self.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

/// How long and how much a client may go on sending after our FIN.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_last_bytes_go_with_the_fin() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        let mut socket = ClientSocket::new(listener.accept().await.unwrap().0, 0, None);
        client.set_nonblocking(true).unwrap();
        socket.ends();
        socket.write_all(b"last ").await.unwrap();
        let both = [io::IoSlice::new(b"by"), io::IoSlice::new(b"tes")];
        assert_eq!(socket.write_vectored(&both).await.unwrap(), 5);
        let mut came = String::new();
        let early = client.read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(early, Err(io::ErrorKind::WouldBlock));
        socket.shutdown().await.unwrap();
        client.set_nonblocking(false).unwrap();
        client.read_to_string(&mut came).unwrap();
        assert_eq!(came, "last bytes");
    }
}
