//! Asks a running Herald. Takes an admin address and a path, gives the body of a 200 answer;
//! refuses answers that are late or too large.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::AdminAddr;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// No address.
    #[error("`off` is no address to ask; give unix:PATH or an address and port")]
    Off,
    /// Nobody there.
    #[error("nobody answers at {address}: {error}{hint}")]
    Connect {
        /// Who was asked.
        address: AdminAddr,
        /// The kernel's answer.
        error: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The answer did not come in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It is not HTTP, or broke off.
    #[error("no proper answer: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// What was asked for can't be done; the answer says why.
    #[error("{0}")]
    Refused(String),
    /// Another status than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
}

/// `GET path` at `address`.
///
/// # Errors
/// Every [`AskError`].
pub fn ask(address: &AdminAddr, path: &str) -> Result<Bytes, AskError> {
    within(ANSWER_MAX, address, (Method::GET, path))
}

/// Has the Herald at `address` reload its configuration; its answer, within `limit`.
///
/// # Errors
/// Every [`AskError`]; [`AskError::Refused`] where the old configuration stays.
pub fn reload(address: &AdminAddr, limit: Duration) -> Result<Bytes, AskError> {
    within(limit, address, (Method::POST, "/reload"))
}

fn within(limit: Duration, address: &AdminAddr, what: (Method, &str)) -> Result<Bytes, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AskError::Broken(error.into()))?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, connect_and_ask(address, what)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(AskError::Late(limit)),
        }
    })
}

async fn connect_and_ask(address: &AdminAddr, what: (Method, &str)) -> Result<Bytes, AskError> {
    let failed = |error: io::Error| AskError::Connect {
        address: address.clone(),
        hint: hint(&error),
        error,
    };
    match address {
        AdminAddr::Off => Err(AskError::Off),
        AdminAddr::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(failed)?;
            exchange(stream, "localhost", what).await
        }
        AdminAddr::Tcp(host) => {
            let stream = TcpStream::connect(host).await.map_err(failed)?;
            exchange(stream, &host.to_string(), what).await
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "\n    Is Herald running, and is its --admin this address?"
        }
        io::ErrorKind::PermissionDenied => "\n    The socket is for Herald's own user and root.",
        _ => "",
    }
}

async fn exchange<S>(
    stream: S,
    host: &str,
    (method, path): (Method, &str),
) -> Result<Bytes, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| AskError::Broken(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    drop(tokio::spawn(connection));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| AskError::Broken(error.into()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    if !matches!(status, StatusCode::OK | StatusCode::CONFLICT) {
        return Err(AskError::Status(status));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(AskError::Broken)?;
    match status {
        StatusCode::OK => Ok(body.to_bytes()),
        _ => {
            let why = String::from_utf8_lossy(&body.to_bytes())
                .trim_end()
                .to_owned();
            Err(AskError::Refused(why))
        }
    }
}

const ANSWER_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
