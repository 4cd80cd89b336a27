//! Large bodies: whole, in pieces, and never faster than the slower side.

use sha2::{Digest, Sha256};

use super::*;

const MIB: u64 = 1 << 20;

/// Bytes that differ everywhere, so that a lost or doubled piece changes the checksum.
fn pattern(length: u64) -> impl Iterator<Item = Bytes> {
    const PIECE: u64 = 48 * 1024;
    (0..length.div_ceil(PIECE)).map(move |number| {
        let piece = usize::try_from(PIECE.min(length - number * PIECE)).unwrap();
        let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = BytesMut::with_capacity(piece + 8);
        while bytes.len() < piece {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(piece);
        bytes.freeze()
    })
}

fn checksum(length: u64) -> [u8; 32] {
    let mut sum = Sha256::new();
    pattern(length).for_each(|piece| sum.update(&piece));
    sum.finalize().into()
}

/// The pattern as a request body, counting what was taken from it.
struct Uploaded<I> {
    pieces: I,
    taken: Rc<Cell<u64>>,
}

impl<I: Iterator<Item = Bytes> + Unpin> Body for Uploaded<I> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = self.pieces.next();
        count(&self.taken, piece.as_ref().map_or(0, Bytes::len));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Reads a body of either framing and sends the pattern back in the other.
async fn exchange_pattern(mut stream: TcpStream, length: u64) {
    let head = read_head(&mut stream).await.unwrap();
    let chunked = head.contains("chunked");
    let mut sum = Sha256::new();
    if chunked {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.unwrap());
            }
            let size = String::from_utf8(line).unwrap();
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.unwrap();
            if size == 0 {
                break;
            }
            sum.update(&chunk[..size]);
        }
    } else {
        let mut left = usize::try_from(length).unwrap();
        let mut piece = vec![0; 100_000];
        while left > 0 {
            let most = left.min(piece.len());
            let got = stream.read(&mut piece[..most]).await.unwrap();
            assert!(got > 0, "{left} bytes missing");
            sum.update(&piece[..got]);
            left -= got;
        }
    }
    let received: [u8; 32] = sum.finalize().into();
    assert!(received == checksum(length), "the upload arrived changed");
    let framing = if chunked {
        format!("content-length: {length}")
    } else {
        "transfer-encoding: chunked".to_owned()
    };
    let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in pattern(length) {
        if chunked {
            stream.write_all(&piece).await.unwrap();
        } else {
            let size = format!("{:x}\r\n", piece.len());
            stream.write_all(size.as_bytes()).await.unwrap();
            stream.write_all(&piece).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
        }
    }
    if !chunked {
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
    read_head(&mut stream).await;
}

#[test]
fn sixty_four_mebibytes_pass_unchanged_both_ways() {
    const LENGTH: u64 = 64 * MIB;
    for framing in [Framing::Length(LENGTH), Framing::Chunked] {
        run(async {
            let address = origin(|_, stream| exchange_pattern(stream, LENGTH)).await;
            let upstream = upstream(address);
            let post = Request::new(Method::POST, framing);
            let body = Uploaded {
                pieces: pattern(LENGTH),
                taken: Rc::default(),
            };
            let response = upstream.send_request(&post, body, None).await.unwrap();
            let mut transfer = response.into_body();
            let mut sum = Sha256::new();
            let mut largest = 0;
            while let Some(frame) = poll_fn(|cx| transfer.poll_frame(cx)).await {
                let piece = frame.unwrap().into_data().unwrap();
                largest = largest.max(piece.len());
                sum.update(&piece);
            }
            let received: [u8; 32] = sum.finalize().into();
            assert!(received == checksum(LENGTH), "the response arrived changed");
            assert_eq!((transfer.sent(), transfer.received()), (LENGTH, LENGTH));
            assert!(largest <= 64 * 1024, "a piece of {largest} bytes");
            assert_eq!(upstream.idle(), 1, "{framing:?}");
        });
    }
}

#[test]
fn nothing_is_read_from_the_origin_that_nobody_asked_for() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 * MIB);
            stream.write_all(head.as_bytes()).await.unwrap();
            for piece in pattern(64 * MIB) {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let (upstream, counts) = counted(address);
        let request = Request::get();
        let sent = upstream.send_request(&request, Empty::<Bytes>::new(), None);
        let mut transfer = sent.await.unwrap().into_body();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(counts.read_bytes.get() <= 4 * 1024);
        for _ in 0..10 {
            poll_fn(|cx| transfer.poll_frame(cx))
                .await
                .unwrap()
                .unwrap();
        }
        let read = counts.read_bytes.get();
        assert!(read - transfer.received() <= 4 * 1024, "read ahead");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(counts.read_bytes.get(), read);
    });
}

#[test]
fn the_request_body_is_taken_one_piece_ahead_of_the_socket() {
    run(async {
        let address = origin(|_, stream| async move {
            let _unread = stream;
            std::future::pending::<()>().await;
        })
        .await;
        let (upstream, counts) = counted(address);
        let taken = Rc::new(Cell::new(0));
        let body = Uploaded {
            pieces: pattern(256 * MIB),
            taken: Rc::clone(&taken),
        };
        let post = Request::new(Method::POST, Framing::Length(256 * MIB));
        let sent = upstream.send_request(&post, body, None);
        let stuck = tokio::time::timeout(Duration::from_millis(300), sent).await;
        assert!(stuck.is_err(), "nobody answers");
        let (taken, written) = (taken.get(), counts.written_bytes.get());
        assert!(taken < 256 * MIB, "the socket is never full");
        assert!(
            taken <= written + 48 * 1024,
            "{taken} taken, {written} written"
        );
    });
}

#[test]
fn an_idle_connection_holds_no_large_buffer() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MIB}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            for piece in pattern(MIB) {
                stream.write_all(&piece).await.unwrap();
            }
            read_head(&mut stream).await;
        })
        .await;
        let upstream = upstream(address);
        collect(get(&upstream).await.unwrap()).await.unwrap();
        let lease = upstream.endpoints[0].pool.checkout(None, Instant::now());
        let lease = lease.unwrap();
        let connection = &lease.connection;
        assert_eq!(connection.read.capacity() + connection.out.capacity(), 0);
    });
}
