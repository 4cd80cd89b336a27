//! Drives hyper for one connection: HTTP/1.1 or HTTP/2 with every limit spelled out, an idle
//! deadline, and a graceful end when it is asked to finish. Knows nothing of what is served.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, sleep_until};

/// What ALPN chose (RFC 7301); without ALPN a client speaks HTTP/1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// `http/1.1` or nothing.
    Http1,
    /// `h2`.
    Http2,
}

/// The limits of one client connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte awaited to the end of a request head (HTTP/1.1; also its idle limit).
    pub head_timeout: Duration,
    /// Without a request in flight for this long, the connection is closed.
    pub idle_timeout: Duration,
    /// Most bytes of a request head.
    pub head_bytes_max: usize,
    /// Most fields of a request head (HTTP/1.1).
    pub head_fields_max: usize,
    /// Most concurrent HTTP/2 streams.
    pub http2_streams_max: u32,
    /// HTTP/2 flow-control window of a stream, bytes.
    pub http2_stream_window: u32,
    /// HTTP/2 flow-control window of a connection, bytes.
    pub http2_connection_window: u32,
}

/// Counts requests in flight, so that an idle connection can be told from a busy one.
#[derive(Debug, Default)]
struct Activity {
    in_flight: Cell<usize>,
    finished: Cell<u64>,
}

/// Serves `io` until the client ends it, or gracefully once `finish` is ready. The error is hyper's, for the log.
pub async fn serve<IO, F, R, B>(
    io: IO,
    protocol: Protocol,
    limits: &Limits,
    finish: impl Future<Output = ()>,
    exchange: F,
) -> Result<(), hyper::Error>
where
    IO: Read + Write + Unpin + 'static,
    F: Fn(Request<Incoming>) -> R + Clone + 'static,
    R: Future<Output = Response<B>> + 'static,
    B: Body + 'static,
    B::Data: 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let activity = Rc::new(Activity::default());
    let counted = Rc::clone(&activity);
    let service = service_fn(move |request| {
        let guard = InFlight::new(Rc::clone(&counted));
        let response = exchange(request);
        async move {
            let response = response.await.map(|body| Watched {
                body,
                _guard: guard,
            });
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    match protocol {
        Protocol::Http1 => {
            let connection = http1_builder(limits).serve_connection(io, service);
            let end = http1::Connection::graceful_shutdown;
            run(connection, end, limits, finish, &activity).await
        }
        Protocol::Http2 => {
            let connection = http2_builder(limits).serve_connection(io, service);
            let end = http2::Connection::graceful_shutdown;
            run(connection, end, limits, finish, &activity).await
        }
    }
}

/// Polls the connection; asks it to finish when `finish` is ready or it has been idle too long.
async fn run<C>(
    connection: C,
    end: fn(Pin<&mut C>),
    limits: &Limits,
    finish: impl Future<Output = ()>,
    activity: &Activity,
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    let mut finish = pin!(finish);
    let mut idle_check = pin!(sleep_until(Instant::now() + limits.idle_timeout));
    let mut finished_before = activity.finished.get();
    let mut finishing = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            () = finish.as_mut(), if !finishing => {
                finishing = true;
                end(connection.as_mut());
            }
            () = idle_check.as_mut() => {
                let finished = activity.finished.get();
                if activity.in_flight.get() == 0 && finished == finished_before {
                    if finishing {
                        // Asked to go an idle time ago and still here: the peer is gone.
                        return Ok(());
                    }
                    finishing = true;
                    end(connection.as_mut());
                }
                finished_before = finished;
                idle_check.as_mut().reset(Instant::now() + limits.idle_timeout);
            }
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(limits.head_fields_max)
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max.max(HTTP1_BUFFER_MIN))
        .half_close(false)
        // With it, hyper's own 400 stays unsent: it never flushes while unread bytes are buffered,
        // and after a parse error they always are.
        .pipeline_flush(false);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
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

/// Runs hyper's HTTP/2 streams on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}

struct InFlight(Rc<Activity>);

impl InFlight {
    fn new(activity: Rc<Activity>) -> Self {
        activity.in_flight.set(activity.in_flight.get() + 1);
        Self(activity)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0
            .in_flight
            .set(self.0.in_flight.get().saturating_sub(1));
        self.0.finished.set(self.0.finished.get().wrapping_add(1));
    }
}

pin_project_lite::pin_project! {
    /// A response body that keeps its request counted as in flight.
    struct Watched<B> {
        #[pin]
        body: B,
        _guard: InFlight,
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// hyper's floor for its connection buffer.
const HTTP1_BUFFER_MIN: usize = 128 * 1024;
/// Bytes a stream may hold towards a slow client.
const HTTP2_SEND_BUFFER: usize = 256 * 1024;
/// An unanswered PING closes the connection after this long.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
