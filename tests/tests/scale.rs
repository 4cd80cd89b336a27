//! Many applications in one process: 10,000 of them with 1,000 trust stores start in less than two seconds and are
//! reloaded without holding any worker up.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use herald_tests::client::Settings;
use herald_tests::gate;
use herald_tests::origin::{Next, Origin};
use herald_tests::pki::{Authority, Key, client_params};
use herald_tests::site::Site;

/// The file: each application has a name of its own, one of the stores, and a header of its own.
fn configuration(site: &Site, origin: &Origin, sizes: (usize, usize), mark: &str) -> String {
    let (applications, stores) = sizes;
    let mut text = format!(
        "workers = 2\nclient_auth = \"required\"\nwatch = false\nupstream = \"http://{}\"\n",
        origin.address()
    );
    for store in 0..stores {
        let ca = site.path(&format!("ca-{store}.pem"));
        write!(text, "[[trust]]\nname = \"store-{store}\"\nca = {ca:?}\n").unwrap();
    }
    for application in 0..applications {
        write!(
            text,
            "[[application]]\nhostnames = [\"app-{application}.test\", \"*.app-{application}.test\"]\n\
             trust = \"store-{}\"\nheader = {{ X-App = \"{application} {mark}\" }}\n",
            application % stores
        )
        .unwrap();
    }
    // The name that the test's certificate is for.
    let last = site.path("ca-0.pem");
    write!(text, "[[application]]\nhostnames = [\"localhost\"]\nclient_ca = {last:?}\nheader = {{ X-App = \"{mark}\" }}\n").unwrap();
    text
}

#[test]
fn ten_thousand_applications_start_and_are_reloaded_in_no_time() {
    if !gate::long("ten_thousand_applications_start_and_are_reloaded_in_no_time") {
        return;
    }
    let (site, sizes) = (Site::default(), (10_000, 1_000));
    let [origin, other] = [(); 2].map(|()| {
        Origin::scripted(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            Ok(Next::Keep)
        })
    });
    let authorities: Vec<_> = (0..sizes.1)
        .map(|number| Authority::root(&format!("CA {number}")))
        .collect();
    for (number, authority) in authorities.iter().enumerate() {
        site.put(&format!("ca-{number}.pem"), authority.issuer.pem());
    }
    site.configure_to(&configuration(&site, &origin, sizes, "first"));
    let began = Instant::now();
    let herald = site.start();
    let started = began.elapsed();

    let caller = authorities[0].issue(client_params(), Key::Ec);
    let settings = Settings::new(Some(&caller));
    let mut client = settings.connect(herald.address()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    assert_eq!(origin.take_one().headers.only("x-app").unwrap(), "first");

    // Steady requests on a connection of each worker's show every pause: of the worst of them while nothing happens, and
    // while reloads do.
    let mut ask = |spans: &mut Vec<Duration>, until: &dyn Fn() -> bool| {
        while !until() {
            let asked = Instant::now();
            assert_eq!(client.get("/").unwrap().status, 200);
            spans.push(asked.elapsed());
        }
        spans.sort_unstable();
    };
    let mut quiet = Vec::new();
    let calm = Instant::now();
    ask(&mut quiet, &|| calm.elapsed() > Duration::from_secs(3));
    let mut busy = Vec::new();
    let reloading = std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let mut times = Vec::new();
            // The origins of all stay the same; of all but the applications that are gone; of none.
            for (mark, origin, sizes) in [
                ("second", &origin, sizes),
                ("third", &origin, (sizes.0 - 10, sizes.1)),
                ("fourth", &other, sizes),
            ] {
                site.configure_to(&configuration(&site, origin, sizes, mark));
                let began = Instant::now();
                site.reloaded();
                times.push(began.elapsed());
                println!("{mark}: held up at most {:?}", site.swaps());
            }
            times
        });
        ask(&mut busy, &|| reloads.is_finished());
        reloads.join().unwrap()
    });
    println!("start {started:?}; reloads {reloading:?}");
    told("while quiet", &quiet);
    told("while reloading", &busy);
    assert_held_up_at_most(&site, Duration::from_millis(10));
    assert!(started < Duration::from_secs(2), "{started:?}");
}

/// What a reload costs who serves is measured, and a start costs nothing of it.
#[test]
fn a_reload_tells_how_long_it_held_each_worker_up() {
    let (site, sizes) = (Site::default(), (200, 4));
    let origin = Origin::echo();
    for number in 0..sizes.1 {
        let authority = Authority::root(&format!("CA {number}"));
        site.put(&format!("ca-{number}.pem"), authority.issuer.pem());
    }
    site.configure_to(&configuration(&site, &origin, sizes, "first"));
    let _herald = site.start();
    assert_eq!(site.swaps(), [Duration::ZERO; 2]);
    site.configure_to(&configuration(&site, &origin, sizes, "second"));
    site.reloaded();
    assert_held_up_at_most(&site, Duration::from_millis(100));
}

/// Applications are numbered in the order of the file: each keeps its own origin, and nobody's connections, when others
/// come before it, go, or change places.
#[test]
fn each_application_keeps_its_origin_wherever_it_stands() {
    let (site, origins) = (Site::default(), [(); 3].map(|()| Origin::echo()));
    let configure = |order: &[(char, usize)]| {
        let applications = order.iter().map(|(name, origin)| {
            let address = origins[*origin].address();
            format!("[[application]]\nname = \"{name}\"\nhostnames = [\"{name}.test\"]\nupstream = \"http://{address}\"\n")
        });
        let applications: String = applications.collect();
        site.configure_to(&format!(
            "client_auth = \"off\"\nwatch = false\nworkers = 1\n{applications}"
        ));
    };
    let orders: [&[(char, usize)]; 5] = [
        &[('a', 0), ('b', 1), ('c', 2)],
        &[('c', 2), ('a', 0), ('b', 1)],
        &[('d', 1), ('c', 2), ('b', 1)],
        &[('b', 1), ('c', 2)],
        &[('b', 2), ('c', 1)],
    ];
    configure(orders[0]);
    let herald = site.start();
    for order in orders {
        configure(order);
        site.reloaded();
        let mut client = Settings::default().connect(herald.address()).unwrap();
        for (name, expected) in order {
            let asked = format!("GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n");
            assert_eq!(client.ask(asked.as_bytes()).unwrap().status, 200);
            let took = origins.each_ref().map(|origin| origin.take().len());
            let mut wanted = [0; 3];
            wanted[*expected] = 1;
            assert_eq!(took, wanted, "{name} of {order:?}");
        }
    }
    // What stayed kept its connections: one for each application and origin that ever was.
    let connections = origins.each_ref().map(Origin::connections);
    assert_eq!(connections, [1, 3, 2]);
}

/// Each of both workers was held up by a reload, and no longer than this.
fn assert_held_up_at_most(site: &Site, most: Duration) {
    let swaps = site.swaps();
    println!("the longest that a reload held each worker up: {swaps:?}");
    assert_eq!(swaps.len(), 2);
    for swap in swaps {
        assert!(swap > Duration::ZERO && swap < most, "{swap:?}");
    }
}

/// How long requests took; the spans are sorted.
fn told(when: &str, spans: &[Duration]) {
    println!(
        "{} requests {when}: p50 {:?} p99 {:?} p99.9 {:?} max {:?}",
        spans.len(),
        at(spans, 0.5),
        at(spans, 0.99),
        at(spans, 0.999),
        at(spans, 1.0),
    );
}

/// The span that `share` of them do not exceed; they are sorted.
fn at(spans: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below the length"
    )]
    let index = (spans.len() as f64 * share) as usize;
    spans[index.min(spans.len() - 1)]
}
