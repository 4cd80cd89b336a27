//! Several endpoints, endpoints that come and go, and callers that are kept apart.

use super::*;

fn several(origins: impl IntoIterator<Item = Origin>, isolate: bool) -> Rc<Upstream> {
    let origins: Vec<_> = origins.into_iter().collect();
    let settings = Settings {
        isolate,
        limits: quick(),
        ..Settings::default()
    };
    Upstream::new(&origins, settings, &drop_all(), &Marks::default())
}

fn at(address: SocketAddr) -> Origin {
    UpstreamTarget::Address(address).into()
}

/// An address where nobody listens, until somebody does.
async fn vacant() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

async fn post_ab(upstream: &Upstream) -> Result<usize, UpstreamError> {
    let post = Request::new(Method::POST, Framing::Length(2));
    let body = Full::new(Bytes::from_static(b"ab"));
    let response = upstream.send_request(&post, body, None).await?;
    Ok(response.body().endpoint())
}

/// Reads requests with a body of two bytes and answers each.
async fn taking_posts() -> SocketAddr {
    origin(|_, mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            stream.read_exact(&mut [0; 2]).await.unwrap();
            stream.write_all(OK).await.unwrap();
        }
    })
    .await
}

#[test]
fn a_request_goes_elsewhere_where_no_connection_can_be_made() {
    run(async {
        let (gone, here) = (vacant().await, taking_posts().await);
        let upstream = several([at(gone), at(here)], false);
        for _ in 0..10 {
            // With side effects and a body, too: nothing of it was sent.
            assert_eq!(post_ab(&upstream).await.unwrap(), 1);
        }
        let health: Vec<_> = upstream.health(Instant::now()).collect();
        assert_eq!(health[0].0, format!("http://{gone}"));
        assert!(
            health[0].1.ejected && health[0].1.failures == 1,
            "{health:?}"
        );
        assert_eq!(health[1].1, EndpointHealth::default());
    });
}

#[test]
fn every_endpoint_gets_its_share() {
    run(async {
        let origins = [taking_posts().await, taking_posts().await];
        let upstream = several(origins.map(at), false);
        let mut served = [0, 0];
        for _ in 0..10 {
            served[post_ab(&upstream).await.unwrap()] += 1;
        }
        assert_eq!(served, [5, 5]);
    });
}

#[test]
fn the_only_endpoint_is_tried_by_every_request() {
    run(async {
        let address = vacant().await;
        let upstream = several([at(address)], false);
        for _ in 0..5 {
            let error = get(&upstream).await.expect_err("nobody listens");
            assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
        }
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _peer) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
        });
        assert_eq!(get_text(&upstream).await.unwrap(), "ok");
    });
}

#[test]
fn when_all_are_gone_all_are_tried() {
    run(async {
        let origins = [vacant().await, vacant().await];
        let upstream = several(origins.map(at), false);
        for _ in 0..3 {
            get(&upstream).await.expect_err("nobody listens");
        }
        let health: Vec<_> = upstream.health(Instant::now()).collect();
        assert!(health.iter().all(|(_, it)| it.ejected), "{health:?}");
    });
}

#[test]
fn callers_that_are_kept_apart_share_no_connection() {
    run(async {
        let address = answering(OK).await;
        let upstream = several([at(address)], true);
        let ask = async |caller: Option<Fingerprint>| {
            let request = Request::get();
            let sent = upstream.send_request(&request, Empty::<Bytes>::new(), caller.as_ref());
            collect(sent.await.unwrap()).await.unwrap();
        };
        let callers = [None, Some([1; 32]), Some([2; 32])];
        for _ in 0..3 {
            for caller in callers {
                ask(caller).await;
            }
        }
        let stats = upstream.stats();
        assert_eq!((stats.opened, stats.reused, upstream.idle()), (3, 6, 3));
    });
}

#[test]
fn callers_that_are_kept_apart_share_no_http2_connection_either() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = UpstreamTarget::Address(listener.local_addr().unwrap());
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _peer) = listener.accept().await.unwrap();
                tokio::task::spawn_local(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut answer))) = connection.accept().await {
                        let sent = answer.send_response(Response::new(()), true);
                        drop(sent.unwrap());
                    }
                });
            }
        });
        let speaks = Speaks::Http2;
        let upstream = several([Origin { target, speaks }], true);
        for _ in 0..3 {
            for caller in [None, Some([1; 32]), Some([2; 32])] {
                let request = Request::get();
                let sent = upstream.send_request(&request, Empty::<Bytes>::new(), caller.as_ref());
                drop(sent.await.unwrap());
            }
        }
        assert_eq!((upstream.stats().opened, upstream.idle()), (3, 3));
    });
}

#[test]
fn a_unix_socket_is_an_origin() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("origin.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _peer) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            for _ in 0..2 {
                head.clear();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(OK).await.unwrap();
            }
        });
        let upstream = several([UpstreamTarget::Unix(path).into()], false);
        for _ in 0..2 {
            assert_eq!(get_text(&upstream).await.unwrap(), "ok");
        }
        assert_eq!(upstream.stats().opened, 1);
    });
}

#[test]
fn a_health_check_takes_an_endpoint_out_and_in_again() {
    run(async {
        let well = Rc::new(Cell::new(false));
        let asked = Rc::clone(&well);
        let address = origin(move |_, mut stream| {
            let well = Rc::clone(&asked);
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    assert!(
                        head.starts_with("GET /healthz?x HTTP/1.1\r\nhost: 127.0.0.1:"),
                        "{head}"
                    );
                    let status = if well.get() { 204 } else { 503 };
                    let answer = format!("HTTP/1.1 {status} It\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        let upstream = several([at(address), at(answering(OK).await)], false);
        let check = HealthCheck {
            path: "/healthz?x".parse().unwrap(),
            interval: Duration::from_secs(5),
        };
        let is_ejected = || upstream.health(Instant::now()).next().unwrap().1.ejected;
        upstream.check(0, &check).await;
        assert!(!is_ejected());
        upstream.check(0, &check).await;
        assert!(is_ejected());
        for _ in 0..4 {
            assert_eq!(get_text(&upstream).await.unwrap(), "ok");
        }
        well.set(true);
        upstream.check(0, &check).await;
        assert!(!is_ejected());
        assert_eq!(upstream.stats().opened, 2);
    });
}
