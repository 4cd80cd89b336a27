//! stub
use std::pin::Pin; use std::task::*; use bytes::Bytes;
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct RelayError;
#[derive(Debug)] pub struct RelayBody<B>(B);
impl<B: Unpin> http_body::Body for RelayBody<B> { type Data = Bytes; type Error = RelayError;
 fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, RelayError>>> { Poll::Pending } }
