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

/// What a client of hyper's server gets, byte for byte, when hyper polls a relayed body.
fn through_hyper(response: &'static [u8], request: &'static [u8]) -> String {
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        let service = service_fn(async |request| {
            let sent = crate::upstream::tests::forward(request, response).await?;
            Ok::<_, UpstreamError>(sent.map(RelayBody::new))
        });
        let io = hyper_util::rt::TokioIo::new(server);
        let served = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(io, service);
        let mut received = String::new();
        let (_served, read) = tokio::join!(served, client.read_to_string(&mut received));
        read.unwrap();
        received
    })
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc";

#[test]
fn hyper_keeps_a_declared_length() {
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    for request in [GET, POST] {
        let received = through_hyper(response, request);
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-length: 5"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(body, "hello");
    }
}

#[test]
fn hyper_frames_a_chunked_body_anew_and_ends_it() {
    let response =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nx: y\r\n\r\n";
    let received = through_hyper(response, GET);
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
}

/// The client must see a cut as a cut: no last chunk, no full length.
#[test]
fn hyper_shows_the_client_a_cut() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let received = through_hyper(chunked, GET);
    assert!(received.ends_with("\r\n\r\n5\r\nhello\r\n"), "{received}");
    let long = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    let received = through_hyper(long, POST);
    assert!(received.contains("content-length: 9"), "{received}");
    assert!(received.ends_with("\r\n\r\nhello"), "{received}");
    let bad = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n!\r\n0\r\n\r\n";
    let received = through_hyper(bad, GET);
    assert!(!received.contains("\r\n0\r\n"), "{received}");
}

#[test]
fn hyper_answers_head_with_the_length_of_get() {
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
    let received = through_hyper(response, b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(received.contains("content-length: 99\r\n"), "{received}");
    assert!(received.ends_with("\r\n\r\n"), "{received}");
}
