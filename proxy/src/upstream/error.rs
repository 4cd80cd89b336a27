//! What can go wrong between Herald and an origin, each by its own name and with its blame, so
//! that it is mapped to a status for the client in one place and never guessed from a text.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Whatever the client's request body failed with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request got no (complete) response from its origin.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// The origin's name has no address, or the resolver failed.
    #[error("cannot resolve the origin's name")]
    Resolve(#[source] io::Error),
    /// No address of the origin accepted; the last one tried and its reason.
    #[error("cannot connect to the origin at {address}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The origin's Unix socket did not accept.
    #[error("cannot connect to the origin at unix:{}", path.display())]
    ConnectUnix {
        /// The socket.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake with the origin failed; above all, its certificate was not accepted.
    #[error("the TLS handshake with the origin failed")]
    Tls(#[source] io::Error),
    /// `Limits::connect_timeout` passed before a connection stood.
    #[error("connecting to the origin took too long")]
    ConnectTimeout,
    /// The connection broke while the request was being sent.
    #[error("cannot send the request to the origin")]
    Write(#[source] io::Error),
    /// The connection broke while the response was awaited or received.
    #[error("cannot read the origin's response")]
    Read(#[source] io::Error),
    /// The origin or the network ended an HTTP/2 stream or connection.
    #[error("the HTTP/2 exchange with the origin failed")]
    Http2(#[source] h2::Error),
    /// The request cannot be put into HTTP/2: its authority is no URI's.
    #[error("the request's authority cannot be sent over HTTP/2")]
    NotHttp2,
    /// The origin closed the connection before a complete response head.
    #[error("the origin closed the connection before it answered")]
    Closed,
    /// The origin closed the connection inside a framed response body (RFC 9112 §8).
    #[error("the origin closed the connection inside its response body")]
    Truncated,
    /// `Limits::response_timeout` passed after the request without a response head, or the origin
    /// took nothing of the request's body for a whole `Limits::body_timeout`.
    #[error("the origin took too long to answer")]
    ResponseTimeout,
    /// The response breaks HTTP/1.1 or a limit.
    #[error("the origin's response is refused")]
    BadResponse(#[from] BadResponse),
    /// The origin switched protocols though nobody asked for it.
    #[error("the origin switched protocols unasked")]
    UnexpectedUpgrade,
    /// The client's request body failed: it went away, or broke its framing.
    #[error("the client's request body failed")]
    ClientBody(#[source] BodyError),
    /// The client's request body ended before its declared length.
    #[error("the client's request body is {missing} bytes shorter than declared")]
    ClientBodyShort {
        /// Bytes that never came.
        missing: u64,
    },
    /// The client's request body is longer than declared.
    #[error("the client's request body is longer than declared")]
    ClientBodyLong,
    /// The client sent no byte of its request body for a whole `Limits::body_timeout`.
    #[error("the client stopped sending its request body")]
    ClientStalled,
}

impl UpstreamError {
    /// Which side is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Resolve(_)
            | Self::Connect { .. }
            | Self::ConnectUnix { .. }
            | Self::Tls(_)
            | Self::ConnectTimeout
            | Self::Write(_)
            | Self::Read(_)
            | Self::Http2(_)
            | Self::Closed
            | Self::Truncated
            | Self::ResponseTimeout
            | Self::BadResponse(_)
            | Self::UnexpectedUpgrade => Blame::Origin,
            Self::NotHttp2
            | Self::ClientBody(_)
            | Self::ClientBodyShort { .. }
            | Self::ClientBodyLong
            | Self::ClientStalled => Blame::Client,
        }
    }

    /// Whether this is what a kept-alive connection that the origin has just closed looks like.
    pub(super) fn is_lost_connection(&self) -> bool {
        match self {
            Self::Write(_) | Self::Read(_) | Self::Closed => true,
            Self::Http2(error) => error.is_io(),
            _ => false,
        }
    }

    /// An error that says the same, for another request that failed with this one. Errors of the
    /// system are kept by their number.
    pub(super) fn of_same_cause(&self) -> Self {
        match self {
            Self::Resolve(error) => Self::Resolve(same(error)),
            Self::Connect { address, source } => Self::Connect {
                address: *address,
                source: same(source),
            },
            Self::ConnectUnix { path, source } => Self::ConnectUnix {
                path: path.clone(),
                source: same(source),
            },
            Self::Tls(error) => Self::Tls(same(error)),
            Self::ConnectTimeout => Self::ConnectTimeout,
            _ => Self::Closed,
        }
    }
}

fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Whose fault an [`UpstreamError`] is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// The client broke off, or broke its own framing.
    Client,
    /// The origin, or the network before it.
    Origin,
}

/// Why a response is refused (RFC 9112). Every one closes the connection.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BadResponse {
    /// The bytes do not begin with `HTTP/1.`.
    #[error("it is not HTTP/1")]
    NotHttp,
    /// A status line other than RFC 9112 §4 says.
    #[error("its status line is malformed")]
    StatusLine,
    /// A line of the head, or of the trailer section, that ends without CR.
    #[error("a line ends in a bare LF")]
    BareLf,
    /// A header name that is no token; white space before the colon; a folded line.
    #[error("a header name is malformed")]
    HeaderName,
    /// A header value with a bare CR, a NUL or another control byte.
    #[error("a header value is malformed")]
    HeaderValue,
    /// More than `Limits::max_response_head` bytes.
    #[error("its head is too large")]
    HeadTooLarge,
    /// More than `Limits::max_response_headers` field lines.
    #[error("it has too many header lines")]
    TooManyHeaders,
    /// More than `Limits::max_informational` responses before the final one.
    #[error("too many informational responses came before it")]
    TooManyInformational,
    /// A `Content-Length` that is not one decimal number in 64 bits.
    #[error("its Content-Length is malformed")]
    ContentLength,
    /// Two `Content-Length` lines that differ.
    #[error("its Content-Length lines differ")]
    ContentLengthConflict,
    /// A `Transfer-Encoding` other than exactly one `chunked`, or one in HTTP/1.0.
    #[error("its Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
    /// Both `Transfer-Encoding` and `Content-Length`: a smuggling attempt (RFC 9112 §6.3).
    #[error("it has both Transfer-Encoding and Content-Length")]
    AmbiguousLength,
    /// A chunk size that is not 1 to 16 hexadecimal digits, or not followed by `;` or CRLF.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// A control byte in a chunk extension.
    #[error("a chunk extension is malformed")]
    ChunkExtension,
    /// Chunk data not followed by CRLF.
    #[error("a chunk does not end where it said")]
    ChunkEnd,
    /// More bytes of chunk extensions than any honest origin sends.
    #[error("its chunk extensions are too large")]
    ChunkOverhead,
    /// A trailer section that is too large or has too many lines.
    #[error("its trailer section is too large")]
    TrailersTooLarge,
}
