//! Origins under load: they go and come back, and a burst shares connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use herald_tests::client::Settings;
use herald_tests::herald::{Herald, Launch};
use herald_tests::live::{Live, Speaks};
use herald_tests::pki::Pki;
use herald_tests::table::{Table, check};
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol};

/// One answer of a client under load.
#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Instant,
    status: u16,
}

/// Clients that ask without a pause, each on its own connection, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<Vec<Sample>>>,
}

impl Load {
    fn start(herald: &Herald, clients: usize, protocol: Protocol, what: Ask) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let settings = Settings::new(Some(&Pki::shared().good()));
        let config = protocol.offered(&settings);
        let clients = (0..clients).map(|_| {
            let mut connection = protocol.connect_with(herald, &config).unwrap();
            let (stop, what) = (Arc::clone(&stop), what.clone());
            thread::spawn(move || {
                let mut samples = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    // 0 where Herald's own connection broke: that must not happen at all.
                    let status = connection.ask(&what).map_or(0, |answer| answer.status);
                    samples.push(Sample { began, status });
                    if status == 0 {
                        break;
                    }
                }
                samples
            })
        });
        Self {
            clients: clients.collect(),
            stop,
        }
    }

    fn finish(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::SeqCst);
        let clients = self.clients.into_iter();
        clients.flat_map(|client| client.join().unwrap()).collect()
    }
}

/// With two endpoints, one killed under load: only requests in flight on it fail. POSTs, which are never sent twice.
#[test]
fn only_requests_in_flight_on_a_killed_origin_fail() {
    let mut table = Table::new("one of two origins is killed");
    for (name, speaks) in [("http", Speaks::Http1), ("h2c", Speaks::H2c)] {
        let delay = Duration::from_millis(10);
        let mut first = Live::tcp(speaks.clone()).slow(delay);
        let second = Live::tcp(speaks).slow(delay);
        let herald = Launch::toward("required", [first.url(), second.url()]).start();
        for protocol in Protocol::ALL {
            let clients = 8;
            let load = Load::start(&herald, clients, protocol, Ask::post("/", b"ab"));
            thread::sleep(Duration::from_millis(700));
            let served = first.requests();
            // Clients in step with each other leave moments in which nothing is under way.
            wait::until("requests under way", || {
                (first.in_flight() > 1).then_some(())
            });
            let killed = Instant::now();
            let in_flight = first.kill();
            thread::sleep(Duration::from_millis(1500));
            let back = Instant::now();
            let served_before = first.requests();
            first.revive();
            thread::sleep(Duration::from_millis(2500));
            let samples = load.finish();
            let failed: Vec<_> = samples.iter().filter(|it| it.status != 200).collect();
            let result = check(served > 0 && in_flight > 0, || "no load".to_owned())
                .and_then(|()| {
                    check(
                        failed
                            .iter()
                            .all(|it| it.status == 502 && it.began <= killed + RACE),
                        || format!("after the kill: {failed:?}"),
                    )
                })
                .and_then(|()| {
                    // The origin counts what it has read; what was begun just now was still on its way.
                    let just_now = killed - ON_ITS_WAY..killed + RACE;
                    let fresh = samples.iter().filter(|it| just_now.contains(&it.began));
                    let fresh = fresh.count();
                    check(failed.len() <= in_flight + fresh, || {
                        let failed = failed.len();
                        format!("{failed} failed, {in_flight} were in flight, {fresh} on their way")
                    })
                })
                .and_then(|()| {
                    let after = samples.iter().filter(|it| it.began > back).count();
                    check(after > 100, || format!("{after} answers after its return"))
                })
                .and_then(|()| {
                    let again = first.requests() - served_before;
                    check(again > 20, || format!("{again} requests after its return"))
                });
            println!(
                "{name} {protocol:?}: {} requests, {in_flight} in flight at the kill, {} failed",
                samples.len(),
                failed.len()
            );
            table.row(&format!("{name}, {protocol:?}"), result);
        }
    }
    table.finish();
}

/// A request that is on its way to the origin while it is killed.
const RACE: Duration = Duration::from_millis(20);
const ON_ITS_WAY: Duration = Duration::from_millis(5);

/// With one endpoint: 502 until it is back, traffic within a second of its return, without a restart.
#[test]
fn the_only_origin_is_served_again_within_a_second_of_its_return() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::new("the only origin goes and comes back");
    for (name, mut origin) in [
        ("http", Live::tcp(Speaks::Http1)),
        (
            "unix",
            Live::unix(folder.path().join("origin"), Speaks::Http1),
        ),
        ("h2c", Live::tcp(Speaks::H2c)),
        ("https", Live::tcp(Speaks::tls(&["h2", "http/1.1"], false))),
    ] {
        let launch = Launch::toward("required", [origin.url()]);
        let herald = match name {
            "https" => launch.origin_ca("ca.pem").start(),
            _ => launch.start(),
        };
        let load = Load::start(&herald, 4, Protocol::H1, Ask::get("/"));
        thread::sleep(Duration::from_millis(300));
        origin.kill();
        let down = Instant::now();
        thread::sleep(Duration::from_millis(1500));
        let back = Instant::now();
        origin.revive();
        thread::sleep(Duration::from_millis(1500));
        let samples = load.finish();
        let first_good = samples
            .iter()
            .filter(|it| it.began > down + RACE && it.status == 200)
            .map(|it| it.began)
            .min();
        let result = check(
            samples
                .iter()
                .all(|it| matches!(it.status, 200 | 502 | 503)),
            || {
                let odd = samples
                    .iter()
                    .find(|it| !matches!(it.status, 200 | 502 | 503));
                format!("{odd:?}")
            },
        )
        .and_then(|()| {
            let refused = samples.iter().filter(|it| it.status != 200).count();
            check(refused > 10, || format!("{refused} were refused"))
        })
        .and_then(|()| match first_good {
            Some(good) if good + RACE < back => Err("answered while it was down".to_owned()),
            Some(good) => check(good.saturating_duration_since(back) < RETURN, || {
                format!("{:?} after its return", good - back)
            }),
            None => Err("never served again".to_owned()),
        })
        .and_then(|()| {
            let late = samples.iter().filter(|it| it.began > back + RETURN);
            let bad = late.filter(|it| it.status != 200).count();
            check(bad == 0, || format!("{bad} refused long after its return"))
        });
        if let Some(good) = first_good {
            println!(
                "{name}: served {:?} after its return",
                good.saturating_duration_since(back)
            );
        }
        table.row(name, result);
    }
    table.finish();
}

const RETURN: Duration = Duration::from_secs(1);

/// A burst that arrives before any connection stands must not open one each.
#[test]
fn a_burst_shares_http2_connections() {
    let origin = Live::tcp(Speaks::H2c).slow(Duration::from_millis(50));
    let herald = Launch::toward("required", [origin.url()]).start();
    let load = Load::start(&herald, 16, Protocol::H1, Ask::get("/"));
    thread::sleep(Duration::from_millis(500));
    let samples = load.finish();
    assert!(samples.iter().all(|it| it.status == 200), "{samples:?}");
    assert_eq!(origin.connections(), 1);
}
