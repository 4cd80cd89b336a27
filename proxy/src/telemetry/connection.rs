//! One record a client connection: what its handshake agreed on, who called, what was moved and
//! how it ended. Made when it is accepted, written when it is dropped.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use super::batch::Places;
use super::closing::{Watched, Wire};
use super::fields::{Fields, name};
use super::identity::Identity;
use super::ledger::Ledger;
use super::metrics::bump;
use super::pen::Pen;
use super::reason::{ConnectionEnd, HandshakeFailure, Protocol};
use crate::clock;

/// A client connection, as all records about it see it.
#[derive(Debug)]
pub struct Scope {
    ledger: Rc<Ledger>,
    /// The fields that every record of the connection begins with.
    pub(super) rendered: Arc<[u8]>,
    /// Where they, and the caller's, were in the last batch.
    pub(super) places: Cell<Places>,
    protocol: Cell<Protocol>,
    requests: Cell<u64>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// What had been received when the last request began, or was over.
    received_before: Cell<u64>,
}

/// What a handshake agreed on, for the record.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// `TLSv1_3`
    pub version: Option<&'static str>,
    /// `TLS13_AES_128_GCM_SHA256`
    pub cipher: Option<&'static str>,
    /// The name the client asked for.
    pub server_name: Option<String>,
    /// What ALPN chose.
    pub protocol: Protocol,
    /// Whether a session was resumed.
    pub resumed: bool,
}

/// The record of one connection.
#[derive(Debug)]
pub struct ConnectionRecord {
    scope: Rc<Scope>,
    begun: u64,
    /// How long the handshake took; 0 until it is complete.
    handshake: u64,
    /// Fields that were rendered while the connection lasted, where it is written down.
    line: RefCell<Vec<u8>>,
    failure: Cell<Option<HandshakeFailure>>,
    end: Cell<ConnectionEnd>,
    /// Where the kernel will tell of the end as well.
    watched: Option<Watched>,
}

impl Scope {
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol.get()
    }

    pub(super) fn begin_request(&self) {
        self.requests.set(self.requests.get() + 1);
        self.received_before.set(self.received.get());
    }

    pub(super) fn end_request(&self) {
        self.received_before.set(self.received.get());
    }

    /// Bytes of HTTP that came from the client.
    pub fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
        self.ledger.board.received_bytes.add(bytes);
    }

    /// Bytes of HTTP that went to the client.
    pub fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
        self.ledger.board.sent_bytes.add(bytes);
    }

    /// Whether anything has come since the last request was over: on HTTP/1.1, a head has begun.
    pub fn has_begun_another(&self) -> bool {
        self.received.get() > self.received_before.get()
    }
}

impl ConnectionRecord {
    /// Begins the record of a connection that was just accepted.
    pub fn begin(ledger: &Rc<Ledger>, client: SocketAddr) -> Self {
        ledger.board.connections_opened.add(1);
        let number = ledger.next_connection();
        let pens = [&ledger.access, &ledger.connections];
        let mut rendered = Vec::new();
        if let Some(pen) = pens.into_iter().flatten().next() {
            let mut fields = Fields::new(&mut rendered, pen.format);
            let client = client.to_string();
            fields.bytes(name!("client"), client.as_bytes(), client.len());
            fields.number(name!("connection"), number);
        }
        let scope = Scope {
            ledger: Rc::clone(ledger),
            rendered: rendered.into(),
            places: Cell::default(),
            protocol: Cell::new(Protocol::Http1),
            requests: Cell::new(0),
            received: Cell::new(0),
            sent: Cell::new(0),
            received_before: Cell::new(0),
        };
        Self {
            scope: Rc::new(scope),
            begun: clock::monotonic(),
            handshake: 0,
            line: RefCell::default(),
            failure: Cell::new(None),
            end: Cell::new(ConnectionEnd::Stopped),
            watched: None,
        }
    }

    /// Has the record wait for what the kernel tells of the end of `socket`, where it does; what
    /// counts the bytes on the wire meanwhile.
    pub fn watch(&mut self, socket: impl AsFd) -> Option<Rc<Wire>> {
        self.scope.ledger.closing.as_ref()?;
        // Without a cookie the record is written as if no program were attached.
        let cookie = rustix::net::sockopt::socket_cookie(socket).ok()?;
        let wire = Rc::<Wire>::default();
        self.watched = Some(Watched {
            cookie,
            wire: Rc::clone(&wire),
        });
        Some(wire)
    }

    /// What records of its requests need.
    pub fn scope(&self) -> &Rc<Scope> {
        &self.scope
    }

    /// The handshake is complete.
    pub fn agreed(&mut self, agreed: &Agreed, identity: &Identity) {
        let board = &self.scope.ledger.board;
        match agreed.resumed {
            true => board.handshakes_resumed.add(1),
            false => board.handshakes_full.add(1),
        }
        self.scope.protocol.set(agreed.protocol);
        self.handshake = clock::monotonic().saturating_sub(self.begun).max(1);
        let Some(pen) = &self.scope.ledger.connections else {
            return;
        };
        let mut line = self.line.borrow_mut();
        let mut fields = Fields::new(&mut line, pen.format);
        let words = [
            (name!("tls"), agreed.version),
            (name!("cipher"), agreed.cipher),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                fields.word(name, word);
            }
        }
        if let Some(server_name) = &agreed.server_name {
            fields.bytes(
                name!("server_name"),
                server_name.as_bytes(),
                SERVER_NAME_MAX,
            );
        }
        fields.word(name!("alpn"), agreed.protocol.label());
        fields.flag(name!("resumed"), agreed.resumed);
        identity.append_to(&mut fields);
    }

    /// The handshake failed.
    pub fn handshake_failed(&self, failure: HandshakeFailure) {
        bump(&self.scope.ledger.board.handshakes_failed, failure.index());
        self.failure.set(Some(failure));
        self.end.set(ConnectionEnd::HandshakeFailed);
    }

    /// How it ended.
    pub fn ended(&self, end: ConnectionEnd) {
        self.end.set(end);
    }

    fn write(&self, pen: &Rc<Pen>) {
        let now = clock::monotonic();
        let mut line = pen.buffer();
        let mut fields = Fields::new(&mut line, pen.format);
        fields.begin(&pen.stamp(now, now));
        fields.word(name!("event"), "connection");
        fields.rendered(&self.scope.rendered);
        fields.rendered(&self.line.borrow());
        if self.handshake > 0 {
            fields.seconds(name!("handshake_seconds"), self.handshake);
        }
        if let Some(failure) = self.failure.get() {
            fields.word(name!("reason"), failure.label());
        }
        fields.number(name!("requests"), self.scope.requests.get());
        fields.number(name!("bytes_in"), self.scope.received.get());
        fields.number(name!("bytes_out"), self.scope.sent.get());
        fields.seconds(name!("seconds"), now.saturating_sub(self.begun));
        fields.word(name!("end"), self.end.get().label());
        if let (Some(watched), Some(closing)) = (&self.watched, &self.scope.ledger.closing) {
            return closing.finish(watched, line, pen);
        }
        fields.end();
        pen.write(line);
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        let board = &self.scope.ledger.board;
        board.connections_closed.add(1);
        if let Some(pen) = &self.scope.ledger.connections {
            self.write(pen);
        }
    }
}

/// RFC 1035 §2.3.4 ends names at 255 bytes.
const SERVER_NAME_MAX: usize = 255;
