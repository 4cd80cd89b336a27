//! The HTTP/2 client against an origin by the h2 crate, in the same thread.

use std::cell::RefCell;
use std::collections::HashSet;

use futures_join::join_all;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};

use super::*;

type Answer = SendResponse<Bytes>;

/// A few futures at a time, without another crate.
mod futures_join {
    use super::*;

    pub(super) async fn join_all<F: Future + 'static>(
        futures: impl IntoIterator<Item = F>,
    ) -> Vec<F::Output>
    where
        F::Output: 'static,
    {
        let spawn = |future| tokio::task::spawn_local(future);
        let tasks: Vec<_> = futures.into_iter().map(spawn).collect();
        let mut outputs = Vec::new();
        for task in tasks {
            outputs.push(task.await.unwrap());
        }
        outputs
    }
}

/// Serves every stream of every connection, which it numbers from 0, by `serve`.
async fn h2_origin<F>(
    builder: h2::server::Builder,
    serve: impl Fn(usize, http::Request<RecvStream>, Answer) -> F + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Rc::new(serve);
    tokio::task::spawn_local(async move {
        for number in 0.. {
            let (stream, _peer) = listener.accept().await.unwrap();
            let (builder, serve) = (builder.clone(), Rc::clone(&serve));
            tokio::task::spawn_local(async move {
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    tokio::task::spawn_local(serve(number, request, answer));
                }
            });
        }
    });
    address
}

fn h2_upstream(address: SocketAddr, limits: Limits) -> Rc<Upstream> {
    let target = UpstreamTarget::Address(address);
    let speaks = Speaks::Http2;
    upstream_to(Origin { target, speaks }, limits)
}

/// Answers at once, with these bytes.
fn ok(answer: &mut Answer, body: &'static [u8]) {
    let response = Response::builder().status(200).body(()).unwrap();
    let mut stream = answer.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(body), true).unwrap();
}

/// Reads a request body to its end, giving the window back.
async fn drain(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut data = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        data.extend_from_slice(&piece);
    }
    Ok((data, body.trailers().await?))
}

#[test]
fn a_burst_of_requests_shares_one_connection() {
    run(async {
        let connections = Rc::new(RefCell::new(HashSet::new()));
        let seen = Rc::clone(&connections);
        let address = h2_origin(h2::server::Builder::new(), move |number, _, mut answer| {
            seen.borrow_mut().insert(number);
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                ok(&mut answer, b"hello");
            }
        })
        .await;
        let upstream = h2_upstream(address, Limits::default());
        let requests = (0..50).map(|_| {
            let upstream = Rc::clone(&upstream);
            async move { get_text(&upstream).await.unwrap() }
        });
        let texts = join_all(requests).await;
        assert!(texts.iter().all(|text| text == "hello"));
        assert_eq!(
            (connections.borrow().len(), upstream.stats().opened),
            (1, 1)
        );
        assert_eq!(upstream.idle(), 1);
    });
}

#[test]
fn where_the_origin_allows_few_streams_more_connections_are_opened() {
    run(async {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(2);
        let most = Rc::new(RefCell::new(Vec::<usize>::new()));
        let running = Rc::clone(&most);
        let address = h2_origin(builder, move |number, _, mut answer| {
            running.borrow_mut().resize(16, 0);
            let running = Rc::clone(&running);
            async move {
                running.borrow_mut()[number] += 1;
                assert!(running.borrow()[number] <= 2);
                tokio::time::sleep(Duration::from_millis(20)).await;
                running.borrow_mut()[number] -= 1;
                ok(&mut answer, b"x");
            }
        })
        .await;
        let upstream = h2_upstream(address, Limits::default());
        // The settings come after the first connection stands.
        get_text(&upstream).await.unwrap();
        let requests = (0..6).map(|_| {
            let upstream = Rc::clone(&upstream);
            async move { get_text(&upstream).await.unwrap() }
        });
        assert_eq!(join_all(requests).await, ["x"; 6]);
        assert!(upstream.stats().opened <= 4, "{:?}", upstream.stats());
    });
}

#[test]
fn bodies_and_trailers_go_both_ways_filtered() {
    run(async {
        let address = h2_origin(
            h2::server::Builder::new(),
            |_, mut request, mut answer| async move {
                let (data, trailers) = drain(request.body_mut()).await.unwrap();
                let trailers = trailers.unwrap();
                assert_eq!((data.as_slice(), trailers.len()), (b"abcdef".as_slice(), 1));
                assert_eq!(trailers["x-sum"], "6");
                let mut stream = answer.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from(data), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                trailers.insert("x-forged", "1".parse().unwrap());
                stream.send_trailers(trailers).unwrap();
            },
        )
        .await;
        let upstream = h2_upstream(address, Limits::default());
        let (feed, body) = fed();
        for piece in ["abc", "", "def"] {
            feed.send(data(piece)).await.unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "6".parse().unwrap());
        trailers.insert("x-forged", "1".parse().unwrap());
        feed.send(Ok(Frame::trailers(trailers))).await.unwrap();
        let post = Request::new(Method::POST, Framing::Chunked);
        let response = upstream.send_request(&post, body, None).await.unwrap();
        let (data, trailers) = collect(response).await.unwrap();
        let trailers = trailers.unwrap();
        assert_eq!((data.as_slice(), trailers.len()), (b"abcdef".as_slice(), 1));
        assert_eq!(trailers["grpc-status"], "0");
    });
}

/// gRPC's bidirectional streaming: the head comes before the request ends, and each message is
/// answered before the next is sent.
#[test]
fn both_directions_stream_at_once() {
    run(async {
        let address = h2_origin(
            h2::server::Builder::new(),
            |_, mut request, mut answer| async move {
                let mut stream = answer.send_response(Response::new(()), false).unwrap();
                while let Some(piece) = request.body_mut().data().await {
                    stream.send_data(piece.unwrap(), false).unwrap();
                }
                stream.send_data(Bytes::new(), true).unwrap();
            },
        )
        .await;
        let upstream = h2_upstream(address, Limits::default());
        let (feed, body) = fed();
        let post = Request::new(Method::POST, Framing::Chunked);
        let response = upstream.send_request(&post, body, None).await.unwrap();
        let mut transfer = response.into_body();
        for message in ["one", "two", "three"] {
            feed.send(data(message)).await.unwrap();
            let frame = poll_fn(|cx| transfer.poll_frame(cx)).await.unwrap();
            assert_eq!(frame.unwrap().into_data().unwrap(), message);
        }
        drop(feed);
        assert!(poll_fn(|cx| transfer.poll_frame(cx)).await.is_none());
        assert_eq!((transfer.sent(), transfer.received()), (11, 11));
    });
}

#[test]
fn a_response_of_a_head_alone_has_no_body() {
    run(async {
        let address = h2_origin(h2::server::Builder::new(), |_, _, mut answer| async move {
            let response = Response::builder().header("grpc-status", "5");
            answer
                .send_response(response.body(()).unwrap(), true)
                .unwrap();
        })
        .await;
        let upstream = h2_upstream(address, Limits::default());
        let response = get(&upstream).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "5");
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), Some(0));
    });
}

/// RFC 9113 §8.7: a refused stream was not processed, so any request may be sent again.
#[test]
fn a_refused_request_is_sent_again_even_if_it_has_side_effects() {
    run(async {
        let refused = Rc::new(Cell::new(false));
        let address = h2_origin(h2::server::Builder::new(), move |_, request, mut answer| {
            let again = refused.replace(request.method() == Method::POST);
            async move {
                if request.method() == Method::POST && !again {
                    answer.send_reset(Reason::REFUSED_STREAM);
                } else {
                    ok(&mut answer, b"done");
                }
            }
        })
        .await;
        let upstream = h2_upstream(address, Limits::default());
        get_text(&upstream).await.unwrap();
        let post = Request::new(Method::POST, Framing::Length(0));
        let sent = upstream.send_request(&post, Empty::<Bytes>::new(), None);
        assert_eq!(collect(sent.await.unwrap()).await.unwrap().0, b"done");
        assert_eq!(upstream.stats().retried, 1);
    });
}

#[test]
fn a_reset_stream_ends_one_request_and_not_the_connection() {
    run(async {
        let address = h2_origin(
            h2::server::Builder::new(),
            |_, request, mut answer| async move {
                if request.method() == Method::POST {
                    answer.send_reset(Reason::INTERNAL_ERROR);
                } else {
                    ok(&mut answer, b"ok");
                }
            },
        )
        .await;
        let upstream = h2_upstream(address, Limits::default());
        for _ in 0..3 {
            assert_eq!(get_text(&upstream).await.unwrap(), "ok");
            let post = Request::new(Method::POST, Framing::Length(0));
            let sent = upstream.send_request(&post, Empty::<Bytes>::new(), None);
            let error = sent.await.expect_err("a reset");
            assert!(matches!(&error, UpstreamError::Http2(_)), "{error:?}");
            assert_eq!(error.blame(), Blame::Origin);
        }
        assert_eq!(upstream.stats().opened, 1);
    });
}

/// A request whose body fails must never look complete.
#[test]
fn a_body_that_fails_or_lies_resets_its_stream() {
    run(async {
        let (ended, mut ends) = mpsc::channel(8);
        let address = h2_origin(h2::server::Builder::new(), move |_, mut request, answer| {
            let ended = ended.clone();
            async move {
                let end = drain(request.body_mut()).await;
                ended.send(end.map(|(data, _)| data)).await.unwrap();
                drop(answer);
            }
        })
        .await;
        let upstream = h2_upstream(address, Limits::default());
        for (framing, last, reason) in [
            (
                Framing::Chunked,
                Err(io::ErrorKind::ConnectionReset.into()),
                "ClientBody(",
            ),
            (Framing::Length(9), data("defg"), "ClientBodyShort"),
            (Framing::Length(4), data("defg"), "ClientBodyLong"),
        ] {
            let (feed, body) = fed();
            feed.send(data("abc")).await.unwrap();
            feed.send(last).await.unwrap();
            drop(feed);
            let post = Request::new(Method::POST, framing);
            let error = upstream
                .send_request(&post, body, None)
                .await
                .expect_err(reason);
            let text = format!("{error:?}");
            assert!(text.starts_with(reason), "{text} is not {reason}");
            assert_eq!(error.blame(), Blame::Client);
            assert!(ends.recv().await.unwrap().is_err(), "{reason}");
        }
        assert_eq!(upstream.stats().opened, 1);
    });
}

/// The connection's window holds all streams': one caller that does not read must not keep the
/// others from reading.
#[test]
fn a_caller_that_does_not_read_stops_nobody_else() {
    run(async {
        let address = h2_origin(
            h2::server::Builder::new(),
            |_, request, mut answer| async move {
                if request.method() == Method::POST {
                    let mut stream = answer.send_response(Response::new(()), false).unwrap();
                    stream.send_data(vec![0; 4 << 20].into(), true).unwrap();
                    std::future::pending::<()>().await;
                }
                ok(&mut answer, b"ok");
            },
        )
        .await;
        let upstream = h2_upstream(address, Limits::default());
        let mut held = Vec::new();
        for _ in 0..20 {
            let post = Request::new(Method::POST, Framing::Length(0));
            let sent = upstream.send_request(&post, Empty::<Bytes>::new(), None);
            held.push(sent.await.unwrap());
        }
        for _ in 0..20 {
            assert_eq!(get_text(&upstream).await.unwrap(), "ok");
        }
        assert_eq!(upstream.stats().opened, 1);
    });
}

#[test]
fn a_connection_on_which_an_answer_did_not_come_is_left() {
    run(async {
        let address = h2_origin(
            h2::server::Builder::new(),
            |number, _, mut answer| async move {
                if number == 0 {
                    std::future::pending::<()>().await;
                }
                ok(&mut answer, b"ok");
            },
        )
        .await;
        let upstream = h2_upstream(address, quick());
        let error = get(&upstream).await.expect_err("no answer");
        assert!(matches!(error, UpstreamError::ResponseTimeout), "{error:?}");
        assert_eq!(get_text(&upstream).await.unwrap(), "ok");
        assert_eq!(upstream.stats().opened, 2);
    });
}

#[test]
fn a_connection_that_goes_away_is_replaced() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _peer) = listener.accept().await.unwrap();
                tokio::task::spawn_local(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    if let Some(Ok((_, mut answer))) = connection.accept().await {
                        ok(&mut answer, b"ok");
                    }
                    connection.graceful_shutdown();
                    while connection.accept().await.is_some() {}
                });
            }
        });
        let upstream = h2_upstream(address, Limits::default());
        for _ in 0..5 {
            assert_eq!(get_text(&upstream).await.unwrap(), "ok");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(upstream.stats().opened, 5);
    });
}

#[test]
fn lengths_are_checked_and_those_of_heads_are_kept() {
    run(async {
        let address = h2_origin(
            h2::server::Builder::new(),
            |_, request, mut answer| async move {
                let response = Response::builder().header("content-length", "7");
                let response = match *request.method() {
                    Method::HEAD => response,
                    _ => response.header("content-length", "8"),
                };
                drop(answer.send_response(response.body(()).unwrap(), true));
            },
        )
        .await;
        let upstream = h2_upstream(address, Limits::default());
        let head = Request::new(Method::HEAD, Framing::None);
        let sent = upstream.send_request(&head, Empty::<Bytes>::new(), None);
        let response = sent.await.unwrap();
        assert_eq!(response.headers()["content-length"], "7");
        assert!(response.body().is_end_stream());
        let error = get(&upstream).await.expect_err("two lengths");
        let is_refused = match &error {
            UpstreamError::BadResponse(bad) => *bad == BadResponse::ContentLengthConflict,
            // h2 may find first that no body of that length came.
            UpstreamError::Http2(error) => error.reason() == Some(Reason::PROTOCOL_ERROR),
            _ => false,
        };
        assert!(is_refused, "{error:?}");
    });
}

/// An origin that speaks HTTP/1.1 where HTTP/2 was configured.
#[test]
fn an_origin_of_another_protocol_is_an_error_and_not_a_hang() {
    run(async {
        let address = origin(|_, mut stream| async move {
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let error = get(&h2_upstream(address, quick())).await;
        let error = error.expect_err("no HTTP/2");
        assert!(matches!(&error, UpstreamError::Http2(_)), "{error:?}");
    });
}
