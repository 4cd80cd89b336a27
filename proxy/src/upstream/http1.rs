//! One attempt at an exchange over HTTP/1.1: the request goes out on a leased connection and its
//! response's head comes in. What failed gives the body back if a second attempt would send the
//! same request.

use std::future::poll_fn;

use bytes::Bytes;
use http::{Method, Response};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::RequestHead;
use super::error::{BodyError, UpstreamError};
use super::pool::Lease;
use super::transfer::Transfer;
use super::upload::Upload;
use super::wait::HeadWait;

/// An attempt without a response.
#[derive(Debug)]
pub(super) struct Failed<B> {
    pub(super) error: UpstreamError,
    /// The request's body, if nothing was taken from it and no byte was answered.
    pub(super) unsent: Option<B>,
    /// Whether the origin has certainly not acted on the request.
    pub(super) unprocessed: bool,
}

impl<B> Failed<B> {
    /// A failure that no second attempt changes.
    pub(super) fn finally(error: UpstreamError) -> Self {
        Self {
            error,
            unsent: None,
            unprocessed: false,
        }
    }

    /// The body for a second attempt, on a new connection, after one on a connection that was open
    /// already; or why there is none.
    pub(super) fn retry(self, method: &Method) -> Result<B, UpstreamError> {
        let is_safe =
            self.unprocessed || (self.error.is_lost_connection() && method.is_idempotent());
        match self.unsent {
            Some(body) if is_safe => Ok(body),
            _ => Err(self.error),
        }
    }
}

/// Sends the request and waits for the response's head. The request's body is sent as far as it
/// comes until then, and by the returned [`Transfer`] from then on.
pub(super) async fn exchange<H, B, S>(
    mut lease: Lease<S>,
    head: &H,
    body: B,
    now: Instant,
) -> Result<Response<Box<Transfer<B, S>>>, Failed<B>>
where
    H: RequestHead,
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    let mut upload = Upload::new(body, head.framing());
    let mut wait = HeadWait::new(head.method(), head.upgrade());
    head.write_http1_head(lease.room_for_head());
    lease
        .connection
        .arm(now + lease.pool.limits.response_timeout);
    match poll_fn(|cx| wait.poll(&mut lease, &mut upload, cx)).await {
        Ok(head) => {
            let transfer = Transfer::new(lease, upload, head.body, head.keep_alive);
            let mut response = Response::new(Box::new(transfer));
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers;
            Ok(response)
        }
        Err(error) => Err(Failed {
            error,
            unsent: (!wait.is_answered())
                .then(|| upload.into_untouched())
                .flatten(),
            unprocessed: false,
        }),
    }
}
