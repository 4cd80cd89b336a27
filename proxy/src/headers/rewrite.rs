//! `Outbound`: a request that may be sent to an origin. It can only be made here, from a checked
//! head and a permit, and it gives out headers only through the filter that strips and injects,
//! so no other stage can forward a header the client forged.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Version};

use super::Refusal;
use super::block::HeaderBlock;
use super::forwarded::{ClientHop, FieldSink};
use super::hop::HopList;
use super::names::{Hygiene, is_connection_field};
use super::xfcc::Forwarded;
use crate::http::Upgrades;
pub use crate::http::request::Framing;
use crate::http::request::RequestHead;
use crate::policy::Permit;
use crate::telemetry::RequestId;

/// The way a request came: through which connection, and under which id.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The client's connection.
    pub hop: &'a ClientHop,
    /// The request's id.
    pub id: &'a RequestId,
}

/// A cleaned request with Herald's own headers, ready for `upstream`.
#[derive(Debug)]
pub struct Outbound<'a> {
    head: RequestHead,
    hop: HopList,
    hygiene: &'a Hygiene,
    block: &'a HeaderBlock,
    way: Way<'a>,
    /// Of a trusted forwarder that says of its own client's certificate.
    forwarded: Option<Appended<'a>>,
    /// The protocol that the origin is asked to switch to.
    upgrade: Option<&'a str>,
}

/// The value of `x-forwarded-client-cert` that is sent for a trusted forwarder.
#[derive(Debug)]
struct Appended<'a> {
    /// What the forwarder says.
    before: Box<[u8]>,
    /// What Herald says.
    behind: &'a [u8],
    /// The place of the value in the block's lines.
    span: Range<usize>,
}

impl<'a> Outbound<'a> {
    /// Cleans `head` and adds `block`. The permit is spent: one request, one decision.
    pub fn new(
        head: RequestHead,
        _permit: Permit,
        hygiene: &'a Hygiene,
        block: &'a HeaderBlock,
        way: Way<'a>,
    ) -> Result<Self, Refusal> {
        let hop = HopList::of_request(head.headers(), hygiene)?;
        Ok(Self {
            head,
            hop,
            hygiene,
            block,
            way,
            forwarded: None,
            upgrade: None,
        })
    }

    /// Sends what the caller says of its own client on, before what Herald says of the caller, whose
    /// certificate verified and is a trusted forwarder's.
    ///
    /// # Errors
    /// What it says can't be read, or Herald's own element is too large to be sent.
    pub fn append_to_forwarded(&mut self) -> Result<(), Refusal> {
        let Some(element) = &self.block.element else {
            return Ok(());
        };
        if let Some(Forwarded { format, before }) = Forwarded::read(self.head.headers())? {
            let behind = element.behind(format).ok_or(Refusal::ForwardedTooLong)?;
            self.forwarded = Some(Appended {
                before,
                behind,
                span: element.span.clone(),
            });
        }
        Ok(())
    }

    /// Passes on the request's question for another protocol, if it is a valid one for a protocol
    /// in `listed`: on HTTP/1.1, a GET without a body, and `upgrade` among the options of
    /// `Connection` (RFC 9110 §7.8). Any other question is left out, as if nobody had asked.
    pub fn ask_upgrade(&mut self, listed: &'a Upgrades) {
        let head = &self.head;
        // In this order an ordinary request costs one look at an empty list.
        if self.hop.names(b"upgrade")
            && head.version() == Version::HTTP_11
            && head.method() == Method::GET
            && head.framing() == Framing::None
        {
            self.upgrade = listed.asked(head.headers());
        }
    }

    /// The protocol that the origin is asked to switch to.
    pub fn upgrade(&self) -> Option<&'a str> {
        self.upgrade
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        self.head.method()
    }

    /// How the request's body will be framed.
    pub fn framing(&self) -> Framing {
        self.head.framing()
    }

    /// Appends the whole HTTP/1.1 head (request line, headers, framing, empty line) to `out`.
    /// Nothing is allocated but the growth of `out`.
    pub fn write_http1_head(&self, out: &mut BytesMut) {
        let head = &self.head;
        out.put_slice(head.method().as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(head.target());
        out.put_slice(b" HTTP/1.1\r\n");
        put_field(out, b"host", head.authority());
        let mut seen = Seen::default();
        for (name, value) in head.headers() {
            seen.te |= name == header::TE;
            seen.trailer |= name == header::TRAILER;
            if self.travels(name) {
                put_field(out, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        self.put_cookies(out);
        if seen.trailer {
            self.put_trailer_names(out);
        }
        if let Some(protocol) = self.upgrade {
            out.put_slice(b"connection: upgrade\r\n");
            put_field(out, b"upgrade", protocol.as_bytes());
        } else if seen.te && asks_for_trailers(head.headers()) {
            // RFC 9110 §10.1.4: a sender of TE must list it in Connection.
            out.put_slice(b"te: trailers\r\nconnection: te\r\n");
        }
        self.put_way(out);
        self.put_block(out);
        match head.framing() {
            Framing::None => {}
            Framing::Length(length) => {
                let mut digits = itoa::Buffer::new();
                put_field(out, b"content-length", digits.format(length).as_bytes());
            }
            Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        }
        out.put_slice(b"\r\n");
    }

    fn put_block(&self, out: &mut BytesMut) {
        let block = &self.block.http1;
        let Some(Appended {
            before,
            behind,
            span,
        }) = &self.forwarded
        else {
            return out.put_slice(block);
        };
        out.put_slice(block.get(..span.start).unwrap_or_default());
        out.put_slice(before);
        out.put_slice(behind);
        out.put_slice(block.get(span.end..).unwrap_or_default());
    }

    /// The client's fields that travel on as they are, in the client's order.
    fn client_fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.head
            .headers()
            .iter()
            .filter(|(name, _)| self.travels(name))
    }

    fn travels(&self, name: &HeaderName) -> bool {
        // Rewritten rather than copied: the authority, the framing, and fields with rules of their own.
        if name == header::HOST || name == header::CONTENT_LENGTH || name == header::TRAILER {
            return false;
        }
        if name == header::COOKIE && self.splits_cookies() {
            return false;
        }
        let name = name.as_str().as_bytes();
        if is_connection_field(name) || self.hop.names(name) {
            return false;
        }
        if self.way.hop.is_trusted() {
            return !self.hygiene.is_withheld_from_trusted(name) && !self.way.hop.rewrites(name);
        }
        !self.hygiene.is_withheld(name)
    }

    /// What Herald says of the way the request came.
    fn put_way(&self, sink: &mut impl FieldSink) {
        let kept = |name: &str| !self.hop.names(name.as_bytes());
        self.way.hop.put(&self.head, self.way.id, kept, sink);
    }

    /// HTTP/2 lets a client split its cookies into fields; HTTP/1.1 has one (RFC 9113 §8.2.3).
    fn splits_cookies(&self) -> bool {
        self.head.version() == Version::HTTP_2
    }

    fn put_cookies(&self, out: &mut BytesMut) {
        if !self.splits_cookies() {
            return;
        }
        let mut cookies = self.head.headers().get_all(header::COOKIE).iter();
        let Some(first) = cookies.next() else { return };
        out.put_slice(b"cookie: ");
        out.put_slice(first.as_bytes());
        for cookie in cookies {
            out.put_slice(b"; ");
            out.put_slice(cookie.as_bytes());
        }
        out.put_slice(b"\r\n");
    }

    /// `Trailer` survives minus the names that may not arrive in trailers either.
    fn put_trailer_names(&self, out: &mut BytesMut) {
        if self.hop.names(b"trailer") {
            return;
        }
        let mut separator: &[u8] = b"trailer: ";
        for name in super::trailers::announced(self.head.headers(), self.hygiene) {
            out.put_slice(separator);
            out.put_slice(name);
            separator = b", ";
        }
        if separator == b", " {
            out.put_slice(b"\r\n");
        }
    }
}

/// Which fields a request has, of those that are written anew. Few requests have one.
#[derive(Default)]
struct Seen {
    te: bool,
    trailer: bool,
}

/// Whether any `TE` line asks for trailers, the one coding that is the end points' business.
fn asks_for_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

mod http2;
#[cfg(test)]
mod tests;
