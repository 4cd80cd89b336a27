use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt;

use crate::tls::context::{self, Settings};
use crate::tls::handshake::Server;
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
            let limits = HandshakeLimits {
                deadline: Duration::from_secs(10),
                bytes_max: 64 * 1024,
            };
            let mut io = handshake(Server::Only(server), tcp, limits, None)
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
    let mut tcp = std::net::TcpStream::connect(address).unwrap();
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
        taps_keys: false,
    })
    .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

const PIECE: usize = 16 * 1024;
const UPLOAD: usize = 4 * PIECE;
