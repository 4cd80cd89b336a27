//! The harness: a scripted origin on loopback in the same thread, requests, bodies, and a
//! connection that counts what goes through it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

mod chunks;
mod exchanges;
mod failover;
mod heads;
mod http2;
mod reuse;
mod streams;
mod uploads;

/// A request as the test wants it on the wire.
#[derive(Clone)]
struct Request {
    method: Method,
    framing: Framing,
}

impl Request {
    fn get() -> Self {
        Self::new(Method::GET, Framing::None)
    }

    fn new(method: Method, framing: Framing) -> Self {
        Self { method, framing }
    }
}

impl RequestHead for Request {
    fn http2_request(&self, scheme: Scheme) -> Option<http::Request<()>> {
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(format!("{scheme}://origin/"));
        if let Framing::Length(length) = self.framing {
            request = request.header("content-length", length);
        }
        request.body(()).ok()
    }

    fn method(&self) -> &Method {
        &self.method
    }

    fn framing(&self) -> Framing {
        self.framing
    }

    fn upgrade(&self) -> Option<&str> {
        None
    }

    fn write_http1_head(&self, head: &mut BytesMut) {
        let framing = match self.framing {
            Framing::None => String::new(),
            Framing::Length(length) => format!("content-length: {length}\r\n"),
            Framing::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
        };
        let text = format!(
            "{} / HTTP/1.1\r\nhost: origin\r\n{framing}\r\n",
            self.method
        );
        head.extend_from_slice(text.as_bytes());
    }
}

/// Runs a test on the kind of runtime that a worker has.
fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await })
        .expect("the test hangs")
}

/// A listener that plays `script` on every connection, which it numbers from 0.
async fn origin<F>(script: impl Fn(usize, TcpStream) -> F + 'static) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        for number in 0.. {
            let (stream, _peer) = listener.accept().await.unwrap();
            tokio::task::spawn_local(script(number, stream));
        }
    });
    address
}

/// An origin that answers every request on every connection with these bytes.
async fn answering(response: &'static [u8]) -> SocketAddr {
    origin(move |_, mut stream| async move {
        while let Some(_head) = read_head(&mut stream).await {
            stream.write_all(response).await.unwrap();
        }
    })
    .await
}

/// Reads up to the end of a request head and no byte more; `None` at the end of the stream.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A POST of these bytes to an origin that gives this response and then keeps still.
pub(crate) async fn post(body: &'static [u8], response: &'static [u8]) -> OriginBody<Full<Bytes>> {
    let address = answering(response).await;
    let length = u64::try_from(body.len()).unwrap();
    let request = Request::new(Method::POST, Framing::Length(length));
    let body = Full::new(Bytes::from_static(body));
    let sent = upstream(address).send_request(&request, body, None).await;
    sent.unwrap().into_body()
}

/// Forwards hyper's request to an origin that gives this response to one request and closes.
pub(crate) async fn forward(
    request: http::Request<hyper::body::Incoming>,
    response: &'static [u8],
) -> Result<Response<OriginBody<hyper::body::Incoming>>, UpstreamError> {
    let (parts, body) = request.into_parts();
    let framing = match (body.is_end_stream(), body.size_hint().exact()) {
        (true, _) => Framing::None,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Chunked,
    };
    let body_length = body.size_hint().exact().unwrap_or(0);
    let address = origin(move |_, mut stream| async move {
        read_head(&mut stream).await;
        let mut received = vec![0; usize::try_from(body_length).unwrap()];
        stream.read_exact(&mut received).await.unwrap();
        stream.write_all(response).await.unwrap();
        // hyper drops what it has not flushed when a body fails; give it the time.
        tokio::time::sleep(Duration::from_millis(30)).await;
    })
    .await;
    let request = Request::new(parts.method, framing);
    upstream(address).send_request(&request, body, None).await
}

fn quick() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_millis(500),
        body_timeout: Duration::from_millis(500),
        ..Limits::default()
    }
}

fn upstream(address: SocketAddr) -> Rc<Upstream> {
    upstream_with(address, Limits::default())
}

fn upstream_with(address: SocketAddr, limits: Limits) -> Rc<Upstream> {
    upstream_to(UpstreamTarget::Address(address), limits)
}

fn upstream_to(origin: impl Into<Origin>, limits: Limits) -> Rc<Upstream> {
    let keep: TrailerFilter = Rc::new(|trailers| {
        trailers.remove("x-forged");
    });
    let filters = TrailerFilters {
        request: Rc::clone(&keep),
        response: keep,
    };
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    Upstream::new(&[origin.into()], settings, &filters, &Marks::default())
}

fn drop_all() -> TrailerFilters {
    let drop_all: TrailerFilter = Rc::new(HeaderMap::clear);
    TrailerFilters {
        request: Rc::clone(&drop_all),
        response: drop_all,
    }
}

async fn get(upstream: &Upstream) -> Result<Response<OriginBody<Empty<Bytes>>>, UpstreamError> {
    upstream
        .send_request(&Request::get(), Empty::new(), None)
        .await
}

/// All of a response body; the error if it was cut.
async fn collect<B, S>(
    response: Response<OriginBody<B, S>>,
) -> Result<(Vec<u8>, Option<HeaderMap>), UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    let mut transfer = response.into_body();
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| transfer.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((data, trailers))
}

/// GET, and the whole body as text.
async fn get_text(upstream: &Upstream) -> Result<String, UpstreamError> {
    let (data, _trailers) = collect(get(upstream).await?).await?;
    Ok(String::from_utf8(data).unwrap())
}

/// A body that a test feeds.
#[derive(Debug)]
struct Fed(mpsc::Receiver<Result<Frame<Bytes>, io::Error>>);

fn fed() -> (mpsc::Sender<Result<Frame<Bytes>, io::Error>>, Fed) {
    let (feed, body) = mpsc::channel(64);
    (feed, Fed(body))
}

fn data(bytes: impl Into<Bytes>) -> Result<Frame<Bytes>, io::Error> {
    Ok(Frame::data(bytes.into()))
}

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx)
    }
}

/// What went through a [`Counted`] connection.
#[derive(Debug, Default)]
struct Counts {
    reads: Cell<u64>,
    read_bytes: Cell<u64>,
    writes: Cell<u64>,
    written_bytes: Cell<u64>,
}

#[derive(Debug)]
struct Counted {
    stream: OriginIo,
    counts: Rc<Counts>,
}

#[derive(Debug)]
struct CountedConnect {
    address: SocketAddr,
    counts: Rc<Counts>,
}

fn counted(address: SocketAddr) -> (Rc<Upstream<CountedConnect>>, Rc<Counts>) {
    let counts = Rc::new(Counts::default());
    let connect = CountedConnect {
        address,
        counts: Rc::clone(&counts),
    };
    let pool = Pool::new(Limits::default(), &drop_all());
    let endpoint = Endpoint::new(String::new(), connect, pool);
    (
        Upstream::over([endpoint].into(), Settings::default()),
        counts,
    )
}

impl Connect for CountedConnect {
    type Io = Counted;

    async fn connect(
        &self,
        limit: Duration,
        http1: bool,
    ) -> Result<(Counted, Version), UpstreamError> {
        let target = UpstreamTarget::Address(self.address);
        let (stream, version) = OriginConnect::new(target.into(), None)
            .connect(limit, http1)
            .await?;
        let counted = Counted {
            stream,
            counts: Rc::clone(&self.counts),
        };
        Ok((counted, version))
    }

    fn http2(&self) -> Option<Scheme> {
        None
    }

    fn authority(&self) -> String {
        self.address.to_string()
    }
}

fn count(counter: &Cell<u64>, more: usize) {
    counter.set(counter.get() + u64::try_from(more).unwrap());
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        count(&self.counts.reads, 1);
        count(&self.counts.read_bytes, buffer.filled().len() - before);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        count(&self.counts.writes, 1);
        count(&self.counts.written_bytes, *result.as_ref().unwrap_or(&0));
        Poll::Ready(result)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
