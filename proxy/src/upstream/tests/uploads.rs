//! Uploads beside their answers: early ones, broken ones, slow ones.

use super::*;

/// An origin may refuse a body before it has read it. Its answer arrives; the rest of the body is
/// not sent; the connection is not used again.
#[test]
fn an_early_response_ends_the_upload() {
    run(async {
        let address = answering(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await;
        let upstream = upstream(address);
        let (feed, body) = fed();
        feed.send(data("first")).await.unwrap();
        let post = Request::new(Method::POST, Framing::Length(1000));
        let response = upstream.send_request(&post, body, None).await.unwrap();
        assert_eq!(response.status().as_u16(), 413);
        let mut transfer = response.into_body();
        let frame = poll_fn(|cx| transfer.poll_frame(cx))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), "no");
        assert!(transfer.is_end_stream() && transfer.sent() == 5);
        assert_eq!((upstream.idle(), upstream.stats().opened), (0, 1));
    });
}

#[test]
fn an_upload_goes_on_while_the_response_is_polled() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let mut echoed = [0; 6];
            stream.read_exact(&mut echoed).await.unwrap();
            stream.write_all(&echoed).await.unwrap();
            read_head(&mut stream).await;
        })
        .await;
        let upstream = upstream(address);
        let (feed, body) = fed();
        let post = Request::new(Method::POST, Framing::Length(6));
        let response = upstream.send_request(&post, body, None).await.unwrap();
        tokio::task::spawn_local(async move {
            feed.send(data("abc")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
            feed.send(data("def")).await.unwrap();
        });
        assert_eq!(collect(response).await.unwrap().0, b"abcdef");
        assert_eq!(upstream.idle(), 1);
    });
}

/// An origin that answers and closes while the request is still being sent: its answer counts,
/// not the broken pipe.
#[test]
fn an_answer_outlives_a_broken_upload() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            let mut some = [0; 100];
            stream.read_exact(&mut some).await.unwrap();
            let response = b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno";
            stream.write_all(response).await.unwrap();
            stream.shutdown().await.unwrap();
            // Dropped with unread bytes later, which resets the connection.
            tokio::time::sleep(Duration::from_millis(300)).await;
        })
        .await;
        let upstream = upstream(address);
        let body = Full::new(Bytes::from(vec![0; 32 << 20]));
        let post = Request::new(Method::POST, Framing::Length(32 << 20));
        let response = upstream.send_request(&post, body, None).await.unwrap();
        assert_eq!(response.status().as_u16(), 403);
        assert_eq!(collect(response).await.unwrap().0, b"no");
        assert_eq!(upstream.idle(), 0);
    });
}

#[test]
fn an_upload_that_broke_without_an_answer_is_a_failed_write() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            // Dropped with unread bytes, which resets the connection.
        })
        .await;
        let body = Full::new(Bytes::from(vec![0; 32 << 20]));
        let post = Request::new(Method::POST, Framing::Length(32 << 20));
        let sent = upstream(address).send_request(&post, body, None).await;
        let error = sent.expect_err("a reset");
        assert!(matches!(error, UpstreamError::Write(_)), "{error:?}");
    });
}

#[test]
fn a_moving_upload_may_take_longer_than_the_response_timeout() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            stream.read_exact(&mut [0; 10]).await.unwrap();
            stream.write_all(OK).await.unwrap();
            read_head(&mut stream).await;
        })
        .await;
        let upstream = upstream_with(address, quick());
        let (feed, body) = fed();
        tokio::task::spawn_local(async move {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                feed.send(data("x")).await.unwrap();
            }
        });
        let post = Request::new(Method::POST, Framing::Length(10));
        let response = upstream.send_request(&post, body, None).await.unwrap();
        assert_eq!(collect(response).await.unwrap().0, b"ok");
    });
}
