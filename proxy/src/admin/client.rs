//! Asks a running Herald. Takes an admin address and a path, gives the body of a 200 answer;
//! refuses answers that are late or too large.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
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
    #[error("no answer within {ANSWER_MAX:?}")]
    Late,
    /// It is not HTTP, or broke off.
    #[error("no proper answer: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
}

/// `GET path` at `address`.
///
/// # Errors
/// Every [`AskError`].
pub fn ask(address: &AdminAddr, path: &str) -> Result<Bytes, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AskError::Broken(error.into()))?;
    runtime.block_on(async {
        match tokio::time::timeout(ANSWER_MAX, connect_and_ask(address, path)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(AskError::Late),
        }
    })
}

async fn connect_and_ask(address: &AdminAddr, path: &str) -> Result<Bytes, AskError> {
    let failed = |error: io::Error| AskError::Connect {
        address: address.clone(),
        hint: hint(&error),
        error,
    };
    match address {
        AdminAddr::Off => Err(AskError::Off),
        AdminAddr::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(failed)?;
            exchange(stream, "localhost", path).await
        }
        AdminAddr::Tcp(host) => {
            let stream = TcpStream::connect(host).await.map_err(failed)?;
            exchange(stream, &host.to_string(), path).await
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

async fn exchange<S>(stream: S, host: &str, path: &str) -> Result<Bytes, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| AskError::Broken(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    drop(tokio::spawn(connection));
    let request = Request::get(path)
        .header(header::HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| AskError::Broken(error.into()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != StatusCode::OK {
        return Err(AskError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(AskError::Broken)?;
    Ok(body.to_bytes())
}

const ANSWER_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
