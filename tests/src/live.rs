//! An origin by hyper for what the hand-written one does not speak: Unix sockets, TLS, HTTP/2. It answers with a JSON
//! account of the request and can be killed in the middle of its work and started again in the same place.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::pki::{Key, Pki};
use crate::wire::{sha256, text};

/// Where and what an origin speaks.
#[derive(Clone, Debug)]
pub enum Speaks {
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/2 in the clear.
    H2c,
    /// TLS, and in it what ALPN chooses.
    Tls(Arc<ServerConfig>),
}

impl Speaks {
    /// TLS with these protocols, with the server certificate of the shared PKI for `localhost` and `127.0.0.1`.
    pub fn tls(alpn: &[&str], asks_for_certificate: bool) -> Self {
        let pki = Pki::shared();
        let (certificate, key) = pki.server(Key::Ec);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(pki.ca.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = CertificateDer::pem_file_iter(certificate).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self::Tls(Arc::new(config))
    }
}

/// A running origin; it ends when it is dropped.
#[derive(Debug)]
pub struct Live {
    place: Place,
    speaks: Speaks,
    delay: Duration,
    counts: Arc<Counts>,
    runtime: Option<Runtime>,
}

#[derive(Clone, Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What happened at an origin.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    in_flight: AtomicUsize,
}

impl Live {
    /// Listens on a port of its own.
    pub fn tcp(speaks: Speaks) -> Self {
        Self::start(Place::Tcp(([127, 0, 0, 1], 0).into()), speaks)
    }

    /// Listens at `path`.
    pub fn unix(path: PathBuf, speaks: Speaks) -> Self {
        Self::start(Place::Unix(path), speaks)
    }

    /// Takes this long for each answer, from the next start on.
    #[must_use]
    pub fn slow(mut self, delay: Duration) -> Self {
        self.kill();
        self.delay = delay;
        self.revive();
        self
    }

    fn start(place: Place, speaks: Speaks) -> Self {
        let mut origin = Self {
            place,
            speaks,
            delay: Duration::ZERO,
            counts: Arc::default(),
            runtime: None,
        };
        origin.revive();
        origin
    }

    /// As an operator writes it.
    pub fn url(&self) -> String {
        match (&self.place, &self.speaks) {
            (Place::Tcp(address), Speaks::Http1) => format!("http://{address}"),
            (Place::Tcp(address), Speaks::H2c) => format!("h2c://{address}"),
            (Place::Tcp(address), Speaks::Tls(_)) => format!("https://{address}"),
            (Place::Unix(path), Speaks::H2c) => format!("h2c+unix:{}", path.display()),
            (Place::Unix(path), _) => format!("unix:{}", path.display()),
        }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Requests that came so far.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.counts.in_flight.load(Ordering::SeqCst)
    }

    /// Stops at once: the listener and all connections are closed. How many requests were in flight.
    pub fn kill(&mut self) -> usize {
        let in_flight = self.in_flight();
        if let Some(runtime) = self.runtime.take() {
            // Waits until every task is dropped, and its socket with it.
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        self.counts.in_flight.store(0, Ordering::SeqCst);
        if let Place::Unix(path) = &self.place {
            drop(std::fs::remove_file(path));
        }
        in_flight
    }

    /// Listens again in the same place.
    pub fn revive(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let serving = Serving {
            speaks: self.speaks.clone(),
            delay: self.delay,
            counts: Arc::clone(&self.counts),
        };
        match &mut self.place {
            Place::Tcp(address) => {
                let listener = runtime.block_on(TcpListener::bind(*address)).unwrap();
                *address = listener.local_addr().unwrap();
                runtime.spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        stream.set_nodelay(true).unwrap();
                        tokio::spawn(serving.clone().connection(stream));
                    }
                });
            }
            Place::Unix(path) => {
                let bound = runtime.block_on(async { UnixListener::bind(path) });
                let listener = bound.unwrap();
                runtime.spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serving.clone().connection(stream));
                    }
                });
            }
        }
        self.runtime = Some(runtime);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.kill();
    }
}

type Reply = Response<BoxBody<Bytes, io::Error>>;

#[derive(Clone)]
struct Serving {
    speaks: Speaks,
    delay: Duration,
    counts: Arc<Counts>,
}

impl Serving {
    async fn connection<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.counts.connections.fetch_add(1, Ordering::SeqCst);
        match self.speaks.clone() {
            Speaks::Http1 => self.http(stream, false, None).await,
            Speaks::H2c => self.http(stream, true, None).await,
            Speaks::Tls(config) => {
                // A client that does not trust us is no failure of ours.
                let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else {
                    return;
                };
                let (_, session) = stream.get_ref();
                let is_h2 = session.alpn_protocol() == Some(b"h2");
                let certificates = session.peer_certificates().unwrap_or_default();
                let peer = certificates.first().map(|leaf| sha256(leaf));
                self.http(stream, is_h2, peer).await;
            }
        }
    }

    async fn http<S>(self, stream: S, is_h2: bool, peer: Option<String>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = TokioIo::new(stream);
        let service = service_fn(move |request| self.clone().answer(request, peer.clone()));
        // Clients that go away are no failure of ours.
        if is_h2 {
            let builder = http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(stream, service).await);
        } else {
            let builder = http1::Builder::new();
            let connection = builder.serve_connection(stream, service);
            drop(connection.with_upgrades().await);
        }
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        peer: Option<String>,
    ) -> Result<Reply, io::Error> {
        self.counts.requests.fetch_add(1, Ordering::SeqCst);
        self.counts.in_flight.fetch_add(1, Ordering::SeqCst);
        let _leaving = Leaving(Arc::clone(&self.counts));
        if request.uri().path() == "/switch" && request.headers().contains_key("upgrade") {
            return Ok(switch(request));
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let data = body.to_bytes();
        tokio::time::sleep(self.delay).await;
        let account = json!({
            "method": parts.method.as_str(),
            "target": parts.uri.path_and_query().map(ToString::to_string),
            "authority": parts.uri.authority().map(ToString::to_string),
            "version": format!("{:?}", parts.version),
            "headers": pairs(&parts.headers),
            "trailers": pairs(&trailers),
            "body_length": data.len(),
            "body_sha256": sha256(&data),
            "peer_sha256": peer,
        });
        let account = Bytes::from(account.to_string());
        if parts.method == Method::HEAD {
            // hyper would send the body over HTTP/2.
            let body = Full::default().map_err(|never| match never {});
            let response = Response::builder().header("content-length", account.len());
            return Ok(response.body(body.boxed()).unwrap());
        }
        if parts.uri.path() != "/trailers" {
            let body = Full::new(account).map_err(|never| match never {});
            return Ok(Response::new(body.boxed()));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        // Herald's own name: it must not come through.
        trailers.insert("x-cert-verify", "FORGED".parse().unwrap());
        let body = Full::new(account).with_trailers(std::future::ready(Some(Ok(trailers))));
        let body = body.map_err(|never| match never {});
        let response = Response::builder().header("trailer", "x-sum");
        Ok(response.body(Unmeasured(body).boxed()).unwrap())
    }
}

/// A body without a size hint: with one, hyper adds a Content-Length, and HTTP/1.1 has no place for trailers behind that.
struct Unmeasured<B>(B);

impl<B: Body + Unpin> Body for Unmeasured<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// Switches to the protocol asked for and sends back what it is sent.
fn switch(request: Request<Incoming>) -> Reply {
    let protocol = request.headers()["upgrade"].clone();
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        // The other side may go at any time.
        drop(tokio::io::copy(&mut read, &mut write).await);
    });
    let body = Full::default().map_err(|never| match never {});
    let response = Response::builder().status(101);
    let response = response
        .header("connection", "upgrade")
        .header("upgrade", protocol);
    response.body(body.boxed()).unwrap()
}

struct Leaving(Arc<Counts>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _before = self
            .0
            .in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                count.checked_sub(1)
            });
    }
}

fn pairs(headers: &HeaderMap) -> Vec<[String; 2]> {
    headers
        .iter()
        .map(|(name, value)| [name.to_string(), text(value.as_bytes())])
        .collect()
}
