//! A request's body under its limit on size. What the head declares is refused before the origin
//! is asked; what comes unannounced, when it has become too much.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::incoming::ClientBody;

/// A body that ends with an error once it is larger than it may be.
#[derive(Debug)]
pub struct RequestBody<B = ClientBody> {
    body: B,
    left: u64,
}

/// More than the limit; the client sees `413`.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the request body is larger than is taken here")]
pub struct BodyTooLarge;

/// Why a body ended early.
#[derive(Debug, Error)]
pub enum BodyFailure<E: std::error::Error + 'static> {
    /// The limit.
    #[error(transparent)]
    TooLarge(#[from] BodyTooLarge),
    /// The client.
    #[error(transparent)]
    Client(E),
}

impl<B: Body> RequestBody<B> {
    /// `body`, of at most `max` bytes if there is a limit.
    pub fn new(body: B, max: Option<u64>) -> Result<Self, BodyTooLarge> {
        let left = max.unwrap_or(u64::MAX);
        if body.size_hint().lower() > left {
            return Err(BodyTooLarge);
        }
        Ok(Self { body, left })
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    type Data = Bytes;
    type Error = BodyFailure<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(BodyFailure::Client)?;
        let length = frame.data_ref().map_or(0, Bytes::len);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let Some(left) = this.left.checked_sub(length) else {
            return Poll::Ready(Some(Err(BodyTooLarge.into())));
        };
        this.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full};

    use super::*;

    /// A body that declares nothing and comes in pieces of these sizes.
    struct Pieces(Vec<usize>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let size = (!self.0.is_empty()).then(|| self.0.remove(0));
            Poll::Ready(size.map(|size| Ok(Frame::data(Bytes::from(vec![b'a'; size])))))
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_unannounced_body_ends_at_its_limit() {
        let fits = RequestBody::new(Pieces(vec![4, 6]), Some(10)).unwrap();
        assert_eq!(fits.collect().await.unwrap().to_bytes().len(), 10);
        let runs_over = RequestBody::new(Pieces(vec![4, 6, 1]), Some(10)).unwrap();
        let error = runs_over.collect().await.unwrap_err();
        assert!(matches!(error, BodyFailure::TooLarge(BodyTooLarge)));
    }

    #[test]
    fn a_declared_body_is_refused_at_once() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert!(RequestBody::new(body(), Some(4)).is_err());
        assert!(RequestBody::new(body(), Some(5)).is_ok());
        assert!(RequestBody::new(body(), None).is_ok());
    }
}
