//! The demonstration's origin: answers every request with what it received.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};

/// Starts it on a thread of its own, which ends with the process.
pub(super) fn start() -> io::Result<SocketAddr> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = || {
        Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
    };
    std::thread::Builder::new()
        .name("demo-origin".into())
        .spawn(move || {
            let served = runtime().and_then(|runtime| runtime.block_on(serve(socket)));
            if let Err(error) = served {
                tracing::error!(%error, "the demonstration's origin stopped");
            }
        })?;
    Ok(address)
}

async fn serve(socket: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(tcp), service_fn(tell));
        drop(tokio::task::spawn_local(connection));
    }
}

/// What the origin saw, as text: the request line, each header, each trailer.
async fn tell(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut text = format!(
        "The origin saw:\n\n{} {} HTTP/1.1\n",
        parts.method, parts.uri
    );
    list(&mut text, &parts.headers);
    let body = Limited::new(body, BODY_MAX).collect().await;
    if let Some(trailers) = body.as_ref().ok().and_then(|body| body.trailers()) {
        list(&mut text, trailers);
    }
    let mut response = Response::new(Full::new(text.into()));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    Ok(response)
}

fn list(text: &mut String, fields: &http::HeaderMap) {
    for (name, value) in fields {
        text.push_str(&format!("{name}: {}\n", value.as_bytes().escape_ascii()));
    }
}

/// More than any row sends.
const BODY_MAX: usize = 1024 * 1024;
