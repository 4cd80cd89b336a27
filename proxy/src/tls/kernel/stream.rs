//! The client's stream: rustls until a large response comes, then the kernel for what is sent and
//! rustls still for what is received. The change happens when everything is flushed, between two
//! writes. What TLS sends beside data goes as control records: an alert, close_notify, and the
//! answer to a KeyUpdate, after which the kernel gets the next keys (RFC 8446 §4.6.3, §6, §7.2).

use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ktls_core::ffi::send_tls_control_message;
use ktls_core::{ContentType, setup_ulp};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::gate::Gate;
use super::keys::Keys;
use super::lane::Lane;
use super::{KernelTls, Level, add};
use crate::clock;
use crate::sys::void;
use crate::telemetry::limit::RateLimit;
use crate::tls::socket::ClientSocket;

/// A client's stream after the handshake.
#[derive(Debug)]
pub struct ClientStream {
    tls: TlsStream<Gate<ClientSocket>>,
    /// `None` where the kernel will never have a part in this connection.
    sender: Option<Box<Sender>>,
}

/// The sending half of a connection that the kernel may take over, or has taken over.
#[derive(Debug)]
struct Sender {
    keys: Keys,
    lane: Rc<Lane>,
    is_kernel: bool,
    /// Plaintext that rustls took since the handshake.
    accepted: u64,
    /// Records the kernel has sealed with its present keys, at least.
    sealed: u64,
    control: Option<Control>,
    close_notify: Close,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Control {
    /// A KeyUpdate of ours; new keys follow it.
    KeyUpdate,
    Alert(AlertDescription),
    CloseNotify,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Close {
    Open,
    Queued,
}

impl ClientStream {
    /// A stream after a handshake that derived `keys`.
    pub fn new(
        mut tls: TlsStream<Gate<ClientSocket>>,
        kernel: Option<&Arc<KernelTls>>,
        keys: Option<Keys>,
    ) -> Self {
        let usable = kernel
            .zip(keys)
            .filter(|(kernel, keys)| kernel.ability.seals(keys.suite()));
        let gate = tls.get_mut().0;
        let sender = usable.map(|(kernel, keys)| {
            gate.begin();
            Box::new(Sender {
                keys,
                lane: Rc::new(Lane::new(Arc::clone(kernel))),
                is_kernel: false,
                accepted: 0,
                sealed: 0,
                control: None,
                close_notify: Close::Open,
            })
        });
        if sender.is_none() {
            gate.unwatch();
        }
        Self { tls, sender }
    }

    /// Where a response's body and this stream meet, if the kernel may have a part in it.
    pub fn lane(&self) -> Option<Rc<Lane>> {
        self.sender.as_ref().map(|sender| Rc::clone(&sender.lane))
    }

    /// The socket.
    pub fn socket(&self) -> &ClientSocket {
        self.tls.get_ref().0.socket_ref()
    }

    /// After a flush: hands the connection over if somebody wants that.
    fn try_hand_over(&mut self) {
        let Some(sender) = &mut self.sender else {
            return;
        };
        if !sender.lane.is_wanted() {
            return;
        }
        if let Err(refusal) = hand_over(&mut self.tls, sender) {
            sender.lane.refuse();
            if let Some(suppressed) = REFUSED.permit(clock::unix_now()) {
                tracing::info!(
                    reason = refusal,
                    suppressed,
                    "kernel TLS refused, userspace goes on"
                );
            }
        }
    }

    /// After a read: what rustls would have sent in answer. Its keys are not the connection's any
    /// more, so the record itself is thrown away and sent again through the kernel.
    fn answer(&mut self, failure: Option<&io::Error>, cx: &mut Context<'_>) {
        let Some(sender) = self.sender.as_mut().filter(|sender| sender.is_kernel) else {
            return;
        };
        if let Some(alert) = failure.and_then(alert_for) {
            sender.control = Some(Control::Alert(alert));
        } else if failure.is_none() && has_output(&mut self.tls) {
            sender.refresh();
        }
        if sender.control.is_some() {
            // Pending is fine: the socket wakes us, and each write and flush sends it first.
            drop(sender.poll_control(self.tls.get_ref().0.socket_ref(), cx));
        }
    }
}

impl Sender {
    /// A KeyUpdate is due: to answer the client's, or because the keys have sealed enough.
    fn refresh(&mut self) {
        if self.lane.kernel.ability.rekey {
            self.control.get_or_insert(Control::KeyUpdate);
        } else {
            // The kernel takes no second key (before 6.14). The old one stays good; the connection
            // ends as soon as it may, and a client can do the same at any time.
            self.lane.retire();
        }
    }

    /// Sends what is queued before anything else.
    fn poll_control(
        &mut self,
        socket: &ClientSocket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(control) = self.control {
            let tcp = socket.tcp();
            ready!(tcp.poll_write_ready(cx))?;
            let sent = tcp.try_io(Interest::WRITABLE, || control.send(tcp.as_raw_fd()));
            match sent {
                Ok(()) => {
                    self.control = None;
                    if control == Control::KeyUpdate {
                        self.next_keys(socket)?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.control = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn next_keys(&mut self, socket: &ClientSocket) -> io::Result<()> {
        let refused = || io::Error::other("no next keys");
        self.keys.update().ok_or_else(refused)?;
        let info = self.keys.for_kernel(0).ok_or_else(refused)?;
        info.set(socket.tcp()).map_err(io::Error::other)?;
        self.sealed = 0;
        add(&self.lane.kernel.counts.rekeyed, 1);
        Ok(())
    }

    /// Counts what was sent against the limit on records of one key (RFC 8446 §5.5).
    fn count(&mut self, bytes: usize, record: usize) {
        let before = self.sealed;
        self.sealed += bytes.div_ceil(record) as u64;
        if before < RECORDS_MAX && self.sealed >= RECORDS_MAX {
            self.refresh();
        }
    }

    fn poll_send(
        &mut self,
        gate: &mut Gate<ClientSocket>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_control(gate.socket_ref(), cx))?;
        let plain = bufs.iter().take_while(|buf| !void::holds(buf)).count();
        let (bytes, rest) = bufs.split_at_checked(plain).unwrap_or((bufs, &[]));
        if bytes.iter().any(|buf| !buf.is_empty()) {
            let sent = ready!(Pin::new(gate.socket()).poll_write_vectored(cx, bytes))?;
            self.count(sent, RECORD);
            return Poll::Ready(Ok(sent));
        }
        let Some(moved) = rest.first() else {
            return Poll::Ready(Ok(0));
        };
        let tcp = gate.socket_ref().tcp();
        let sent = ready!(self.lane.poll_drain(cx, tcp, moved.len()))?;
        // The kernel closes a record at the pipe's page boundaries if it must.
        self.count(sent, SMALL_RECORD);
        Poll::Ready(Ok(sent))
    }
}

impl Control {
    fn send(self, socket: i32) -> io::Result<()> {
        let alert = |level, alert: AlertDescription| [level, u8::from(alert)];
        let sent = match self {
            // key_update, one byte, update_not_requested (RFC 8446 §4.6.3).
            Self::KeyUpdate => {
                send_tls_control_message(socket, ContentType::Handshake, &mut [24, 0, 0, 1, 0])
            }
            Self::Alert(why) => {
                send_tls_control_message(socket, ContentType::Alert, &mut alert(FATAL, why))
            }
            Self::CloseNotify => send_tls_control_message(
                socket,
                ContentType::Alert,
                &mut alert(WARNING, AlertDescription::CloseNotify),
            ),
        };
        sent.map(drop)
    }
}

fn hand_over(tls: &mut TlsStream<Gate<ClientSocket>>, sender: &mut Sender) -> Result<(), String> {
    if has_output(tls) {
        return Err("rustls has something to send".to_owned());
    }
    let (gate, _) = tls.get_mut();
    let (sequence, plaintext) = gate.counted().ok_or("a record is half sent")?;
    if plaintext != sender.accepted {
        // A KeyUpdate was answered: rustls' keys are of a later generation than ours.
        return Err("the keys have changed".to_owned());
    }
    let info = sender
        .keys
        .for_kernel(sequence)
        .ok_or("no keys for the kernel")?;
    let tcp = gate.socket_ref().tcp();
    setup_ulp(tcp).map_err(|error| error.to_string())?;
    // Without keys the layer passes everything through, so a refusal here changes nothing.
    info.set(tcp)
        .map_err(|error| format!("{error} (a socket in a sockmap is refused too)"))?;
    gate.close();
    sender.is_kernel = true;
    sender.sealed = sequence;
    sender.lane.opened();
    Ok(())
}

/// Whether rustls wants to send; what it wanted is thrown away once the kernel seals. The empty
/// write makes it bring out the answer to a KeyUpdate.
fn has_output(tls: &mut TlsStream<Gate<ClientSocket>>) -> bool {
    let is_closed = tls.get_ref().0.is_closed();
    let (_, session) = tls.get_mut();
    let written = session.writer().write(&[]);
    let has = written.is_err() || session.wants_write();
    if is_closed {
        while session.wants_write() {
            if session.write_tls(&mut io::sink()).is_err() {
                break;
            }
        }
    }
    has
}

/// The alert that tells the client why we end, unless the failure is its own alert or the socket's.
fn alert_for(failure: &io::Error) -> Option<AlertDescription> {
    use rustls::Error;
    match failure.get_ref()?.downcast_ref::<Error>()? {
        Error::AlertReceived(_) => None,
        Error::DecryptError => Some(AlertDescription::BadRecordMac),
        Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
        Error::InvalidMessage(_) => Some(AlertDescription::DecodeError),
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_) => Some(AlertDescription::UnexpectedMessage),
        _ => Some(AlertDescription::InternalError),
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tls).poll_read(cx, buf);
        if this.sender.is_some() {
            let failure = match &polled {
                Poll::Ready(Err(error)) => Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => None,
            };
            this.answer(failure, cx);
        }
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(sender) = &mut this.sender else {
            return Pin::new(&mut this.tls).poll_write(cx, buf);
        };
        if sender.is_kernel {
            return sender.poll_send(this.tls.get_mut().0, cx, &[IoSlice::new(buf)]);
        }
        let taken = ready!(Pin::new(&mut this.tls).poll_write(cx, buf))?;
        sender.took(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(sender) = &mut this.sender else {
            return Pin::new(&mut this.tls).poll_write_vectored(cx, bufs);
        };
        if sender.is_kernel {
            return sender.poll_send(this.tls.get_mut().0, cx, bufs);
        }
        let taken = ready!(Pin::new(&mut this.tls).poll_write_vectored(cx, bufs))?;
        sender.took(taken);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(sender) = &mut this.sender
            && sender.is_kernel
        {
            return sender.poll_control(this.tls.get_ref().0.socket_ref(), cx);
        }
        ready!(Pin::new(&mut this.tls).poll_flush(cx))?;
        this.try_hand_over();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(sender) = &mut this.sender
            && sender.is_kernel
        {
            ready!(sender.poll_control(this.tls.get_ref().0.socket_ref(), cx))?;
            if sender.close_notify == Close::Open {
                sender.close_notify = Close::Queued;
                sender.control = Some(Control::CloseNotify);
                ready!(sender.poll_control(this.tls.get_ref().0.socket_ref(), cx))?;
            }
        }
        Pin::new(&mut this.tls).poll_shutdown(cx)
    }
}

impl Sender {
    fn took(&mut self, bytes: usize) {
        self.accepted += bytes as u64;
        // A body whose length nobody declared can be large as well.
        if self.lane.kernel.level == Level::Transmit
            && self.accepted >= self.lane.kernel.threshold.saturating_mul(2)
        {
            self.lane.note_large();
        }
    }
}

static REFUSED: RateLimit = RateLimit::new();

/// The most plaintext of a record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;
/// The least that a spliced record is counted as.
const SMALL_RECORD: usize = 4 * 1024;
/// Half of what AES-GCM allows a key (RFC 8446 §5.5: 2^24.5 records).
const RECORDS_MAX: u64 = 1 << 23;
const WARNING: u8 = 1;
const FATAL: u8 = 2;
