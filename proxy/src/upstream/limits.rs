//! The limits that an origin is held to.

use std::time::Duration;

/// How long and how much Herald takes from one origin, a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Resolving the name and connecting to one of its addresses, together.
    pub connect_timeout: Duration,
    /// From the end of the request to the end of the response head.
    pub response_timeout: Duration,
    /// How long a request's body may stand still before it is sent to its end.
    pub body_timeout: Duration,
    /// How long an idle connection is kept. Keep it below the origin's own.
    pub idle_timeout: Duration,
    /// How many idle connections are kept.
    pub max_idle: usize,
    /// Bytes of a response head.
    pub max_response_head: usize,
    /// Field lines of a response head; more than 128 count as 128.
    pub max_response_headers: usize,
    /// Informational responses (100, 103) before the final one.
    pub max_informational: u8,
    /// Requests at a time on one HTTP/2 connection; the origin may allow fewer.
    pub http2_streams: usize,
    /// Bytes an HTTP/2 origin may send on a stream before they are handed on.
    pub http2_stream_window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            max_idle: 128,
            max_response_head: 64 * 1024,
            max_response_headers: 128,
            max_informational: 8,
            http2_streams: 100,
            http2_stream_window: 256 * 1024,
        }
    }
}
