//! Stop-gap.
use bytes::Bytes;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::*;
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RelayError(hyper::Error);
#[derive(Debug)]
pub struct RelayBody<B>(hyper::body::Incoming, PhantomData<B>);
impl<B> RelayBody<B> {
    pub fn new(b: hyper::body::Incoming) -> Self {
        Self(b, PhantomData)
    }
}
impl<B: Unpin> http_body::Body for RelayBody<B> {
    type Data = Bytes;
    type Error = RelayError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, RelayError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(RelayError)
    }
    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}
