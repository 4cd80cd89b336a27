//! A WebSocket client and server of a well-known library, with Herald and mutual TLS between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use herald_tests::client::Settings;
use herald_tests::herald::{Herald, Launch};
use herald_tests::pki::Pki;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A server that echoes messages, answers a close with its own code, and refuses callers without a verified certificate.
#[expect(
    clippy::result_large_err,
    reason = "the library wants the refusal as it is sent"
)]
async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(tokio::spawn(async move {
            let check = |request: &Request, mut response: Response| {
                let verdict = request.headers().get("x-cert-verify").cloned();
                match verdict {
                    Some(verdict) if verdict == "SUCCESS" => {
                        response.headers_mut().insert("x-seen-verdict", verdict);
                        Ok(response)
                    }
                    _ => Err(ErrorResponse::new(None)),
                }
            };
            let Ok(mut socket) = accept_hdr_async(stream, check).await else {
                return;
            };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() || message.is_binary() {
                    socket.send(message).await.unwrap();
                } else if message.is_close() {
                    // The library answers it.
                    continue;
                }
            }
        }));
    }
}

async fn scene() -> Herald {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = listener.local_addr().unwrap();
    drop(tokio::spawn(serve(listener)));
    Launch::new("required", origin).start()
}

async fn connect(herald: SocketAddr) -> Socket {
    let identity = Pki::shared().good();
    let connector = TlsConnector::from(Settings::new(Some(&identity)).build());
    let stream = TcpStream::connect(herald).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let (socket, response) = client_async("wss://localhost/chat", stream).await.unwrap();
    assert_eq!(response.headers()["x-seen-verdict"], "SUCCESS");
    socket
}

async fn next(socket: &mut Socket) -> Message {
    let wait = tokio::time::timeout(herald_tests::wait::PATIENCE, socket.next());
    wait.await.expect("in time").expect("a message").unwrap()
}

fn run<F: Future<Output = ()>>(test: F) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn messages_are_echoed() {
    run(async {
        let herald = scene().await;
        let mut socket = connect(herald.address()).await;
        for text in ["hello", "", "gr\u{fc}\u{df}e"] {
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(next(&mut socket).await, Message::text(text));
        }
        socket
            .send(Message::Ping(b"beat".as_slice().into()))
            .await
            .unwrap();
        assert_eq!(
            next(&mut socket).await,
            Message::Pong(b"beat".as_slice().into())
        );
    });
}

#[test]
fn fragments_become_one_message_with_a_ping_between() {
    run(async {
        let herald = scene().await;
        let mut socket = connect(herald.address()).await;
        let piece = |text: &'static str, code, last| {
            Message::Frame(Frame::message(text.as_bytes(), OpCode::Data(code), last))
        };
        socket.send(piece("one ", Data::Text, false)).await.unwrap();
        socket
            .send(Message::Ping(b"between".as_slice().into()))
            .await
            .unwrap();
        socket
            .send(piece("two ", Data::Continue, false))
            .await
            .unwrap();
        socket
            .send(piece("three", Data::Continue, true))
            .await
            .unwrap();
        assert_eq!(
            next(&mut socket).await,
            Message::Pong(b"between".as_slice().into())
        );
        assert_eq!(next(&mut socket).await, Message::text("one two three"));
    });
}

#[test]
fn close_codes_come_through_both_ways() {
    run(async {
        let herald = scene().await;
        for (code, reason) in [
            (CloseCode::Normal, "done"),
            (CloseCode::Away, ""),
            (CloseCode::Policy, "not here"),
            (CloseCode::Library(4321), "of our own"),
        ] {
            let mut socket = connect(herald.address()).await;
            let frame = CloseFrame {
                code,
                reason: reason.into(),
            };
            socket.close(Some(frame)).await.unwrap();
            let Message::Close(Some(answer)) = next(&mut socket).await else {
                panic!("no close frame");
            };
            assert_eq!(answer.code, code);
            let end = tokio::time::timeout(Duration::from_secs(5), socket.next()).await;
            assert!(end.expect("the connection ends").is_none());
        }
    });
}

#[test]
fn large_messages_come_back_whole() {
    run(async {
        let herald = scene().await;
        let mut socket = connect(herald.address()).await;
        for size in [125, 126, 65_535, 65_536, 1 << 20, 8 << 20] {
            let bytes: Vec<u8> = (0..size)
                .map(|n: u32| n.to_le_bytes()[n as usize % 3])
                .collect();
            let (mut write, mut read) = socket.split();
            let sent = write.send(Message::binary(bytes.clone()));
            let (sent, back) = tokio::join!(sent, read.next());
            sent.unwrap();
            assert!(back.unwrap().unwrap().into_data() == bytes, "{size}");
            socket = write.reunite(read).unwrap();
        }
    });
}

#[test]
fn many_sockets_at_once_keep_their_messages_apart() {
    run(async {
        let herald = Arc::new(scene().await);
        let clients = (0..50).map(|n| {
            let herald = Arc::clone(&herald);
            tokio::spawn(async move {
                let mut socket = connect(herald.address()).await;
                for round in 0..20 {
                    let text = format!("client {n}, round {round}");
                    socket.send(Message::text(text.clone())).await.unwrap();
                    assert_eq!(next(&mut socket).await, Message::text(text));
                }
                socket.close(None).await.unwrap();
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}

#[test]
fn a_caller_without_a_certificate_gets_403_and_no_socket() {
    run(async {
        let herald = scene().await;
        let connector = TlsConnector::from(Settings::default().build());
        let stream = TcpStream::connect(herald.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        match client_async("wss://localhost/chat", stream).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("{other:?}"),
        }
    });
}
