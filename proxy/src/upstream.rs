//! Stop-gap until Herald's own client lands: hyper's, one connection a request.
use crate::headers::Outbound;
use crate::relay::{RelayBody, RelayError};
use bytes::BytesMut;
use std::rc::Rc;
use std::time::Duration;
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("a")]
    ConnectTimeout,
    #[error("b")]
    ResponseTimeout,
    #[error("c")]
    ClientBody(std::io::Error),
    #[error("{0}")]
    Other(String),
}
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_idle: usize,
}
#[derive(Debug)]
pub struct Upstream(crate::config::UpstreamAddr);
impl Upstream {
    pub fn new(a: crate::config::UpstreamAddr, _: Limits) -> Rc<Self> {
        Rc::new(Self(a))
    }
    pub async fn send<B>(
        self: &Rc<Self>,
        outbound: &Outbound<'_>,
        body: B,
    ) -> Result<http::Response<RelayBody<B>>, UpstreamError>
    where
        B: http_body::Body<Data = bytes::Bytes> + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let other = |e: &dyn std::fmt::Display| UpstreamError::Other(e.to_string());
        let tcp = tokio::net::TcpStream::connect((self.0.host(), self.0.port()))
            .await
            .map_err(|e| other(&e))?;
        let (mut sender, conn) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(tcp))
                .await
                .map_err(|e| other(&e))?;
        drop(tokio::task::spawn_local(conn));
        let mut head = BytesMut::new();
        outbound.write_http1_head(&mut head);
        let mut lines = [httparse::EMPTY_HEADER; 256];
        let mut parsed = httparse::Request::new(&mut lines);
        parsed.parse(&head).map_err(|e| other(&e))?;
        let mut request = http::Request::builder()
            .method(outbound.method().clone())
            .uri(parsed.path.unwrap_or("/"));
        for header in parsed.headers.iter() {
            request = request.header(header.name, header.value);
        }
        let request = request.body(body).map_err(|e| other(&e))?;
        let response = sender.send_request(request).await.map_err(|e| other(&e))?;
        Ok(response.map(|body| RelayBody::new(body)))
    }
}
