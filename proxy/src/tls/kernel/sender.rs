//! The sending half of a client's connection: rustls' until a large response comes, then the
//! kernel's, while rustls goes on receiving. The change happens when everything is flushed, between
//! two writes. What TLS sends beside data goes as control records: an alert, close_notify, and the
//! answer to a KeyUpdate, after which the kernel gets the next keys (RFC 8446 §4.6.3, §6, §7.2).

use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ktls_core::ffi::send_tls_control_message;
use ktls_core::{ContentType, setup_ulp};
use rustls::{AlertDescription, ServerConnection};
use tokio::io::{AsyncWrite as _, Interest};
use tokio::net::TcpStream;

use super::gate::Gate;
use super::keys::Keys;
use super::lane::Lane;
use super::{KernelTls, Refusal};
use crate::sys::void;
use crate::tls::socket::ClientSocket;

/// The sending half of a connection that the kernel may take over, or has taken over.
#[derive(Debug)]
pub struct Sender {
    keys: Keys,
    lane: Rc<Lane>,
    is_kernel: bool,
    /// Plaintext that rustls took since the handshake.
    accepted: u64,
    /// Records the kernel has sealed with its present keys, at least.
    sealed: u64,
    control: Option<Control>,
    /// Whether close_notify was queued.
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Control {
    /// A KeyUpdate of ours; new keys follow it.
    KeyUpdate,
    Alert(AlertDescription),
    CloseNotify,
}

impl Sender {
    /// The sending half of a connection whose handshake derived `keys`; `None` if the kernel could
    /// not use them.
    pub fn new(kernel: &Arc<KernelTls>, keys: Keys) -> Option<Box<Self>> {
        if !kernel.ability.seals(keys.suite()) {
            kernel.refuse(Refusal::Cipher, "the kernel lacks the connection's cipher");
            return None;
        }
        Some(Box::new(Self {
            keys,
            lane: Rc::new(Lane::new(Arc::clone(kernel))),
            is_kernel: false,
            accepted: 0,
            sealed: 0,
            control: None,
            is_closing: false,
        }))
    }

    pub(in crate::tls) fn lane(&self) -> Rc<Lane> {
        Rc::clone(&self.lane)
    }

    pub(in crate::tls) fn is_kernel(&self) -> bool {
        self.is_kernel
    }

    /// rustls took so much plaintext.
    pub(in crate::tls) fn took(&mut self, bytes: usize) {
        self.accepted += bytes as u64;
        // A body whose length nobody declared can be large as well.
        if self.accepted >= self.lane.threshold().saturating_mul(2) {
            self.lane.note_large();
        }
    }

    /// After a flush: hands the connection over if somebody wants that.
    pub(in crate::tls) fn hand_over_if_wanted(
        &mut self,
        gate: &mut Gate<ClientSocket>,
        tls: &mut ServerConnection,
    ) {
        if !self.lane.is_wanted() {
            return;
        }
        if let Err((refusal, detail)) = self.hand_over(gate, tls) {
            self.lane.kernel.refuse(refusal, &detail);
            self.lane.refused();
        }
    }

    fn hand_over(
        &mut self,
        gate: &mut Gate<ClientSocket>,
        tls: &mut ServerConnection,
    ) -> Result<(), (Refusal, String)> {
        let because = |refusal| (refusal, String::new());
        if has_output(tls) {
            return Err(because(Refusal::Unflushed));
        }
        let counted = gate.counted();
        let (sequence, plaintext) = counted.ok_or_else(|| because(Refusal::HalfRecord))?;
        if plaintext != self.accepted {
            return Err(because(Refusal::KeysChanged));
        }
        let info = self.keys.for_kernel(sequence);
        let info = info.ok_or_else(|| because(Refusal::NoKeys))?;
        let tcp = gate.socket_ref().tcp();
        setup_ulp(tcp).map_err(|error| (Refusal::Protocol, error.to_string()))?;
        // Without keys the layer passes everything through, so a refusal here changes nothing.
        info.set(tcp).map_err(|error| {
            let detail = format!("{error} (a socket in a sockmap is refused too)");
            (Refusal::Keys, detail)
        })?;
        gate.close();
        self.is_kernel = true;
        self.sealed = sequence;
        self.lane.opened();
        Ok(())
    }

    /// After a read: what rustls would have sent in answer. Its keys are not the connection's any
    /// more, so the record itself is thrown away and sent again through the kernel.
    pub(in crate::tls) fn answer(
        &mut self,
        gate: &Gate<ClientSocket>,
        tls: &mut ServerConnection,
        failure: Option<&rustls::Error>,
        cx: &mut Context<'_>,
    ) {
        let has_output = has_output(tls);
        while tls.wants_write() {
            if tls.write_tls(&mut io::sink()).is_err() {
                break;
            }
        }
        if let Some(alert) = failure.and_then(alert_for) {
            self.control = Some(Control::Alert(alert));
        } else if failure.is_none() && has_output {
            self.refresh();
        }
        // Pending is fine: the socket wakes us, and each write and flush sends it first.
        drop(self.poll_control(gate, cx));
    }

    /// close_notify, once, after what was sent before.
    pub(in crate::tls) fn poll_close(
        &mut self,
        gate: &Gate<ClientSocket>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_control(gate, cx))?;
        if !self.is_closing {
            self.is_closing = true;
            self.control = Some(Control::CloseNotify);
            ready!(self.poll_control(gate, cx))?;
        }
        Poll::Ready(Ok(()))
    }

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
    pub(in crate::tls) fn poll_control(
        &mut self,
        gate: &Gate<ClientSocket>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(control) = self.control {
            let tcp = gate.socket_ref().tcp();
            ready!(tcp.poll_write_ready(cx))?;
            let sent = tcp.try_io(Interest::WRITABLE, || control.send(tcp.as_raw_fd()));
            match sent {
                Ok(()) => {
                    self.control = None;
                    if control == Control::KeyUpdate {
                        self.next_keys(tcp)?;
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

    fn next_keys(&mut self, tcp: &TcpStream) -> io::Result<()> {
        let refused = || io::Error::other("no next keys");
        self.keys.update().ok_or_else(refused)?;
        let info = self.keys.for_kernel(0).ok_or_else(refused)?;
        info.set(tcp).map_err(io::Error::other)?;
        self.sealed = 0;
        self.lane.kernel.counts.rekeyed.add(1);
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

    /// Sends bytes, and what a slice of nothing stands for.
    pub(in crate::tls) fn poll_send(
        &mut self,
        gate: &mut Gate<ClientSocket>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_control(gate, cx))?;
        if self.sealed > RECORDS_END {
            return Poll::Ready(Err(io::Error::other("the keys have sealed all they may")));
        }
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

/// Whether rustls wants to send. The empty write makes it bring out the answer to a KeyUpdate.
fn has_output(tls: &mut ServerConnection) -> bool {
    let written = tls.writer().write(&[]);
    written.is_err() || tls.wants_write()
}

/// The alert that tells the client why we end, unless the failure is its own alert or the socket's.
fn alert_for(failure: &rustls::Error) -> Option<AlertDescription> {
    use rustls::Error;
    match failure {
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

/// The most plaintext of a record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;
/// The least that a spliced record is counted as.
const SMALL_RECORD: usize = 4 * 1024;
/// Half of what AES-GCM allows a key (RFC 8446 §5.5: 2^24.5 records).
const RECORDS_MAX: u64 = 1 << 23;
/// Where a connection that got no new keys and did not end stops.
const RECORDS_END: u64 = 1 << 24;
const WARNING: u8 = 1;
const FATAL: u8 = 2;
