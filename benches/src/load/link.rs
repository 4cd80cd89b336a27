//! One client connection: a socket, TLS over it, and plain bytes in and out.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Poll;
use mio::event::Event;
use mio::net::TcpStream;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::events::{self, BOTH, Found};
use crate::{Failure, tls};

pub(super) struct Link {
    socket: TcpStream,
    tls: ClientConnection,
    readable: bool,
    writable: bool,
    closing: bool,
    ended: bool,
}

impl Link {
    pub(super) fn open(
        poll: &Poll,
        slot: usize,
        to: SocketAddr,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect(to)?;
        poll.registry()
            .register(&mut socket, events::token(slot), BOTH)?;
        Ok(Self {
            socket,
            tls: ClientConnection::new(Arc::clone(config), tls::server_name()?)?,
            readable: false,
            writable: false,
            closing: false,
            ended: false,
        })
    }

    pub(super) fn notice(&mut self, event: &Event) {
        self.readable |= event.is_readable();
        self.closing |= event.is_read_closed();
        if event.is_writable() && !self.writable {
            self.writable = true;
            // Only possible once connected; without it small requests wait for the peer's ACK.
            drop(self.socket.set_nodelay(true));
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !self.tls.is_handshaking()
    }

    pub(super) fn resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The peer has closed; an orderly end as well as a bare FIN.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Reads all there is into `sink`.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while self.readable {
            let found = match events::read(&mut self.socket, scratch, self.closing) {
                // A peer that closes with bytes of ours unread resets; that is an end too.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Found::End,
                other => other?,
            };
            let length = match found {
                Found::End => {
                    self.ended = true;
                    self.readable = false;
                    return Ok(());
                }
                Found::More(length) => length,
                Found::Drained(length) => {
                    self.readable = false;
                    length
                }
            };
            let mut bytes = scratch.get(..length).unwrap_or_default();
            while !bytes.is_empty() {
                self.tls.read_tls(&mut bytes)?;
                let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                self.ended |= state.peer_has_closed();
                let mut left = state.plaintext_bytes_to_read();
                while left > 0 {
                    let mut reader = self.tls.reader();
                    let piece = reader.fill_buf()?;
                    let length = piece.len();
                    sink(piece)?;
                    reader.consume(length);
                    left -= length.min(left);
                }
            }
        }
        Ok(())
    }

    /// Takes as much as is held unsent; how much.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.writer().write(bytes)
    }

    /// Whether more may be given to `write` now.
    pub(super) fn has_room(&self) -> bool {
        self.writable && !self.tls.wants_write()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.writable && self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more will come; the peer is expected to close.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush()?;
        self.socket.shutdown(std::net::Shutdown::Write)
    }
}
