use std::future::pending;
use std::io;

use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;

/// A client whose half-close is that of the pipe, and which writes only what it is asked to flush.
struct Client(DuplexStream);

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl HalfClose for Client {
    fn poll_half_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

const IDLE: Duration = Duration::from_secs(60);

fn forever() -> Option<Duration> {
    Some(Duration::MAX)
}

/// A tunnel and the outer ends of its two pipes, each of which holds 64 bytes.
fn scene(early: (&str, &str)) -> (Tunnel<Client, DuplexStream>, DuplexStream, DuplexStream) {
    let (client, client_end) = duplex(64);
    let (origin, origin_end) = duplex(64);
    let tunnel = Tunnel::new((Client(client), early.0.into()), (origin, early.1.into()));
    (tunnel, client_end, origin_end)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_was_read_ahead_comes_first_and_each_side_ends_by_itself() {
    let (tunnel, mut client, mut origin) = scene(("early up ", "early down "));
    let ends = async {
        client.write_all(b"up").await.unwrap();
        client.shutdown().await.unwrap();
        let mut seen = String::new();
        origin.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "early up up");
        // The client has ended; the origin has not.
        tokio::time::sleep(Duration::from_secs(30)).await;
        origin.write_all(b"down").await.unwrap();
        drop(origin);
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "early down down");
    };
    let ((totals, end), ()) = tokio::join!(tunnel.run(IDLE, forever, pending()), ends);
    end.unwrap();
    let expected = Totals {
        sent: 11,
        received: 15,
    };
    assert_eq!(totals, expected);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn more_than_either_side_holds_passes_both_ways_at_once() {
    let (tunnel, client, origin) = scene(("", ""));
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let side = |stream: DuplexStream| {
        let (mut read, mut write) = tokio::io::split(stream);
        let bytes = bytes.clone();
        async move {
            let sent = async {
                write.write_all(&bytes).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut seen = Vec::new();
            let ((), count) = tokio::join!(sent, read.read_to_end(&mut seen));
            count.unwrap();
            assert!(seen == bytes);
        }
    };
    let ((totals, end), (), ()) = tokio::join!(
        tunnel.run(IDLE, forever, pending()),
        side(client),
        side(origin)
    );
    end.unwrap();
    assert_eq!((totals.sent, totals.received), (200_000, 200_000));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_silent_tunnel_is_cut_after_its_idle_time_and_no_earlier() {
    let (tunnel, mut client, _origin) = scene(("", ""));
    let began = Instant::now();
    let talk = async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        client.write_all(b"x").await.unwrap();
        pending::<()>().await;
    };
    let end = tokio::select! {
        (_, end) = tunnel.run(IDLE, forever, pending()) => end,
        () = talk => unreachable!(),
    };
    assert!(matches!(end, Err(TunnelError::Idle)));
    assert_eq!(began.elapsed().as_secs(), 110);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_side_that_takes_nothing_is_silence_too() {
    let (tunnel, mut client, _origin) = scene(("", ""));
    let flood = async { while client.write_all(&[0; 32]).await.is_ok() {} };
    let ((totals, end), ()) = tokio::join!(tunnel.run(IDLE, forever, pending()), flood);
    assert!(matches!(end, Err(TunnelError::Idle)));
    assert_eq!(totals.sent, 64, "what the origin's pipe holds");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_caller_whose_right_ends_loses_the_tunnel_then() {
    let (tunnel, _client, _origin) = scene(("", ""));
    let began = Instant::now();
    let mut rights = [Some(Duration::from_secs(7)), None].into_iter();
    let (_, end) = tunnel
        .run(IDLE, || rights.next().flatten(), pending())
        .await;
    assert!(matches!(end, Err(TunnelError::Withdrawn)));
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_broken_side_ends_the_tunnel() {
    let (tunnel, mut client, origin) = scene(("", ""));
    drop(origin);
    // The pipe's writer learns of it with its next byte.
    client.write_all(b"x").await.unwrap();
    let (_, end) = tunnel.run(IDLE, forever, pending()).await;
    assert!(matches!(end, Err(TunnelError::Origin(_))), "{end:?}");
}
