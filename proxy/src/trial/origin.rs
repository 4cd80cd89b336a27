//! An origin that answers every request with what it received, and notes it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};

/// It runs until the process ends.
#[derive(Debug)]
pub struct Origin {
    /// Where it speaks HTTP/1.1.
    pub http1: SocketAddr,
    /// Where it speaks HTTP/2 in the clear.
    pub http2: SocketAddr,
    noted: Notes,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Fields and trailers; names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Origin {
    /// Starts it on a thread of its own. Each answer has the fields `adds`, too.
    ///
    /// # Errors
    /// A socket's or a thread's.
    pub fn start(adds: HeaderMap) -> io::Result<Self> {
        let bind = || {
            let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>((socket.local_addr()?, socket))
        };
        let ((http1, socket1), (http2, socket2)) = (bind()?, bind()?);
        let noted = Notes::default();
        let teller = Teller {
            adds,
            noted: Arc::clone(&noted),
        };
        let runtime = || {
            Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
        };
        std::thread::Builder::new()
            .name("trial-origin".into())
            .spawn(move || {
                let served = runtime().and_then(|runtime| {
                    runtime.block_on(async {
                        let other = serve(socket2, teller.clone(), Speaks::Http2);
                        let (served, other) =
                            tokio::join!(serve(socket1, teller, Speaks::Http1), other);
                        served.and(other)
                    })
                });
                if let Err(error) = served {
                    tracing::error!(%error, "the origin of the trial stopped");
                }
            })?;
        Ok(Self {
            http1,
            http2,
            noted,
        })
    }

    /// What came since this was last asked and is over, oldest first; at most a few hundred.
    pub fn take(&self) -> Vec<Seen> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.drain(..).collect()
    }
}

type Notes = Arc<Mutex<VecDeque<Seen>>>;

#[derive(Clone, Copy)]
enum Speaks {
    Http1,
    Http2,
}

#[derive(Clone)]
struct Teller {
    adds: HeaderMap,
    noted: Notes,
}

async fn serve(socket: std::net::TcpListener, teller: Teller, speaks: Speaks) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let teller = teller.clone();
        let tell = service_fn(move |request| teller.clone().tell(request));
        let io = TokioIo::new(tcp);
        match speaks {
            Speaks::Http1 => drop(tokio::task::spawn_local(
                http1::Builder::new().serve_connection(io, tell),
            )),
            Speaks::Http2 => drop(tokio::task::spawn_local(
                http2::Builder::new(TokioExecutor::new()).serve_connection(io, tell),
            )),
        }
    }
}

impl Teller {
    /// What the origin saw, as text: the request line, each header, each trailer.
    async fn tell(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let mut note = Note {
            seen: Seen {
                method: parts.method.to_string(),
                target: parts
                    .uri
                    .path_and_query()
                    .map_or("", |it| it.as_str())
                    .to_owned(),
                fields: Vec::new(),
            },
            noted: self.noted,
        };
        note.add(&parts.headers);
        let body = Limited::new(body, BODY_MAX).collect().await;
        if let Some(trailers) = body.as_ref().ok().and_then(|body| body.trailers()) {
            note.add(trailers);
        }
        let mut text = format!(
            "The origin saw:\n\n{} {} HTTP/1.1\n",
            note.seen.method, note.seen.target
        );
        for (name, value) in &note.seen.fields {
            text.push_str(&format!("{name}: {}\n", value.escape_ascii()));
        }
        let mut response = Response::new(Full::new(text.into()));
        *response.headers_mut() = self.adds;
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        Ok(response)
    }
}

/// A request that is noted whatever becomes of its body.
struct Note {
    seen: Seen,
    noted: Notes,
}

impl Note {
    fn add(&mut self, fields: &HeaderMap) {
        let field = |(name, value): (&http::HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        self.seen.fields.extend(fields.iter().map(field));
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= NOTES_MAX {
            noted.pop_front();
        }
        noted.push_back(std::mem::take(&mut self.seen));
    }
}

/// More than any caller sends.
const BODY_MAX: usize = 1024 * 1024;
/// More than one caller asks for; a demonstration that goes on keeps no more.
const NOTES_MAX: usize = 256;
