//! One attempt at an exchange over HTTP/2: opens a stream, sends the head and as much of the body
//! as goes, and waits for the response's head. What failed gives the body back if a second attempt
//! would send the same request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::{self, HeaderMap};
use http::{Method, Response, StatusCode};
use http_body::Body;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Slot;
use super::transfer::Http2Transfer;
use super::upload::Upload;
use crate::headers::Framing;
use crate::upstream::RequestHead;
use crate::upstream::error::{BadResponse, BodyError, UpstreamError};
use crate::upstream::http1::Failed;
use crate::upstream::limits::Limits;
use crate::upstream::pool::TrailerFilters;

/// Sends the request and waits for the response's head.
pub(in crate::upstream) async fn exchange<H, B>(
    mut slot: Slot,
    head: &H,
    body: B,
    scheme: http::uri::Scheme,
    (limits, filters): (&Limits, &TrailerFilters),
) -> Result<Response<Http2Transfer<B>>, Failed<B>>
where
    H: RequestHead,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    let Some(request) = head.http2_request(scheme) else {
        return Err(Failed::finally(UpstreamError::NotHttp2));
    };
    let ends = body.is_end_stream();
    if let (true, Framing::Length(missing @ 1..)) = (ends, head.framing()) {
        return Err(Failed::finally(UpstreamError::ClientBodyShort { missing }));
    }
    let (response, stream) = match slot.sender.send_request(request, ends) {
        Ok(opened) => opened,
        // The connection is going away, or out of stream numbers: nothing was sent.
        Err(error) => {
            slot.retire();
            return Err(Failed {
                error: UpstreamError::Http2(error),
                unsent: Some(body),
                unprocessed: true,
            });
        }
    };
    let stream = (!ends).then_some(stream);
    let mut wait = Wait {
        response,
        upload: Upload::new(body, head.framing(), stream, Rc::clone(&filters.request)),
        informational: 0,
        sent: 0,
    };
    let deadline = pin!(sleep_until(Instant::now() + limits.response_timeout));
    match wait.run(limits, deadline).await {
        Ok(response) => match checked(response, head.method()) {
            Ok((response, length)) => Ok(response.map(|received| {
                Http2Transfer::new(slot, wait.upload, received, length, &filters.response)
            })),
            Err(bad) => Err(Failed::finally(bad.into())),
        },
        Err(error) => {
            let (unprocessed, lost) = judge(&error);
            if unprocessed || lost || matches!(error, UpstreamError::ResponseTimeout) {
                slot.retire();
            }
            Err(Failed {
                unsent: wait.upload.into_untouched(),
                unprocessed,
                error,
            })
        }
    }
}

/// Whether the origin says that it has not processed the request (RFC 9113 §8.7), and whether the
/// connection is gone.
fn judge(error: &UpstreamError) -> (bool, bool) {
    let UpstreamError::Http2(error) = error else {
        return (false, false);
    };
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // h2 gives this error to the streams behind the last one that the GOAWAY names, and no other.
    let passed_over = error.is_go_away() && error.is_remote();
    (
        passed_over || (refused && error.is_remote()),
        error.is_io() || error.is_go_away(),
    )
}

/// The wait for a response's head.
struct Wait<B> {
    response: ResponseFuture,
    upload: Upload<B>,
    informational: u8,
    /// `Upload::sent` when the deadline was set.
    sent: u64,
}

impl<B> Wait<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    async fn run(
        &mut self,
        limits: &Limits,
        mut deadline: Pin<&mut Sleep>,
    ) -> Result<Response<RecvStream>, UpstreamError> {
        poll_fn(|cx| {
            if let Poll::Ready(response) = self.poll(limits, cx) {
                return Poll::Ready(response);
            }
            while deadline.as_mut().poll(cx).is_ready() {
                if self.upload.sent() == self.sent {
                    return Poll::Ready(Err(match self.upload.waits_for_client() {
                        true => UpstreamError::ClientStalled,
                        false => UpstreamError::ResponseTimeout,
                    }));
                }
                self.sent = self.upload.sent();
                let next = Instant::now() + limits.response_timeout;
                deadline.as_mut().reset(next);
            }
            Poll::Pending
        })
        .await
    }

    fn poll(
        &mut self,
        limits: &Limits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, UpstreamError>> {
        match self.upload.poll(cx) {
            // An origin may have enough of a request and answer; if it does not, the response
            // tells why.
            Poll::Ready(Err(UpstreamError::Http2(_))) => self.upload.stop(),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending | Poll::Ready(Ok(())) => {}
        }
        while let Poll::Ready(Some(Ok(_))) = self.response.poll_informational(cx) {
            self.informational = self.informational.saturating_add(1);
            if self.informational > limits.max_informational {
                return Poll::Ready(Err(BadResponse::TooManyInformational.into()));
            }
        }
        Pin::new(&mut self.response)
            .poll(cx)
            .map_err(UpstreamError::Http2)
    }
}

/// The response, if its head means one thing only, with the length it declares for a body that
/// comes.
fn checked(
    mut response: Response<RecvStream>,
    method: &Method,
) -> Result<(Response<RecvStream>, Option<u64>), BadResponse> {
    if response.headers().len() > MAX_FIELDS {
        return Err(BadResponse::TooManyHeaders);
    }
    let length = declared_length(response.headers())?;
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6: a 204 has no length.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let has_none = method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok((response, length.filter(|_| !has_none)))
}

/// `Content-Length`, of which repeated lines must agree; h2 looks at the first alone.
fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, BadResponse> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let declared = value
            .to_str()
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or(BadResponse::ContentLength)?;
        if length.replace(declared).is_some() {
            return Err(BadResponse::ContentLengthConflict);
        }
    }
    Ok(length)
}

/// Field lines of a response's head; h2 has bounded its bytes.
const MAX_FIELDS: usize = 128;
