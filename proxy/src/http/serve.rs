//! Drives hyper for one connection: HTTP/1.1 or HTTP/2 with every limit spelled out, an idle
//! deadline, and a graceful end when the drain starts. Knows nothing of what is served.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioTimer;

use super::activity::{Activity, InFlight};
use super::drive::{Driven, Finish, HeadClock, drive};
use super::guarded::Guarded;
use super::incoming::ClientBody;
use super::limits::Limits;
use super::park::{Parked, park};
use super::records::RecordSized;
use super::withdrawal::Endings;
use crate::net::Awaited;

#[cfg(test)]
mod tests;

/// What ALPN chose (RFC 7301); without ALPN a client speaks HTTP/1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// `http/1.1` or nothing.
    Http1,
    /// `h2`.
    Http2,
}

impl Protocol {
    /// What it is where ALPN chose `h2` or did not.
    pub fn agreed(is_http2: bool) -> Self {
        match is_http2 {
            true => Self::Http2,
            false => Self::Http1,
        }
    }
}

/// What is left of an HTTP/1.1 connection when HTTP is over on it.
#[derive(Debug)]
pub struct Leftover<IO> {
    /// The stream: shut down, unless the last answer was a 101.
    pub io: IO,
    /// What the client sent behind its last request.
    pub read: Bytes,
}

/// How a connection was left.
#[derive(Debug)]
pub enum Served<IO> {
    /// HTTP/1.1 is over: the stream is shut down, unless the last answer was a 101.
    Left(Leftover<IO>),
    /// No request came in time on an HTTP/1.1 connection that was idle.
    Idle(IO),
    /// The stream is closed.
    Closed,
}

/// Serves `io` until the client or the drain ends it, or an answer switches protocols on HTTP/1.1,
/// where the stream is given back. The error is hyper's, for the log.
pub async fn serve<IO, F, R, B>(
    io: IO,
    protocol: Protocol,
    limits: &Limits,
    endings: Endings,
    exchange: F,
) -> Result<Served<IO>, hyper::Error>
where
    IO: Read + Write + Awaited + Unpin + 'static,
    F: Fn(Request<ClientBody>) -> R + Clone + 'static,
    R: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_http2 = protocol == Protocol::Http2;
    let resets_max = is_http2.then_some(limits.http2_resets_max);
    let activity = Activity::new(resets_max);
    let io = Guarded::new(io, limits.write_timeout, activity.conduct());
    let counted = Rc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let guard = InFlight::new(Rc::clone(&counted));
        let request = request.map(|body| ClientBody::new(body, &counted));
        Answering {
            answer: exchange(request),
            guard: Some(guard),
            activity: Rc::clone(&counted),
            is_http2,
        }
    });
    match protocol {
        Protocol::Http1 => serve_http1(io, limits, endings, service, &activity).await,
        // Boxed, for it is larger by far than HTTP/1.1 and each connection has room for either.
        Protocol::Http2 => {
            let serving = serve_http2(io, limits, endings, service, &activity);
            Box::pin(serving).await.map(|()| Served::Closed)
        }
    }
}

/// A connection at rest is taken from hyper, with which its buffers go, and put back when the
/// client sends something: most connections are idle most of the time.
async fn serve_http1<IO, S, B>(
    mut io: Guarded<IO>,
    limits: &Limits,
    endings: Endings,
    mut service: S,
    activity: &Activity,
) -> Result<Served<IO>, hyper::Error>
where
    IO: Read + Write + Awaited + Unpin + 'static,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let heads = HeadClock::new();
    loop {
        // Boxed, so that what a connection at rest needs no room for is given back.
        let driving = drive_http1(io, service, (limits, &heads), endings.clone(), activity);
        let (driven, parts) = Box::pin(driving).await?;
        io = parts.io;
        let until = match driven {
            Driven::AtRest(until) => until,
            Driven::Cut => return Ok(Served::Closed),
            Driven::Left => {
                let read = parts.read_buf;
                let io = io.into_inner();
                return Ok(Served::Left(Leftover { io, read }));
            }
        };
        // There is nothing, unless a client sent the beginning of a head together with the end of
        // what it asked before.
        io.put_back(parts.read_buf);
        service = parts.service;
        if park(&mut io, &endings, until.into()).await == Parked::TooLong {
            return Ok(Served::Idle(io.into_inner()));
        }
        heads.bound(until);
    }
}

/// Lets hyper serve until the connection's end or rest.
async fn drive_http1<IO, S, B>(
    io: Guarded<IO>,
    service: S,
    (limits, heads): (&Limits, &HeadClock),
    endings: Endings,
    activity: &Activity,
) -> Result<(Driven, http1::Parts<Guarded<IO>, S>), hyper::Error>
where
    IO: Read + Write + Awaited + Unpin + 'static,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = http1_builder(limits, heads.clone()).serve_connection(io, service);
    let finish = Finish::AfterLastAnswer(http1::Connection::graceful_shutdown);
    let pinned = Pin::new(&mut connection);
    let driven = drive(pinned, finish, (limits, heads), endings, activity).await?;
    Ok((driven, connection.into_parts()))
}

async fn serve_http2<IO, S, B>(
    io: Guarded<IO>,
    limits: &Limits,
    endings: Endings,
    service: S,
    activity: &Rc<Activity>,
) -> Result<(), hyper::Error>
where
    IO: Read + Write + Awaited + Unpin + 'static,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    S::Future: 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let heads = HeadClock::new();
    let executor = LocalExecutor(Rc::clone(activity));
    let connection = http2_builder(limits, executor).serve_connection(io, service);
    let finish = Finish::AtOnce(http2::Connection::graceful_shutdown);
    let pinned = pin!(connection);
    let driven = drive(pinned, finish, (limits, &heads), endings, activity).await?;
    debug_assert!(!matches!(driven, Driven::AtRest(_)));
    Ok(())
}

fn http1_builder(limits: &Limits, heads: HeadClock) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(heads)
        .header_read_timeout(limits.head_timeout)
        .max_headers(limits.head_fields_max)
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max.max(HTTP1_BUFFER_MIN))
        // The stream's own guard sees the end of a client that waits.
        .half_close(true)
        // With it, hyper's own 400 stays unsent: it never flushes while unread bytes are buffered,
        // and after a parse error they always are.
        .pipeline_flush(false);
    builder
}

fn http2_builder(limits: &Limits, executor: LocalExecutor) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        // The exchange dates its answers, see `headers::ensure_date`.
        .auto_date_header(false)
        .max_concurrent_streams(limits.http2_streams_max)
        .initial_stream_window_size(limits.http2_stream_window)
        .initial_connection_window_size(limits.http2_connection_window)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        // Rapid reset (CVE-2023-44487) and its reverse: a client that makes us reset.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .keep_alive_interval(limits.idle_timeout / 2)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

/// Runs hyper's HTTP/2 streams on the worker's own thread, from where they can be ended.
#[derive(Clone, Debug)]
struct LocalExecutor(Rc<Activity>);

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        self.0
            .stream(tokio::task::spawn_local(future).abort_handle());
    }
}

pin_project_lite::pin_project! {
    /// An answer that is awaited. Written out, for an `async` block would hold, and move, the
    /// exchange twice.
    struct Answering<R> {
        #[pin]
        answer: R,
        guard: Option<InFlight>,
        activity: Rc<Activity>,
        is_http2: bool,
    }
}

impl<R, B> Future for Answering<R>
where
    R: Future<Output = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Watched<RecordSized<B>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Without it the answer was given: nobody asks again.
        let Some(guard) = this.guard.take() else {
            return Poll::Pending;
        };
        let Poll::Ready(response) = this.answer.poll(cx) else {
            *this.guard = Some(guard);
            return Poll::Pending;
        };
        let sized = |body| RecordSized::new(body, *this.is_http2);
        let mut response = response.map(|body| Watched::new(sized(body), guard));
        // A 101 ends HTTP on the connection by itself.
        if this.activity.is_ending() && !response.status().is_informational() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(response))
    }
}

pin_project_lite::pin_project! {
    /// A response body that keeps its request counted as in flight.
    struct Watched<B> {
        #[pin]
        body: B,
        guard: InFlight,
    }
}

impl<B: Body> Watched<B> {
    fn new(body: B, mut guard: InFlight) -> Self {
        if body.is_end_stream() {
            // hyper does not ask for a body that is over from the start.
            guard.complete();
        } else {
            // It has the head, and asks for the body when the client has room for it.
            guard.gave();
        }
        Self { body, guard }
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        this.guard.asked();
        let mut body = this.body;
        let polled = body.as_mut().poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) if body.is_end_stream() => this.guard.complete(),
            Poll::Ready(Some(Ok(_))) => this.guard.gave(),
            Poll::Ready(None | Some(Err(_))) => this.guard.complete(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Room for the pieces that an upload is read in, whatever a head may have. hyper takes so much only
/// while reads fill it.
const HTTP1_BUFFER_MIN: usize = 256 * 1024;
/// Bytes a stream may hold towards a slow client.
const HTTP2_SEND_BUFFER: usize = 256 * 1024;
/// An unanswered PING closes the connection after this long.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
