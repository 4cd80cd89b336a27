//! The demonstration's callers. They write HTTP/1.1 byte by byte, since an honest client library
//! would not send most of it; HTTP/2 goes through hyper.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::Answer;
use super::pki::Pki;
use super::rows::{Row, Says};
use crate::tls::context;

/// Makes the row's request.
pub(super) async fn ask(pki: &Pki, address: SocketAddr, row: &Row) -> io::Result<Answer> {
    let tls = connect(pki, address, row).await?;
    let (status, body) = match row.says {
        Says::Http1(lines) => ask_http1(tls, lines).await?,
        Says::Http2(fields) => ask_http2(tls, fields).await?,
    };
    let seen = body.starts_with("The origin saw:").then(|| {
        let pair = |line: &str| {
            line.split_once(": ")
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
        };
        body.lines().skip(3).filter_map(pair).collect()
    });
    Ok(Answer { status, seen })
}

async fn connect(pki: &Pki, address: SocketAddr, row: &Row) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pki.read("ca.crt")?) {
        roots
            .add(certificate.map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
    }
    let config = ClientConfig::builder_with_provider(context::provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let mut config = match row.presents.file() {
        None => config.with_no_client_auth(),
        Some(file) => {
            let chain = CertificateDer::from_pem_slice(&pki.read(&format!("{file}.crt"))?);
            let key = PrivateKeyDer::from_pem_slice(&pki.read(&format!("{file}.key"))?);
            let (chain, key) = (
                chain.map_err(io::Error::other)?,
                key.map_err(io::Error::other)?,
            );
            config
                .with_client_auth_cert(vec![chain], key)
                .map_err(io::Error::other)?
        }
    };
    if matches!(row.says, Says::Http2(_)) {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

async fn ask_http1(mut tls: TlsStream<TcpStream>, lines: &str) -> io::Result<(u16, String)> {
    tls.write_all(lines.as_bytes()).await?;
    tls.flush().await?;
    let mut answer = Vec::new();
    // An answer without close_notify ends in an error, the bytes before it still count.
    let end = tls.take(ANSWER_MAX).read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(end
            .err()
            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    }
}

async fn ask_http2(
    tls: TlsStream<TcpStream>,
    fields: &[(&str, &str)],
) -> io::Result<(u16, String)> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::get("https://localhost/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    driver.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// More than the origin answers.
const ANSWER_MAX: u64 = 256 * 1024;
