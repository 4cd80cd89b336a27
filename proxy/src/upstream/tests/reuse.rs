//! When a connection is used again, and when a request is sent again.

use super::*;

#[test]
fn one_connection_serves_one_request_after_another() {
    run(async {
        let address = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        let upstream = upstream(address);
        for _ in 0..50 {
            assert_eq!(get_text(&upstream).await.unwrap(), "hello");
        }
        let stats = upstream.stats();
        assert_eq!((stats.opened, stats.reused, stats.retried), (1, 49, 0));
        assert_eq!(upstream.idle(), 1);
    });
}

/// Every response after which the next request needs a new connection.
#[test]
fn what_ends_a_connection_is_never_followed_by_a_request() {
    let responses: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200",
        b"HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\nx",
        b"HTTP/1.1 304 Same\r\ncontent-length: 2\r\n\r\nok",
    ];
    for response in responses {
        run(async {
            let address = answering(response).await;
            let upstream = upstream(address);
            for _ in 0..3 {
                get_text(&upstream).await.unwrap();
                assert_eq!(upstream.idle(), 0, "{}", response.escape_ascii());
            }
            assert_eq!(upstream.stats().opened, 3);
        });
    }
}

#[test]
fn bodyless_responses_keep_the_connection() {
    run(async {
        for response in [
            b"HTTP/1.1 204 No\r\n\r\n".as_slice(),
            b"HTTP/1.1 304 Same\r\ncontent-length: 7\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ] {
            let upstream = upstream(answering(response).await);
            for _ in 0..3 {
                let response = get(&upstream).await.unwrap();
                let body = response.body();
                assert!(body.is_end_stream());
                assert_eq!(body.size_hint().exact(), Some(0));
                // hyper never polls such a body.
                assert_eq!(upstream.idle(), 1);
            }
            assert_eq!(upstream.stats().opened, 1);
        }
        let head = Request::new(Method::HEAD, Framing::None);
        let upstream = upstream(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n").await);
        for _ in 0..3 {
            let sent = upstream
                .send_request(&head, Empty::<Bytes>::new(), None)
                .await;
            let response = sent.unwrap();
            assert_eq!(response.headers()["content-length"], "99");
            assert!(response.body().is_end_stream());
        }
        assert_eq!(upstream.stats().opened, 1);
    });
}

/// An origin that speaks unasked on an idle connection must not have its words taken for the
/// answer to the next request (response-queue poisoning).
#[test]
fn unsolicited_bytes_on_an_idle_connection_close_it() {
    run(async {
        let (spoke, mut spoken) = mpsc::channel(1);
        let address = origin(move |number, mut stream| {
            let spoke = spoke.clone();
            async move {
                let good = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
                let evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
                read_head(&mut stream).await;
                stream.write_all(good).await.unwrap();
                if number == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    stream.write_all(evil).await.unwrap();
                    spoke.send(()).await.unwrap();
                }
                std::future::pending::<()>().await;
            }
        })
        .await;
        let upstream = upstream(address);
        assert_eq!(get_text(&upstream).await.unwrap(), "good");
        spoken.recv().await.unwrap();
        // A turn of the driver, which learns of the bytes.
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(get_text(&upstream).await.unwrap(), "good");
        let stats = upstream.stats();
        assert_eq!((stats.opened, stats.reused, stats.discarded), (2, 0, 1));
    });
}

#[test]
fn an_idle_connection_that_the_origin_closed_is_noticed_without_a_retry() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(response).await.unwrap();
        })
        .await;
        let upstream = upstream(address);
        let post = Request::new(Method::POST, Framing::Length(2));
        for _ in 0..3 {
            let body = Full::new(Bytes::from_static(b"ab"));
            upstream.send_request(&post, body, None).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stats = upstream.stats();
        assert_eq!((stats.opened, stats.reused, stats.retried), (3, 0, 0));
        upstream.sweep(Instant::now());
        assert_eq!((upstream.idle(), upstream.stats().discarded), (0, 3));
    });
}

/// An origin that takes a second request and closes instead of answering it, on its first
/// connection: what a keep-alive race looks like.
async fn racing() -> SocketAddr {
    origin(|number, mut stream| async move {
        read_head(&mut stream).await;
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(response).await.unwrap();
        read_head(&mut stream).await;
        if number > 0 {
            stream.write_all(response).await.unwrap();
        }
    })
    .await
}

#[test]
fn an_idempotent_request_is_sent_once_more_after_a_lost_race() {
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        run(async {
            let upstream = upstream(racing().await);
            get_text(&upstream).await.unwrap();
            let request = Request::new(method, Framing::None);
            let sent = upstream
                .send_request(&request, Empty::<Bytes>::new(), None)
                .await;
            assert_eq!(collect(sent.unwrap()).await.unwrap().0, b"ok");
            let stats = upstream.stats();
            assert_eq!((stats.opened, stats.reused, stats.retried), (2, 1, 1));
        });
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    run(async {
        let upstream = upstream(racing().await);
        get_text(&upstream).await.unwrap();
        let request = Request::new(Method::POST, Framing::None);
        let sent = upstream
            .send_request(&request, Empty::<Bytes>::new(), None)
            .await;
        let error = sent.expect_err("the origin closed");
        assert!(error.is_lost_connection(), "{error:?}");
        assert_eq!((upstream.stats().retried, upstream.stats().opened), (0, 1));
    });
}

#[test]
fn a_put_whose_body_was_taken_is_never_sent_twice() {
    run(async {
        let upstream = upstream(racing().await);
        get_text(&upstream).await.unwrap();
        let request = Request::new(Method::PUT, Framing::Length(3));
        let body = Full::new(Bytes::from_static(b"abc"));
        let sent = upstream.send_request(&request, body, None).await;
        assert!(sent.expect_err("the origin closed").is_lost_connection());
        assert_eq!((upstream.stats().retried, upstream.stats().opened), (0, 1));
    });
}

#[test]
fn a_fresh_connection_is_never_retried() {
    run(async {
        let accepted = Rc::new(Cell::new(0));
        let seen = Rc::clone(&accepted);
        let address = origin(move |number, mut stream| {
            seen.set(number + 1);
            async move {
                read_head(&mut stream).await;
            }
        })
        .await;
        let error = get(&upstream(address)).await.expect_err("no answer");
        assert!(matches!(error, UpstreamError::Closed), "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(accepted.get(), 1);
    });
}

#[test]
fn half_an_answer_is_never_retried() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(response).await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 2").await.unwrap();
        })
        .await;
        let upstream = upstream(address);
        get_text(&upstream).await.unwrap();
        let error = get(&upstream).await.expect_err("half an answer");
        assert!(matches!(error, UpstreamError::Closed), "{error:?}");
        assert_eq!((upstream.stats().retried, upstream.stats().opened), (0, 1));
    });
}

#[test]
fn a_body_dropped_half_way_closes_the_connection() {
    run(async {
        let (closed, mut was_closed) = mpsc::channel(1);
        let address = origin(move |_, mut stream| {
            let closed = closed.clone();
            async move {
                read_head(&mut stream).await;
                let response = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
                stream.write_all(response).await.unwrap();
                let rest = stream.read(&mut [0; 8]).await;
                closed.send(rest.unwrap_or(0)).await.unwrap();
            }
        })
        .await;
        let upstream = upstream(address);
        let response = get(&upstream).await.unwrap();
        assert_eq!(response.body().size_hint().exact(), Some(100));
        drop(response);
        assert_eq!(was_closed.recv().await, Some(0));
        assert_eq!(upstream.idle(), 0);
    });
}

#[test]
fn idle_connections_expire_and_are_limited_in_number() {
    run(async {
        let address = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await;
        let limits = Limits {
            max_idle: 2,
            idle_timeout: Duration::from_secs(10),
            ..Limits::default()
        };
        let upstream = upstream_with(address, limits);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(get(&upstream).await.unwrap());
        }
        // Small bodies came with their heads, but the last byte is not taken yet.
        for response in held {
            collect(response).await.unwrap();
        }
        assert_eq!((upstream.idle(), upstream.stats().discarded), (2, 2));
        upstream.sweep(Instant::now() + Duration::from_secs(9));
        assert_eq!(upstream.idle(), 2);
        upstream.sweep(Instant::now() + Duration::from_secs(11));
        assert_eq!((upstream.idle(), upstream.stats().discarded), (0, 4));
    });
}

/// Buffers outlive a request: the bodies of hundreds of responses lie in the same few kilobytes.
#[test]
fn one_request_after_another_is_read_into_the_same_buffer() {
    run(async {
        let address = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let upstream = upstream(address);
        let mut places = Vec::new();
        // Would the allocator hand out the same place again, this would make it another.
        let mut held = Vec::new();
        for _ in 0..500 {
            let mut transfer = get(&upstream).await.unwrap().into_body();
            let frame = poll_fn(|cx| transfer.poll_frame(cx)).await;
            let piece = frame.unwrap().unwrap().into_data().unwrap();
            places.push(piece.as_ptr().addr());
            held.push(vec![0_u8; 4096]);
        }
        let (first, last) = (places.iter().min().unwrap(), places.iter().max().unwrap());
        assert!(last - first < 4096, "{} bytes apart", last - first);
        assert_eq!(upstream.stats().opened, 1);
    });
}
