//! Single exchanges: what is sent, what comes back, and who is to blame.

use super::*;

/// An origin that gives one response and sends all it received, up to the end of the connection
/// or `most` bytes, to the test.
async fn recording(response: &'static [u8], most: usize) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let (record, recorded) = mpsc::channel(4);
    let address = origin(move |_, mut stream| {
        let record = record.clone();
        async move {
            let mut received = Vec::new();
            let mut piece = [0; 4096];
            while received.len() < most {
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => received.extend_from_slice(&piece[..count]),
                }
            }
            record.send(received).await.unwrap();
            stream.write_all(response).await.ok();
            std::future::pending::<()>().await;
        }
    })
    .await;
    (address, recorded)
}

fn wire(framing: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: origin\r\n{framing}\r\n\r\n{body}")
}

#[test]
fn a_small_request_costs_one_write_and_one_read() {
    run(async {
        let (upstream, counts) = counted(answering(OK).await);
        let request = Request::get();
        for turn in 1..=20 {
            let sent = upstream.send_request(&request, Empty::<Bytes>::new(), None);
            assert_eq!(collect(sent.await.unwrap()).await.unwrap().0, b"ok");
            assert_eq!((counts.writes.get(), counts.reads.get()), (turn, turn));
        }
        assert_eq!(upstream.stats().opened, 1);
    });
}

#[test]
fn a_small_body_leaves_with_its_head() {
    for (framing, text) in [
        (Framing::Length(5), wire("content-length: 5", "hello")),
        (
            Framing::Chunked,
            wire("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ),
    ] {
        run(async {
            let (address, mut recorded) = recording(OK, text.len()).await;
            let (upstream, counts) = counted(address);
            let post = Request::new(Method::POST, framing);
            let body = Full::new(Bytes::from_static(b"hello"));
            collect(upstream.send_request(&post, body, None).await.unwrap())
                .await
                .unwrap();
            assert_eq!((counts.writes.get(), counts.reads.get()), (1, 1));
            assert_eq!(recorded.recv().await.unwrap(), text.as_bytes());
            assert_eq!(upstream.idle(), 1);
        });
    }
}

#[test]
fn chunks_and_trailers_are_framed_anew() {
    run(async {
        let big = "y".repeat(0x1234);
        let coded = format!("1\r\nx\r\n1234\r\n{big}\r\n0\r\nx-sum: 7\r\n\r\n");
        let text = wire("transfer-encoding: chunked", &coded);
        let (address, mut recorded) = recording(OK, text.len()).await;
        let (feed, body) = fed();
        // An empty piece must not become the last chunk.
        feed.send(data("")).await.unwrap();
        feed.send(data("x")).await.unwrap();
        feed.send(data("")).await.unwrap();
        feed.send(data(big)).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("7"));
        trailers.insert("x-forged", http::HeaderValue::from_static("evil"));
        feed.send(Ok(Frame::trailers(trailers))).await.unwrap();
        drop(feed);
        let upstream = upstream(address);
        let post = Request::new(Method::POST, Framing::Chunked);
        let sent = upstream.send_request(&post, body, None).await.unwrap();
        collect(sent).await.unwrap();
        let recorded = recorded.recv().await.unwrap();
        assert_eq!(String::from_utf8(recorded).unwrap(), text);
        assert_eq!(upstream.idle(), 1);
    });
}

#[test]
fn an_empty_chunked_body_is_a_last_chunk() {
    run(async {
        let text = wire("transfer-encoding: chunked", "0\r\n\r\n");
        let (address, mut recorded) = recording(OK, text.len()).await;
        let (upstream, counts) = counted(address);
        let post = Request::new(Method::POST, Framing::Chunked);
        let sent = upstream
            .send_request(&post, Empty::<Bytes>::new(), None)
            .await;
        collect(sent.unwrap()).await.unwrap();
        assert_eq!(recorded.recv().await.unwrap(), text.as_bytes());
        assert_eq!(counts.writes.get(), 1);
    });
}

/// A request that the client did not finish must never look finished to the origin.
#[test]
fn an_unfinished_upload_is_cut_not_ended() {
    type Feed = Vec<Result<Frame<Bytes>, io::Error>>;
    let gone = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
    let cases: Vec<(Framing, Feed, &str, &str)> = vec![
        (
            Framing::Length(5),
            vec![data("abc")],
            "ClientBodyShort { missing: 2 }",
            "abc",
        ),
        (
            Framing::Length(5),
            vec![data("abc"), gone()],
            "ClientBody(",
            "abc",
        ),
        (
            Framing::Length(5),
            vec![data("abcdef")],
            "ClientBodyLong",
            "",
        ),
        (
            Framing::Length(5),
            vec![data("abcde"), data("f")],
            "ClientBodyLong",
            "",
        ),
        (
            Framing::Length(5),
            vec![data("abcde"), gone()],
            "ClientBody(",
            "",
        ),
        (
            Framing::Chunked,
            vec![data("abc"), gone()],
            "ClientBody(",
            "3\r\nabc\r\n",
        ),
    ];
    for (framing, feed, reason, arrived) in cases {
        run(async {
            let (address, mut recorded) = recording(OK, usize::MAX).await;
            let (feeder, body) = fed();
            for frame in feed {
                feeder.send(frame).await.unwrap();
            }
            drop(feeder);
            let upstream = upstream(address);
            let post = Request::new(Method::POST, framing);
            let error = upstream
                .send_request(&post, body, None)
                .await
                .expect_err(reason);
            let text = format!("{error:?}");
            assert!(text.starts_with(reason), "{text} is not {reason}");
            assert_eq!(error.blame(), Blame::Client);
            let recorded = String::from_utf8(recorded.recv().await.unwrap()).unwrap();
            let body = recorded.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert_eq!(body, arrived, "{reason}");
            assert_eq!(upstream.idle(), 0);
        });
    }
}

#[test]
fn a_body_where_none_was_declared_is_refused() {
    run(async {
        let upstream = upstream(answering(OK).await);
        for framing in [Framing::None, Framing::Length(0)] {
            let body = Full::new(Bytes::from_static(b"GET /evil HTTP/1.1\r\n\r\n"));
            let request = Request::new(Method::GET, framing);
            let error = upstream
                .send_request(&request, body, None)
                .await
                .expect_err("long");
            assert!(matches!(error, UpstreamError::ClientBodyLong), "{error:?}");
        }
    });
}

#[test]
fn a_request_that_declares_nothing_and_sends_some_never_starts() {
    run(async {
        let (address, mut recorded) = recording(OK, usize::MAX).await;
        let (feed, body) = fed();
        let upstream = upstream(address);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            feed.send(data("GET /evil HTTP/1.1\r\n\r\n")).await.ok();
        });
        let post = Request::new(Method::POST, Framing::Length(0));
        let error = upstream
            .send_request(&post, body, None)
            .await
            .expect_err("long");
        assert!(matches!(error, UpstreamError::ClientBodyLong), "{error:?}");
        assert_eq!(recorded.recv().await.unwrap(), b"");
    });
}

#[test]
fn a_client_that_breaks_off_behind_the_head_cuts_the_response() {
    run(async {
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        let upstream = upstream(answering(response).await);
        let (feed, body) = fed();
        let post = Request::new(Method::POST, Framing::Length(5));
        let sent = upstream.send_request(&post, body, None).await.unwrap();
        feed.send(Err(io::ErrorKind::ConnectionReset.into()))
            .await
            .unwrap();
        let error = collect(sent).await.expect_err("the client is gone");
        assert!(matches!(error, UpstreamError::ClientBody(_)), "{error:?}");
    });
}

#[test]
fn informational_responses_are_swallowed_up_to_a_number() {
    const EARLY: &str =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    fn response(pairs: usize) -> &'static [u8] {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        String::leak(EARLY.repeat(pairs) + ok).as_bytes()
    }
    run(async {
        let upstream = upstream(answering(response(4)).await);
        for _ in 0..2 {
            let response = get(&upstream).await.unwrap();
            assert_eq!(
                (response.status().as_u16(), response.headers().len()),
                (200, 1)
            );
            assert_eq!(collect(response).await.unwrap().0, b"ok");
        }
        assert_eq!(upstream.stats().opened, 1);
    });
    run(async {
        let error = get(&upstream(answering(response(5)).await)).await;
        let error = error.expect_err("too many");
        assert!(
            matches!(
                error,
                UpstreamError::BadResponse(BadResponse::TooManyInformational)
            ),
            "{error:?}"
        );
    });
}

#[test]
fn a_switch_of_protocols_is_refused() {
    run(async {
        let response = b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n";
        let upstream = upstream(answering(response).await);
        let error = get(&upstream).await.expect_err("101");
        assert!(matches!(error, UpstreamError::UnexpectedUpgrade));
        assert_eq!((error.blame(), upstream.idle()), (Blame::Origin, 0));
    });
}

#[test]
fn a_body_cut_by_the_origin_is_an_error_and_one_without_length_is_not() {
    let one_shot = |response: &'static [u8]| {
        origin(move |_, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(response).await.unwrap();
        })
    };
    run(async {
        for cut in [
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell".as_slice(),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhell",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhell\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\na: b\r\n",
        ] {
            let upstream = upstream(one_shot(cut).await);
            let error = get_text(&upstream).await.expect_err("cut");
            assert!(matches!(error, UpstreamError::Truncated), "{error:?}");
            assert_eq!(upstream.idle(), 0);
        }
        let upstream = upstream(one_shot(b"HTTP/1.1 200 OK\r\n\r\nall of it").await);
        let response = get(&upstream).await.unwrap();
        assert_eq!(response.body().size_hint().exact(), None);
        assert_eq!(collect(response).await.unwrap().0, b"all of it");
        assert_eq!(upstream.idle(), 0);
    });
}

#[test]
fn response_trailers_are_filtered_and_come_last() {
    run(async {
        let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\nx-forged: 2\r\n\r\n";
        let upstream = upstream(answering(response).await);
        for _ in 0..2 {
            let (body, trailers) = collect(get(&upstream).await.unwrap()).await.unwrap();
            let trailers = trailers.unwrap();
            assert_eq!((body.as_slice(), trailers.len()), (b"ok".as_slice(), 1));
            assert_eq!(trailers["x-sum"], "1");
        }
        assert_eq!(upstream.stats().opened, 1);
        let target = UpstreamTarget::Address(answering(response).await);
        let strict = Upstream::new(
            &[target.into()],
            Settings::default(),
            &drop_all(),
            &Marks::default(),
        );
        let (_, trailers) = collect(get(&strict).await.unwrap()).await.unwrap();
        assert_eq!(trailers, None);
    });
}

#[test]
fn silence_is_blamed_on_the_silent() {
    run(async {
        let silent = || {
            origin(|_, stream| async move {
                let _held = stream;
                std::future::pending::<()>().await;
            })
        };
        let upstream = upstream_with(silent().await, quick());
        let error = get(&upstream).await.expect_err("silent");
        assert!(matches!(error, UpstreamError::ResponseTimeout), "{error:?}");

        let (feed, body) = fed();
        feed.send(data("abc")).await.unwrap();
        let post = Request::new(Method::POST, Framing::Length(5));
        let error = upstream
            .send_request(&post, body, None)
            .await
            .expect_err("stalled");
        assert!(matches!(error, UpstreamError::ClientStalled), "{error:?}");
        assert_eq!(error.blame(), Blame::Client);

        // No byte was declared, and the end of the body does not come: the origin, which was not
        // asked, was once blamed for it.
        let (_feed, body) = fed();
        let post = Request::new(Method::POST, Framing::Length(0));
        let sent = upstream.send_request(&post, body, None).await;
        let error = sent.expect_err("endless");
        assert!(matches!(error, UpstreamError::ClientStalled), "{error:?}");

        // Not the client's fault: the socket is full.
        let body = Full::new(Bytes::from(vec![0; 64 << 20]));
        let post = Request::new(Method::POST, Framing::Length(64 << 20));
        let error = upstream
            .send_request(&post, body, None)
            .await
            .expect_err("not read");
        assert!(matches!(error, UpstreamError::ResponseTimeout), "{error:?}");
    });
}

#[test]
fn an_origin_that_is_not_there_is_named() {
    run(async {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let error = get(&upstream(address)).await.expect_err("nobody listens");
        assert!(
            matches!(&error, UpstreamError::Connect { address: tried, .. } if *tried == address),
            "{error:?}"
        );
        let named = |host: &str, port| {
            let host = host.to_owned();
            upstream_to(UpstreamTarget::Name { host, port }, Limits::default())
        };
        let error = get(&named("no-such-host.invalid", 80)).await;
        let error = error.expect_err("RFC 6761 §6.4");
        assert!(matches!(error, UpstreamError::Resolve(_)), "{error:?}");
        let served = answering(OK).await;
        let text = get_text(&named("localhost", served.port())).await;
        assert_eq!(text.unwrap(), "ok");
    });
}
