//! The limits of a client connection, all of them.

use std::time::Duration;

/// The limits of one client connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte awaited to the end of a request head (HTTP/1.1; also its idle limit).
    pub head_timeout: Duration,
    /// Without a request in flight for this long, the connection is closed.
    pub idle_timeout: Duration,
    /// How long an HTTP/1.1 connection may stay idle once the drain has started.
    pub drain_idle_timeout: Duration,
    /// Most bytes of a request head.
    pub head_bytes_max: usize,
    /// Most fields of a request head (HTTP/1.1).
    pub head_fields_max: usize,
    /// Most concurrent HTTP/2 streams.
    pub http2_streams_max: u32,
    /// Most requests that a client may break off on an HTTP/2 connection in ten seconds.
    pub http2_resets_max: u32,
    /// A client that takes nothing of an answer for this long is cut off.
    pub write_timeout: Duration,
    /// How long what is under way may go on once its caller may no longer pass.
    pub verdict_grace: Duration,
    /// HTTP/2 flow-control window of a stream, bytes.
    pub http2_stream_window: u32,
    /// HTTP/2 flow-control window of a connection, bytes.
    pub http2_connection_window: u32,
}
