use std::future::poll_fn;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ClientStream;
use crate::tls::context::{self, Settings};
use crate::tls::handshake::Server;
use crate::tls::kernel::{Ability, KernelTls, Level, Refusal};
use crate::tls::tickets::{TicketSecrets, Tickets};
use crate::tls::{HandshakeLimits, handshake};

/// A client that ends its upload with close_notify and sends on in the same breath once held its
/// worker for good: rustls takes nothing after close_notify, and the stream asked it again.
#[test]
fn what_follows_close_notify_is_not_looked_at() {
    let (server, client) = configurations();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, told) = mpsc::channel();
    // A thread of its own, left behind if it never comes back.
    std::thread::spawn(move || {
        let read = runtime().block_on(async {
            let (tcp, _) = listener.accept().unwrap();
            tcp.set_nonblocking(true).unwrap();
            let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
            let mut io = handshake(Server::Only(server), tcp, LIMITS, None, None)
                .await
                .unwrap()
                .io;
            // All of it is there before the first read.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let (mut read, mut buffer) = (0, vec![0; 256 * 1024]);
            loop {
                match io.read(&mut buffer).await.unwrap() {
                    0 => break read,
                    count => read += count,
                }
            }
        });
        done.send(read).unwrap();
    });

    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(client, name).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).unwrap();
    }
    let mut sent = Vec::new();
    for _ in 0..UPLOAD / PIECE {
        tls.writer().write_all(&[b'x'; PIECE]).unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut sent).unwrap();
        }
    }
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(&mut sent).unwrap();
    }
    sent.extend([b'?'; 2 * PIECE]);
    tcp.write_all(&sent).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(UPLOAD));
}

/// Whatever rustls has sealed and not sent would be lost: such a connection is not handed over,
/// which is counted, and goes on in userspace.
#[test]
fn a_hand_over_with_records_unflushed_is_refused_and_nothing_is_lost() {
    let (server, client) = configurations();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kernel = KernelTls::new(Level::Transmit, 1, Ability::ALL);
    let counted = Arc::clone(&kernel);
    let serving = std::thread::spawn(move || {
        runtime().block_on(async {
            let (tcp, _) = listener.accept().unwrap();
            tcp.set_nonblocking(true).unwrap();
            let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
            let shaken = handshake(Server::Only(server), tcp, LIMITS, Some(&kernel), None);
            let mut io = shaken.await.unwrap().io;
            io.lane(true).unwrap().note_large();
            io.tls.writer().write_all(b"sealed, ").unwrap();
            let sender = io.sender.as_mut().unwrap();
            sender.hand_over_if_wanted(&mut io.socket, &mut io.tls);
            assert!(!sender.is_kernel());
            io.write_all(b"and then more").await.unwrap();
            io.shutdown().await.unwrap();
        });
    });
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(address).unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(client, name).unwrap(), tcp);
    let mut got = String::new();
    tls.read_to_string(&mut got).unwrap();
    assert_eq!(got, "sealed, and then more");
    serving.join().unwrap();
    let totals = counted.totals();
    assert_eq!(totals.offloaded, 0);
    assert_eq!(totals.refused[Refusal::Unflushed as usize], 1);
    assert_eq!(totals.refused.iter().sum::<u64>(), 1);
}

/// A ticket has no packet of its own where an answer follows, and is not held back where none does.
#[test]
fn a_ticket_goes_with_the_first_answer_or_when_the_client_pauses() {
    for answers in [true, false] {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (mut tls, mut tcp, serving) = with_ticket(move |mut io| async move {
            may_go_on.recv().unwrap();
            if answers {
                io.write_all(b"answer").await.unwrap();
            }
            assert_eq!(io.read(&mut [0; 1]).await.unwrap(), 0);
        });
        assert_eq!(came(&tcp), 0);
        go_on.send(()).unwrap();
        tcp.peek(&mut [0; 1]).unwrap();
        assert_eq!(came(&tcp), if answers { 2 } else { 1 });
        tls.send_close_notify();
        tls.write_tls(&mut tcp).unwrap();
        serving.join().unwrap();
    }
}

/// A client that has said its close_notify waits for nothing but ours, or for an answer.
#[test]
fn a_ticket_for_a_client_that_ends_goes_with_the_answer_or_with_close_notify() {
    for answers in [true, false] {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (flushed, is_flushed) = mpsc::channel();
        let (mut tls, mut tcp, serving) = with_ticket(move |mut io| async move {
            // Its close_notify is there before it is asked for: it never paused.
            may_go_on.recv().unwrap();
            poll_fn(|cx| io.socket.socket_ref().poll_read_ready(cx)).await;
            assert_eq!(io.read(&mut [0; 1]).await.unwrap(), 0);
            io.flush().await.unwrap();
            flushed.send(()).unwrap();
            may_go_on.recv().unwrap();
            if answers {
                io.write_all(b"answer").await.unwrap();
                io.flush().await.unwrap();
            }
            io.shutdown().await.unwrap();
        });
        tls.send_close_notify();
        tls.write_tls(&mut tcp).unwrap();
        go_on.send(()).unwrap();
        is_flushed.recv().unwrap();
        assert_eq!(came(&tcp), 0);
        go_on.send(()).unwrap();
        // Closed without a RST: all of it comes, then the end.
        let mut all = Vec::new();
        tcp.read_to_end(&mut all).unwrap();
        assert_eq!(records(&all), if answers { 3 } else { 2 });
        serving.join().unwrap();
    }
}

/// A client whose handshake is complete on both sides, and who serves it: with a ticket to be sent.
fn with_ticket<F: Future<Output = ()>>(
    serve: impl FnOnce(ClientStream) -> F + Send + 'static,
) -> (ClientConnection, TcpStream, JoinHandle<()>) {
    let (mut server, client) = configurations();
    let secrets = TicketSecrets::random().unwrap();
    let tickets = Tickets::new(&secrets, &[0; 32], Duration::from_secs(60)).unwrap();
    let config = Arc::get_mut(&mut server).unwrap();
    config.send_tls13_tickets = 1;
    config.ticketer = tickets.of_connection();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (shaken, is_shaken) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        runtime().block_on(async {
            let (tcp, _) = listener.accept().unwrap();
            tcp.set_nonblocking(true).unwrap();
            let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
            let shaking = handshake(Server::Only(server), tcp, LIMITS, None, None);
            let io = shaking.await.unwrap().io;
            shaken.send(()).unwrap();
            serve(io).await;
        });
    });
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(client, name).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    while tls.is_handshaking() || tls.wants_write() {
        tls.complete_io(&mut tcp).unwrap();
    }
    is_shaken.recv().unwrap();
    (tls, tcp, serving)
}

/// How many records wait to be read.
fn came(tcp: &TcpStream) -> usize {
    let mut bytes = [0; 4096];
    tcp.set_nonblocking(true).unwrap();
    let count = match tcp.peek(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        other => other.unwrap(),
    };
    tcp.set_nonblocking(false).unwrap();
    records(&bytes[..count])
}

/// How many TLS records these are (RFC 8446 §5.1).
fn records(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = bytes {
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
        count += 1;
    }
    count
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn configurations() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let server = context::server_config(Settings {
        chain_pem: made.cert.pem().into_bytes(),
        key_pem: made.signing_key.serialize_pem().into_bytes(),
        verifier: None,
        tls12: true,
        resumption: false,
        taps_keys: true,
    })
    .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

const LIMITS: HandshakeLimits = HandshakeLimits {
    deadline: Duration::from_secs(10),
    bytes_max: 64 * 1024,
};
const PIECE: usize = 16 * 1024;
const UPLOAD: usize = 4 * PIECE;
