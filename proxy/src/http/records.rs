//! A response body cut so that an HTTP/2 DATA frame with its head fits one TLS record. A piece of
//! 16384 bytes would take two, one of them nine bytes long, and each record costs a seal, a header
//! and a tag (RFC 9113 §4.1, RFC 8446 §5.1). Takes a body, gives the same bytes in pieces.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

pin_project_lite::pin_project! {
    /// See the module's documentation.
    pub(super) struct RecordSized<B> {
        #[pin]
        body: B,
        piece_max: usize,
        rest: Bytes,
    }
}

impl<B> RecordSized<B> {
    /// `body`, cut for HTTP/2; HTTP/1.1 has no frames and takes what comes.
    pub(super) fn new(body: B, is_http2: bool) -> Self {
        let piece_max = if is_http2 { PIECE_MAX } else { usize::MAX };
        Self {
            body,
            piece_max,
            rest: Bytes::new(),
        }
    }
}

impl<B: Body<Data = Bytes>> Body for RecordSized<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if !this.rest.is_empty() {
            let piece = this.rest.split_to(this.rest.len().min(*this.piece_max));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let mut frame = ready!(this.body.poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(data) = frame.data_mut()
            && data.len() > *this.piece_max
        {
            *this.rest = data.split_off(*this.piece_max);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// The most plaintext of a record, less the head of a frame.
const PIECE_MAX: usize = 16 * 1024 - 9;

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn pieces_fit_a_record_and_lose_nothing() {
        for length in [0, 1, PIECE_MAX, PIECE_MAX + 1, 65_536] {
            let whole = Bytes::from_iter((0..=u8::MAX).cycle().take(length));
            let mut body = RecordSized::new(Full::new(whole.clone()), true);
            let mut got = Vec::new();
            let mut pieces = 0;
            while !body.is_end_stream() {
                assert_eq!(body.size_hint().exact(), Some((length - got.len()) as u64));
                let frame = body.frame().await.unwrap().unwrap();
                let piece = frame.into_data().unwrap();
                assert!(piece.len() <= PIECE_MAX);
                got.extend(&piece);
                pieces += 1;
            }
            assert_eq!(got, whole);
            assert_eq!(pieces, length.div_ceil(PIECE_MAX));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn http1_takes_what_comes() {
        let whole = Bytes::from(vec![7; 100_000]);
        let mut body = RecordSized::new(Full::new(whole.clone()), false);
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            whole
        );
    }
}
