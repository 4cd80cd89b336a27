//! Connections at rest: a stream of this file's counts how often it is waited for without a buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::Instant;

use hyper::rt::ReadBufCursor;
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::drain::{self, DrainTrigger};
use crate::http::Withdrawal;

/// A client's end of the stream, and the server's.
#[derive(Clone, Debug, Default)]
struct Wire(Rc<RefCell<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    sent: VecDeque<u8>,
    is_over: bool,
    answered: Vec<u8>,
    waker: Option<Waker>,
    /// How often the connection was found at rest.
    parked: usize,
    /// The next look at the parked stream finds it readable, though there is nothing to read.
    stirred: bool,
}

impl Wire {
    fn send(&self, text: &str) {
        self.0.borrow_mut().sent.extend(text.as_bytes());
        self.wake();
    }

    /// Something came that is no plaintext: a part of a record.
    fn stir(&self) {
        self.0.borrow_mut().stirred = true;
        self.wake();
    }

    fn hang_up(&self) {
        self.0.borrow_mut().is_over = true;
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.0.borrow_mut().waker.take() {
            waker.wake();
        }
    }

    fn answers(&self) -> usize {
        let ends = self.0.borrow();
        let text = String::from_utf8_lossy(&ends.answered);
        text.matches("HTTP/1.1 200 OK").count()
    }

    fn parked(&self) -> usize {
        self.0.borrow().parked
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.0.borrow_mut();
        if ends.sent.is_empty() && !ends.is_over {
            ends.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = ends.sent.len().min(buf.remaining());
        let bytes: Vec<u8> = ends.sent.drain(..count).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl Awaited for Wire {
    fn poll_awaited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ends = self.0.borrow_mut();
        if !ends.sent.is_empty() || ends.is_over || std::mem::take(&mut ends.stirred) {
            return Poll::Ready(());
        }
        ends.parked += 1;
        ends.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ends = self.0.borrow_mut();
        if ends.sent.is_empty() && ends.is_over {
            return Poll::Ready(());
        }
        ends.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().answered.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A connection that is served, with what can end it.
struct Scene {
    wire: Wire,
    trigger: DrainTrigger,
    withdrawal: Rc<Withdrawal>,
    serving: JoinHandle<Result<Served<Wire>, hyper::Error>>,
}

impl Scene {
    fn new(head_timeout: Duration) -> Self {
        let wire = Wire::default();
        let (trigger, drain) = drain::channel();
        let withdrawal = Rc::<Withdrawal>::default();
        let endings = Endings {
            drain,
            withdrawal: Rc::clone(&withdrawal),
        };
        let io = wire.clone();
        let serving = tokio::task::spawn_local(async move {
            let limits = limits(head_timeout);
            // Answers without a look at the body, if at all.
            let answer = |request: Request<ClientBody>| async move {
                if request.uri().path() == "/never" {
                    std::future::pending::<()>().await;
                }
                drop(request);
                Response::new(http_body_util::Full::new(Bytes::from_static(b"here")))
            };
            serve(io, Protocol::Http1, &limits, endings, answer).await
        });
        Self {
            wire,
            trigger,
            withdrawal,
            serving,
        }
    }

    async fn answered(&self, count: usize) {
        until(|| self.wire.answers() == count).await;
    }

    async fn at_rest(&self) {
        until(|| self.wire.parked() > 0).await;
    }

    async fn ended(self) -> Served<Wire> {
        let ended = tokio::time::timeout(PATIENCE, self.serving).await;
        ended.expect("ends").expect("no panic").expect("no error")
    }
}

fn limits(head_timeout: Duration) -> Limits {
    Limits {
        head_timeout,
        idle_timeout: Duration::from_secs(60),
        drain_idle_timeout: Duration::from_millis(200),
        head_bytes_max: 16 * 1024,
        head_fields_max: 100,
        http2_streams_max: 10,
        http2_resets_max: 10,
        write_timeout: Duration::from_secs(60),
        verdict_grace: Duration::from_millis(200),
        http2_stream_window: 65_535,
        http2_connection_window: 65_535,
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it happens");
}

/// Deadlines are those of the machine's clock, so time is not paused.
fn scene<F: Future<Output = ()>>(head_timeout: Duration, play: impl FnOnce(Scene) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async { play(Scene::new(head_timeout)).await });
}

#[test]
fn a_connection_at_rest_is_served_again() {
    scene(LONG, async |scene| {
        for count in 1..=2 {
            scene.wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            scene.answered(count).await;
            let before = scene.wire.parked();
            until(|| scene.wire.parked() > before).await;
        }
        scene.wire.hang_up();
        assert!(matches!(scene.ended().await, Served::Left(_)));
    });
}

#[test]
fn a_client_that_goes_while_it_waits_is_not_waited_for() {
    scene(LONG, async |scene| {
        scene.wire.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.wire.hang_up();
        let error = tokio::time::timeout(PATIENCE, scene.serving).await;
        let error = error.expect("ends").expect("no panic").unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.contains("end of file"), "{error}");
    });
}

#[test]
fn a_client_that_asked_more_has_not_gone() {
    scene(LONG, async |scene| {
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        scene.wire.send(&request("/never"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.wire.send(&request("/"));
        scene.wire.hang_up();
        tokio::time::sleep(REST).await;
        assert!(!scene.serving.is_finished());
    });
}

#[test]
fn one_that_never_asked_is_at_rest_too() {
    scene(LONG, async |scene| {
        scene.at_rest().await;
        scene.wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        scene.answered(1).await;
    });
}

#[test]
fn a_head_that_has_begun_is_never_put_aside() {
    scene(LONG, async |scene| {
        scene
            .wire
            .send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHo");
        scene.answered(1).await;
        tokio::time::sleep(REST).await;
        assert_eq!(scene.wire.parked(), 0);
        scene.wire.send("st: a\r\n\r\n");
        scene.answered(2).await;
        scene.at_rest().await;
    });
}

#[test]
fn a_body_that_was_given_up_is_never_mistaken_for_a_request() {
    scene(LONG, async |scene| {
        scene
            .wire
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET");
        scene.answered(1).await;
        tokio::time::sleep(REST).await;
        scene.wire.send(" / HTTP/1.1\r\nHost: a\r\n\r\n");
        tokio::time::sleep(REST).await;
        assert_eq!((scene.wire.parked(), scene.wire.answers()), (0, 1));
    });
}

/// Waking a connection at rest began its time anew: a client that sent a byte of a record every
/// second or so was never idle.
#[test]
fn what_is_no_request_gains_no_time() {
    scene(Duration::from_millis(2500), async |scene| {
        let begun = Instant::now();
        scene.at_rest().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        scene.wire.stir();
        let error = tokio::time::timeout(PATIENCE, scene.serving).await;
        let error = error.expect("ends").expect("no panic").unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(begun.elapsed() < Duration::from_millis(3200));
    });
}

#[test]
fn a_connection_that_stays_at_rest_is_idle() {
    scene(Duration::from_millis(1500), async |scene| {
        assert!(matches!(scene.ended().await, Served::Idle(_)));
    });
}

#[test]
fn a_drain_finds_what_is_at_rest() {
    scene(LONG, async |scene| {
        scene.at_rest().await;
        scene.trigger.start();
        assert!(matches!(scene.ended().await, Served::Left(_)));
    });
}

#[test]
fn a_withdrawal_finds_what_is_at_rest() {
    scene(LONG, async |scene| {
        scene.at_rest().await;
        scene.withdrawal.set();
        let before = scene.wire.parked();
        scene.wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        scene.answered(1).await;
        tokio::time::sleep(REST).await;
        assert_eq!(scene.wire.parked(), before);
    });
}

/// Longer than a connection is idle before it is at rest.
const REST: Duration = Duration::from_millis(1400);
const LONG: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);
