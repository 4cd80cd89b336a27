//! What hyper and an observer see of a relayed body.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use http_body_util::{BodyExt, Full};

use super::*;

type Journal = Rc<RefCell<Vec<String>>>;

struct Journalist {
    journal: Journal,
    impatient: bool,
}

impl Watch for Journalist {
    fn poll_idle(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        if self.impatient {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn ended(&mut self, totals: Totals, end: End<'_>) {
        let Totals { sent, received } = totals;
        let line = format!("{sent} {received} {end:?}");
        self.journal.borrow_mut().push(line);
    }
}

type TestBody = RelayBody<Full<Bytes>, Journalist>;

/// A relayed POST of 3 bytes whose response is this.
fn relayed<T>(
    response: &'static [u8],
    impatient: bool,
    test: impl AsyncFnOnce(TestBody) -> T,
) -> (T, Vec<String>) {
    let journal = Journal::default();
    let watch = Journalist {
        journal: Rc::clone(&journal),
        impatient,
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    let result = runtime.block_on(async {
        let transfer = crate::upstream::tests::post(b"abc", response).await;
        test(RelayBody::watched(transfer, watch)).await
    });
    (result, journal.take())
}

async fn next(body: &mut TestBody) -> Option<Result<Bytes, RelayError>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

#[test]
fn a_complete_body_is_recorded_once_with_its_bytes() {
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let (data, journal) = relayed(response, false, async |body| {
        assert_eq!(body.size_hint().exact(), Some(5));
        body.collect().await.unwrap().to_bytes()
    });
    assert_eq!(data, "hello");
    assert_eq!(journal, ["3 5 Complete"]);
}

#[test]
fn a_body_that_is_empty_from_the_start_is_complete_unpolled() {
    let response = b"HTTP/1.1 204 No Content\r\n\r\n";
    let (_, journal) = relayed(response, false, async |body| {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    });
    assert_eq!(journal, ["3 0 Complete"]);
}

#[test]
fn a_cut_is_an_error_frame_and_then_nothing() {
    let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz";
    let (_, journal) = relayed(response, false, async |mut body| {
        // The bad size came in the same read as the data: neither is passed on as an end.
        let error = loop {
            match next(&mut body).await.expect("no clean end") {
                Ok(data) => assert_eq!(data, "ok"),
                Err(error) => break error,
            }
        };
        assert!(matches!(
            error,
            RelayError::Upstream(UpstreamError::BadResponse(_))
        ));
        assert!(next(&mut body).await.is_none());
    });
    assert_eq!(journal.len(), 1);
    assert!(
        journal[0].contains("Failed(Upstream(BadResponse(ChunkSize)))"),
        "{journal:?}"
    );
}

#[test]
fn a_dropped_body_is_recorded_as_dropped() {
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    let (_, journal) = relayed(response, false, async |mut body| {
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "hello");
        assert!(!body.is_end_stream());
    });
    assert_eq!(journal, ["3 5 Dropped"]);
}

#[test]
fn an_idle_body_ends_when_its_watch_says_so() {
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    let (_, journal) = relayed(response, true, async |mut body| {
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "hello");
        let error = next(&mut body).await.unwrap().unwrap_err();
        assert!(matches!(error, RelayError::Idle));
        assert!(
            body.transfer().origin().is_none(),
            "the connection is closed"
        );
    });
    assert_eq!(journal, ["3 5 Failed(Idle)"]);
}
