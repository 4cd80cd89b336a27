//! A request's body as hyper reads it off the client's connection. It tells the connection when it
//! was read to its end: until then, what comes next on the stream may belong to it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::activity::{Activity, Unread};

/// See the module's documentation.
#[derive(Debug)]
pub struct ClientBody {
    body: Incoming,
    unread: Option<Unread>,
}

impl ClientBody {
    pub(super) fn new(body: Incoming, activity: &Rc<Activity>) -> Self {
        let unread = activity.begin(!body.is_end_stream());
        Self { body, unread }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // With a length hyper knows the end with the last byte, and may not be asked again.
        let is_over = match &frame {
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        };
        if is_over && let Some(unread) = self.unread.take() {
            unread.read();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
