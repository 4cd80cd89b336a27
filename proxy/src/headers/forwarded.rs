//! What an origin is told of the way a request came: `X-Forwarded-*`, `Forwarded` (RFC 7239) and
//! `X-Request-Id`. The client's part is rendered once a connection; a request copies it.
//!
//! What a peer claims of earlier hops is dropped unless its address is trusted: then the lists are
//! appended to, and what is no list is kept.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::HeaderMap;

use crate::http::request::RequestHead;
use crate::net::Network;
use crate::telemetry::request_id::{RequestId, RequestIds};

/// Which of these fields an application's origin gets, and whose claims are believed.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// `Forwarded`.
    pub forwarded: bool,
    /// `X-Request-Id`.
    pub request_id: bool,
    /// Peers whose claims about earlier hops are kept.
    pub trusted: Vec<Network>,
}

impl Forwarding {
    /// The hop that a connection from `client` is.
    pub fn hop(&self, client: IpAddr) -> ClientHop {
        let address = client.to_string();
        // RFC 7239 §6.1: an IPv6 address is bracketed, and so quoted.
        let forwarded = match client {
            IpAddr::V4(_) => format!("for={address};proto=https;host=\""),
            IpAddr::V6(_) => format!("for=\"[{address}]\";proto=https;host=\""),
        };
        ClientHop {
            trusted: self.trusted.iter().any(|network| network.contains(client)),
            address: self.x_forwarded.then(|| address.into()),
            forwarded: self.forwarded.then(|| forwarded.into()),
            request_id: self.request_id,
        }
    }
}

/// What one connection adds to its requests.
#[derive(Debug)]
pub struct ClientHop {
    /// Whether what the peer says of earlier hops is kept.
    trusted: bool,
    /// The client's address, where `X-Forwarded-*` is told.
    address: Option<Box<str>>,
    /// This hop's element of `Forwarded` up to the host, where it is told.
    forwarded: Option<Box<str>>,
    request_id: bool,
}

/// Takes fields one after the other, each value in pieces: how a head is written without a copy.
pub trait FieldSink {
    /// A field begins.
    fn begin(&mut self, name: &'static str);
    /// The next piece of its value.
    fn piece(&mut self, bytes: &[u8]);
    /// The field ends.
    fn end(&mut self);
}

/// HTTP/1.1 field lines.
impl FieldSink for BytesMut {
    fn begin(&mut self, name: &'static str) {
        self.put_slice(name.as_bytes());
        self.put_slice(b": ");
    }

    fn piece(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }

    fn end(&mut self) {
        self.put_slice(b"\r\n");
    }
}

impl ClientHop {
    /// The id of a request with these headers: a trusted peer's, or the next of Herald's own.
    pub fn request_id(&self, headers: &HeaderMap, own: &RequestIds) -> RequestId {
        self.trusted
            .then(|| {
                let mut given = headers.get_all(REQUEST_ID).iter();
                let first = given.next().filter(|_| given.next().is_none())?;
                RequestId::given(first)
            })
            .flatten()
            .unwrap_or_else(|| own.next())
    }

    /// Whether the peer's claims about earlier hops are kept.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether a trusted peer's field of this lower-case name is written by [`Self::put`] and so
    /// not copied.
    pub(super) fn rewrites(&self, name: &[u8]) -> bool {
        match name {
            b"x-forwarded-for" => self.address.is_some(),
            b"forwarded" => self.forwarded.is_some(),
            b"x-request-id" => self.request_id,
            _ => false,
        }
    }

    /// Gives the fields of the request `head` with this `id`; `kept` tells whether an incoming
    /// field of a name travels, which a `Connection` line may have ended.
    pub(super) fn put(
        &self,
        head: &RequestHead,
        id: &RequestId,
        kept: impl Fn(&str) -> bool,
        sink: &mut impl FieldSink,
    ) {
        let earlier = |name: &'static str| {
            let lines = (self.trusted && kept(name)).then(|| head.headers().get_all(name).iter());
            lines.into_iter().flatten()
        };
        if let Some(address) = &self.address {
            put_list(sink, FOR, earlier(FOR), &[address.as_bytes()]);
            if earlier(PROTO).next().is_none() {
                put_list(sink, PROTO, [].iter(), &[b"https"]);
            }
            if earlier(HOST).next().is_none() {
                put_list(sink, HOST, [].iter(), &[head.authority()]);
            }
        }
        if let Some(element) = &self.forwarded {
            // An authority has no byte that a quoted string would have to escape.
            let own: [&[u8]; 3] = [element.as_bytes(), head.authority(), b"\""];
            put_list(sink, FORWARDED, earlier(FORWARDED), &own);
        }
        if self.request_id {
            put_list(sink, REQUEST_ID, [].iter(), &[id.as_bytes()]);
        }
    }
}

/// One field: what `earlier` hops said, then our own value, in pieces.
fn put_list<'a>(
    sink: &mut impl FieldSink,
    name: &'static str,
    earlier: impl Iterator<Item = &'a http::HeaderValue>,
    own: &[&[u8]],
) {
    sink.begin(name);
    for value in earlier.filter(|value| !value.is_empty()) {
        sink.piece(value.as_bytes());
        sink.piece(b", ");
    }
    for piece in own {
        sink.piece(piece);
    }
    sink.end();
}

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const FORWARDED: &str = "forwarded";
/// The field that carries a request's id.
pub const REQUEST_ID: &str = "x-request-id";

#[cfg(test)]
mod tests;
