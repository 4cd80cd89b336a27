//! Stopping gracefully loses nothing: what was accepted is answered, idle connections are told, and the next instance
//! on the port takes over.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use herald_tests::client::{Client as OneClient, Settings};
use herald_tests::h2;
use herald_tests::herald::{Herald, Launch};
use herald_tests::kernel;
use herald_tests::netns;
use herald_tests::origin::{Next, Origin, Request};
use herald_tests::pki::{Key, Pki};
use herald_tests::soak::expect_ok;
use herald_tests::steering::may;
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use rustls::ClientConfig;
use tokio::task::JoinSet;

/// Two instances share the port by turns, each stopped under load. Every client uses a connection until it is told to
/// leave it; one kind opens a new connection for each request. No error of any kind is allowed: not of a connection
/// attempt, not of a handshake, not of a request.
#[test]
fn a_hundred_stops_under_load_lose_no_request() {
    let origin = Origin::scripted(|_: &Request, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Next::Keep)
    });
    let mut current = instance("127.0.0.1:0", &origin);
    let address = current.address();
    let load = Load::start(address);
    let mut answered_before = 0;
    for stop in 0..STOPS {
        let next = instance(&address.to_string(), &origin);
        let answered = wait::until("answers between two stops", || {
            let answered = load.counts.answered.load(Ordering::Relaxed);
            (answered >= answered_before + CLIENTS).then_some(answered)
        });
        answered_before = answered;
        let status = current.terminate();
        assert_eq!(status.code(), Some(0), "stop {stop}: {}", current.log());
        current = next;
        assert_eq!(load.counts.failed.load(Ordering::Relaxed), 0, "stop {stop}");
    }
    let (counts, errors) = load.finish();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{STOPS} stops: {} requests answered on {} connections, {} failed",
        count(&counts.answered),
        count(&counts.connections),
        count(&counts.failed),
    );
    assert!(errors.is_empty(), "{errors:?}");
    assert!(
        count(&counts.connections) > STOPS,
        "stops moved the clients"
    );
}

/// A keep-alive connection that is idle when the stop begins is still answered once, and told that it was the last time.
/// Closing it at once would lose the request that crosses the close.
#[test]
fn an_idle_connection_may_ask_once_more() {
    let origin = Origin::echo();
    let mut herald = Launch::new("optional", origin.address())
        .args(["--drain-idle-timeout", "10s"])
        .start();
    let mut connection = Settings::default().connect(herald.address()).unwrap();
    assert_eq!(connection.get("/").unwrap().status, 200);
    herald.signal_termination();
    wait::until("the stop to begin", || {
        herald.log().contains("stopping").then_some(())
    });
    thread::sleep(Duration::from_millis(50));
    let answer = connection.get("/").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers.only("connection").as_deref(), Some("close"));
    assert_eq!(herald.terminate().code(), Some(0));
}

/// One that stays idle is closed when its time is over, and the stop is a clean one.
#[test]
fn an_idle_connection_does_not_hold_up_a_stop() {
    let origin = Origin::echo();
    let mut herald = Launch::new("optional", origin.address())
        .args(["--drain-idle-timeout", "300ms"])
        .start();
    let mut h1 = Protocol::H1.connect(&herald, &Settings::default()).unwrap();
    let mut h2 = Protocol::H2.connect(&herald, &Settings::default()).unwrap();
    for connection in [&mut h1, &mut h2] {
        assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
    }
    let started = Instant::now();
    assert_eq!(herald.terminate().code(), Some(0), "{}", herald.log());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

/// Twenty times a herald is started beside the running one, with all kernel programs, and takes over: nobody sends a
/// signal, and no client meets an error of any kind. Then twenty are killed under load: each next one starts on what the
/// dead left behind, and in the end no program is left in the kernel.
#[test]
fn twenty_restarts_lose_nothing_and_twenty_kills_leave_nothing() {
    let test = "twenty_restarts_lose_nothing_and_twenty_kills_leave_nothing";
    restarts_and_kills(test, "127.0.0.1:0", RESTARTS);
}

/// The same over IPv6, less often.
#[test]
fn restarts_over_ipv6_lose_nothing_and_kills_leave_nothing() {
    let test = "restarts_over_ipv6_lose_nothing_and_kills_leave_nothing";
    restarts_and_kills(test, "[::1]:0", RESTARTS_IPV6);
}

/// The same at a port that no socket is bound to and sk_lookup gives to the listener: two programs are asked while two
/// instances run, and the later one's word counts.
#[test]
fn restarts_at_a_given_port_lose_nothing_and_kills_leave_nothing() {
    let test = "restarts_at_a_given_port_lose_nothing_and_kills_leave_nothing";
    if !may(test) {
        return;
    }
    netns::within(|| {
        let service = Service {
            listen: "127.0.0.1:8443",
            steer: Some("--steer=127.7.7.7:8000=127.0.0.1:8443"),
            dialled: Some(([127, 7, 7, 7], 8000).into()),
        };
        service.restarts_and_kills(RESTARTS_GIVEN);
    });
}

fn restarts_and_kills(test: &str, listen: &str, times: u64) {
    if !may(test) {
        return;
    }
    let service = Service {
        listen,
        steer: None,
        dialled: None,
    };
    service.restarts_and_kills(times);
}

/// Where instances serve, and where clients ask them.
struct Service<'a> {
    listen: &'a str,
    steer: Option<&'a str>,
    dialled: Option<SocketAddr>,
}

impl Service<'_> {
    fn restarts_and_kills(&self, times: u64) {
        let origin = Origin::scripted(|_: &Request, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            Ok(Next::Keep)
        });
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("handover").display().to_string();
        let next = |listen: &str| {
            launch(listen, &origin)
                .args([
                    "--ebpf=require",
                    "--refuse-rate=1000000",
                    "--handover",
                    &folder,
                ])
                .args(self.steer)
                .start()
        };
        let mut programs = BTreeSet::new();
        let first = next(self.listen);
        let listen = first.address().to_string();
        let mut run = Run {
            dialled: self.dialled.unwrap_or_else(|| first.address()),
            current: first,
            next: &|| next(&listen),
            programs: &mut programs,
        };
        run.note();
        run.restarts(times);
        run.kills(times);
        run.current.terminate();
        drop(run);
        assert!(programs.len() >= 3 * 2 * usize::try_from(times).unwrap());
        wait::until("the programs to be gone", || {
            kernel::programs().is_disjoint(&programs).then_some(())
        });
    }
}

/// One instance after the other.
struct Run<'a> {
    current: Herald,
    dialled: SocketAddr,
    next: &'a dyn Fn() -> Herald,
    programs: &'a mut BTreeSet<u32>,
}

impl Run<'_> {
    fn note(&mut self) {
        let programs = kernel::programs_of(self.current.pid());
        self.programs.extend(programs);
    }

    fn restarts(&mut self, times: u64) {
        let load = Load::start(self.dialled);
        for restart in 0..times {
            let mut before = std::mem::replace(&mut self.current, (self.next)());
            self.note();
            let status = before.awaited();
            assert_eq!(
                status.code(),
                Some(0),
                "restart {restart}: {}",
                before.log()
            );
            wait::until("the line about the handover", || {
                let log = before.log();
                log.contains("signal=\"handover\"").then_some(())
            });
            if load.counts.failed.load(Ordering::Relaxed) > 0 {
                println!("restart {restart} failed: {}", before.log());
                break;
            }
        }
        let (counts, errors) = load.finish();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{times} restarts: {} requests answered on {} connections, {} failed",
            count(&counts.answered),
            count(&counts.connections),
            count(&counts.failed),
        );
        assert!(errors.is_empty(), "{errors:?}");
        assert!(
            count(&counts.connections) > times,
            "restarts moved the clients"
        );
    }

    fn kills(&mut self, times: u64) {
        let address = self.dialled;
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (halt, count) = (Arc::clone(&stop), Arc::clone(&answers));
        let pressing = thread::spawn(move || {
            let config = Settings::new(Some(&Pki::shared().good())).build();
            while !halt.load(Ordering::Relaxed) {
                // A client of one that is killed meets an error.
                let answer =
                    OneClient::connect(address, &config).and_then(|mut client| client.get("/"));
                let is_served = answer.is_ok_and(|answer| answer.status == 200);
                count.fetch_add(u64::from(is_served), Ordering::Relaxed);
            }
        });
        for _ in 0..times {
            self.current.signal("-KILL");
            self.current.terminate();
            self.current = (self.next)();
            self.note();
            let before = answers.load(Ordering::Relaxed);
            wait::until("answers between two kills", || {
                (answers.load(Ordering::Relaxed) >= before + 5).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
        pressing.join().unwrap();
        let answers = answers.load(Ordering::Relaxed);
        println!("{times} kills: {answers} requests answered between them");
    }
}

/// A herald on `listen`, which an older one may still hold.
fn instance(listen: &str, origin: &Origin) -> Herald {
    launch(listen, origin).start()
}

fn launch(listen: &str, origin: &Origin) -> Launch {
    let (certificate, key) = Pki::shared().server(Key::Ec);
    let ca = Pki::shared().path("ca.pem");
    let upstream = format!("http://{}", origin.address());
    Launch::bare([
        "run",
        "--listen",
        listen,
        "--workers",
        "2",
        "--client-auth",
        "required",
    ])
    .args(["--upstream", &upstream])
    .args(["--cert".as_ref(), certificate.as_os_str()])
    .args(["--key".as_ref(), key.as_os_str()])
    .args(["--client-ca".as_ref(), ca.as_os_str()])
}

/// Clients that ask one request after the other.
struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: thread::JoinHandle<Vec<String>>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    connections: AtomicU64,
    failed: AtomicU64,
}

/// When a client leaves its connection.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// HTTP/1.1, when an answer says `Connection: close`.
    KeepAlive,
    /// HTTP/1.1, after every answer.
    OneShot,
    /// HTTP/2, after GOAWAY.
    Http2,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, counts) = (Arc::<AtomicBool>::default(), Arc::<Counts>::default());
        let (halt, shared) = (Arc::clone(&stop), Arc::clone(&counts));
        let settings = Settings::new(Some(&Pki::shared().good()));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                let kinds = [Kind::KeepAlive, Kind::OneShot, Kind::Http2]
                    .into_iter()
                    .cycle();
                for kind in kinds.take(usize::try_from(CLIENTS).unwrap()) {
                    let protocol = if matches!(kind, Kind::Http2) {
                        Protocol::H2
                    } else {
                        Protocol::H1
                    };
                    let client = Client {
                        address,
                        config: protocol.offered(&settings),
                        kind,
                        stop: Arc::clone(&halt),
                        counts: Arc::clone(&shared),
                    };
                    tasks.spawn(client.run());
                }
                let results = tasks.join_all().await;
                results.into_iter().filter_map(Result::err).collect()
            })
        });
        Self {
            stop,
            counts,
            thread,
        }
    }

    fn finish(self) -> (Arc<Counts>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let errors = self.thread.join().unwrap();
        (self.counts, errors)
    }
}

struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    kind: Kind,
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

impl Client {
    /// Ends with its first error.
    async fn run(self) -> Result<(), String> {
        while !self.stop.load(Ordering::Relaxed) {
            self.counts.connections.fetch_add(1, Ordering::Relaxed);
            let used = match self.kind {
                Kind::Http2 => self.http2().await,
                Kind::KeepAlive | Kind::OneShot => self.http1().await,
            };
            if let Err(error) = used {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                return Err(format!("{:?}: {error} ({error:?})", self.kind));
            }
        }
        Ok(())
    }

    async fn http1(&self) -> io::Result<()> {
        let mut sender = h2::handshake_h1(self.address, Arc::clone(&self.config)).await?;
        while !self.stop.load(Ordering::Relaxed) {
            sender.ready().await.map_err(io::Error::other)?;
            let answer = sender
                .send_request(request("/"))
                .await
                .map_err(io::Error::other)?;
            let is_last = answer
                .headers()
                .get("connection")
                .is_some_and(|value| value == "close");
            self.check(answer).await?;
            if is_last || matches!(self.kind, Kind::OneShot) {
                return Ok(());
            }
            tokio::time::sleep(THINKING).await;
        }
        Ok(())
    }

    async fn http2(&self) -> io::Result<()> {
        let mut sender = h2::handshake(self.address, Arc::clone(&self.config)).await?;
        while !self.stop.load(Ordering::Relaxed) {
            // After a GOAWAY nothing more can be sent; what was sent before is answered.
            if sender.ready().await.is_err() {
                return Ok(());
            }
            match sender.send_request(request("https://localhost/")).await {
                Ok(answer) => self.check(answer).await?,
                Err(error) if is_unprocessed(&error) => return Ok(()),
                Err(error) => return Err(io::Error::other(error)),
            }
            tokio::time::sleep(THINKING).await;
        }
        Ok(())
    }

    async fn check(&self, answer: http::Response<Incoming>) -> io::Result<()> {
        expect_ok(answer).await?;
        self.counts.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a GOAWAY came between: hyper had not sent the request yet, or h2 found that the server never looked at it
/// (RFC 9113 §6.8), which it says for streams after the last one that the GOAWAY names, and for no others.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let without_fault = "connection error received: not a result of an error";
    let source = error.source().map(ToString::to_string);
    error.is_canceled() || source.is_some_and(|text| text == without_fault)
}

fn request(uri: &str) -> http::Request<BoxBody<Bytes, io::Error>> {
    let body = BoxBody::new(Empty::new().map_err(|never| match never {}));
    http::Request::builder()
        .uri(uri)
        .header("host", "localhost")
        .body(body)
        .unwrap()
}

const STOPS: u64 = 100;
const RESTARTS: u64 = 20;
const RESTARTS_GIVEN: u64 = 5;
const RESTARTS_IPV6: u64 = 5;
const CLIENTS: u64 = 24;
/// Connections are idle most of the time, so that stops meet idle ones.
const THINKING: Duration = Duration::from_millis(20);
