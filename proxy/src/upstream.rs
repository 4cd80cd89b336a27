//! The way to one origin over HTTP/1.1, for one worker: takes an `Outbound` request and its body,
//! returns the response's head and a [`Transfer`] that moves the rest of both bodies when polled.
//! One task, no channel: a small request costs one write and one read.
//!
//! Refuses any response whose end is not beyond doubt (RFC 9112 §6.3, stricter), and never reuses
//! a connection unless request and response were both complete and nothing followed them.

use std::future::poll_fn;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use http_body::Body;
use tokio::time::Instant;

use crate::headers::{Framing, Outbound};

mod body;
mod chunked;
mod connect;
mod connection;
mod error;
mod fields;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod head;
mod limits;
mod piece;
mod pool;
#[cfg(test)]
pub(crate) mod tests;
mod transfer;
mod upload;
mod wait;

pub use connect::{BadTarget, Connect, TcpConnect, UpstreamTarget};
pub use error::{BadResponse, Blame, BodyError, UpstreamError};
pub use limits::Limits;
pub use pool::{Stats, TrailerFilter};
pub use transfer::Transfer;

use connection::Connection;
use pool::{Lease, Pool, bump};
use upload::Upload;
use wait::HeadWait;

/// One origin as one worker sees it: where it is, and the connections that are idle.
#[derive(Debug)]
pub struct Upstream<C: Connect = TcpConnect> {
    connect: C,
    pool: Rc<Pool<C::Io>>,
}

impl Upstream {
    /// An origin over TCP. No trailer passes, either way, until [`Self::with_trailers`] says which.
    pub fn new(target: UpstreamTarget, limits: Limits) -> Rc<Self> {
        Self::with_trailers(target, limits, drop_all(), drop_all())
    }

    /// An origin over TCP whose request and response trailers pass what these leave of them.
    pub fn with_trailers(
        target: UpstreamTarget,
        limits: Limits,
        request: TrailerFilter,
        response: TrailerFilter,
    ) -> Rc<Self> {
        Self::over(TcpConnect(target), Pool::new(limits, request, response))
    }
}

impl<C: Connect> Upstream<C> {
    fn over(connect: C, pool: Pool<C::Io>) -> Rc<Self> {
        let pool = Rc::new(pool);
        Rc::new(Self { connect, pool })
    }

    /// Sends the request and waits for the response's head. The request's body is sent as far as
    /// it comes until then, and by the returned [`Transfer`] from then on.
    ///
    /// A request without side effects is sent a second time, on a new connection, if it was sent
    /// on an idle one that turned out to be closed: no byte was answered, none of its body taken.
    ///
    /// # Errors
    /// Every [`UpstreamError`]; the connection is closed then.
    pub async fn send<B>(
        &self,
        outbound: &Outbound<'_>,
        body: B,
    ) -> Result<Response<Transfer<B, C::Io>>, UpstreamError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        self.send_request(outbound, body).await
    }

    /// Closes connections that were idle for too long or were closed by the origin. The worker's
    /// tick calls it; without it they are closed when the next request comes.
    pub fn sweep(&self, now: Instant) {
        self.pool.sweep(now);
    }

    /// How many connections are idle.
    pub fn idle(&self) -> usize {
        self.pool.idle()
    }

    /// What this worker's connections did since the start.
    pub fn stats(&self) -> Stats {
        self.pool.stats.snapshot()
    }

    async fn send_request<H, B>(
        &self,
        head: &H,
        body: B,
    ) -> Result<Response<Transfer<B, C::Io>>, UpstreamError>
    where
        H: RequestHead,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        let mut upload = Upload::new(body, head.framing());
        let now = Instant::now();
        if let Some(mut lease) = self.pool.checkout(now) {
            let mut wait = HeadWait::new(head.method());
            lease.begin(head, now);
            match poll_fn(|cx| wait.poll(&mut lease, &mut upload, cx)).await {
                Ok(head) => return Ok(respond(head, lease, upload)),
                Err(error) if !error.is_lost_connection() => return Err(error),
                Err(error) if wait.is_answered() => return Err(error),
                Err(error) if !head.method().is_idempotent() => return Err(error),
                Err(error) if !upload.is_untouched() => return Err(error),
                Err(_lost) => bump(&self.pool.stats.retried),
            }
            upload.rewind();
        }
        let mut lease = self.open().await?;
        let mut wait = HeadWait::new(head.method());
        lease.begin(head, Instant::now());
        let head = poll_fn(|cx| wait.poll(&mut lease, &mut upload, cx)).await?;
        Ok(respond(head, lease, upload))
    }

    async fn open(&self) -> Result<Lease<C::Io>, UpstreamError> {
        let io = self
            .connect
            .connect(self.pool.limits.connect_timeout)
            .await?;
        bump(&self.pool.stats.opened);
        Ok(self.pool.lease(Connection::new(io)))
    }
}

/// What `upstream` needs to know of a request. Only [`Outbound`] has it outside tests, so that
/// nothing that was not cleaned can be sent.
trait RequestHead {
    fn method(&self) -> &Method;
    fn framing(&self) -> Framing;
    fn write_http1_head(&self, head: &mut BytesMut);
}

impl RequestHead for Outbound<'_> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn framing(&self) -> Framing {
        self.framing()
    }

    fn write_http1_head(&self, head: &mut BytesMut) {
        self.write_http1_head(head);
    }
}

impl<S> Lease<S> {
    /// Queues the request's head and starts the clock of its response.
    fn begin(&mut self, head: &impl RequestHead, now: Instant) {
        head.write_http1_head(&mut self.connection.out);
        self.connection.arm(now + self.pool.limits.response_timeout);
    }
}

fn respond<B, S>(
    head: head::FinalHead,
    lease: Lease<S>,
    upload: Upload<B>,
) -> Response<Transfer<B, S>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    let transfer = Transfer::new(lease, upload, head.body, head.keep_alive);
    let mut response = Response::new(transfer);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

fn drop_all() -> TrailerFilter {
    Rc::new(http::HeaderMap::clear)
}
