//! sk_lookup on this kernel and on those of the guests of `cargo xtask vm`: to whom it gives connections, whom it refuses,
//! what it leaves alone. IPv4 and IPv6.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};

use herald_tests::bulk::{LARGE, by_length, expect_body, expect_sealed, good, sealed};
use herald_tests::client::{Client, Settings};
use herald_tests::herald::Launch;
use herald_tests::netns;
use herald_tests::records::Folder;
use herald_tests::steering::{Scene, connect, decided, dial, may};
use herald_tests::wait;
use proxy_common::Counter;

/// All three programs: connections to ports and addresses that nobody has bound reach the listener they are given to,
/// and there the least busy worker. What is not in the table is as without Herald, also for who is refused.
#[test]
fn lookup_gives_ports_and_addresses_to_a_listener() {
    if !may("lookup_gives_ports_and_addresses_to_a_listener") {
        return;
    }
    netns::within(|| {
        netns::address("2001:db8::7/128");
        let scene = Scene::new(
            2,
            &[
                "--handshake-timeout=60s",
                "--listen=[::1]:0",
                "--steer=127.7.7.7:8000-8099=127.0.0.1:0",
                "--steer=[2001:db8::7]:8443=[::1]:0",
                "--steer=[::]:9000-9009=[::1]:0",
                "--refuse-rate=20",
                "--refuse-burst=40",
            ],
        );
        let before = scene.decided(Counter::Chosen);
        let dialled = [
            "127.7.7.7:8000",
            "127.7.7.7:8099",
            "[2001:db8::7]:8443",
            "[::1]:9009",
        ];
        for (number, address) in (1..).zip(dialled) {
            let mut client = dial(address).unwrap();
            assert_eq!(client.get("/").unwrap().status, 200, "{address}");
            // More where a SYN was sent again.
            let assigned = scene.decided(Counter::LookupAssigned);
            assert!(assigned >= number, "{address}");
        }
        assert!(scene.decided(Counter::Chosen) >= before + 4);
        assert_eq!(scene.decided(Counter::ChosenByHash), 0);
        assert_eq!(scene.decided(Counter::ClientEstablished), 4);
        for address in [
            "127.7.7.7:7999",
            "127.7.7.7:8100",
            "127.7.7.8:8000",
            "[2001:db8::7]:8444",
            "[::1]:9010",
        ] {
            let refused = TcpStream::connect(address).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{address}");
        }
        // A worker's share: neither is left out.
        let held: Vec<_> = (0..30)
            .map(|_| TcpStream::connect("127.7.7.7:8050").unwrap())
            .collect();
        let open = wait::until("all to be accepted", || {
            let open = scene.open();
            (open.iter().sum::<u64>() == 30).then_some(open)
        });
        // A guest's processors are not always there: what a worker is late weighs like connections.
        assert!(open[0].min(open[1]) >= 3, "{open:?}");
        drop(held);
        // A limit holds on given ports too, and on nobody else's.
        let neighbour = TcpListener::bind("127.7.7.7:7777").unwrap();
        // Nothing is asked after the last of them: in a guest that stands still for 50 ms, one more passes.
        let refused: Vec<_> = (0..60)
            .filter_map(|_| TcpStream::connect("127.7.7.7:8001").err())
            .collect();
        assert!(refused.len() > 20, "{refused:?}");
        assert!(refused.iter().all(is_refused), "{refused:?}");
        drop(TcpStream::connect(neighbour.local_addr().unwrap()).unwrap());
        assert!(scene.decided(Counter::Refused) >= 20);
        assert!(scene.decided(Counter::LookupForeign) >= 5);
    });
}

fn is_refused(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::ConnectionRefused
}

/// With one worker no program chooses: the kernel's hash does, and the anchor's share is accepted like the other's.
#[test]
fn lookup_loses_no_connection_to_the_hash() {
    if !may("lookup_loses_no_connection_to_the_hash") {
        return;
    }
    netns::within(|| {
        let scene = Scene::new(1, &["--steer=127.7.7.7:8000=127.0.0.1:0"]);
        let config = Settings::default().build();
        for address in ["127.7.7.7:8000".parse().unwrap(), scene.herald.address()] {
            for _ in 0..16 {
                let mut client = Client::connect(address, &config).unwrap();
                assert_eq!(client.get("/").unwrap().status, 200);
            }
        }
        assert!(scene.decided(Counter::LookupAssigned) >= 16);
        assert_eq!(scene.decided(Counter::Chosen), 0);
        assert_eq!(scene.decided(Counter::ClientEstablished), 32);
    });
}

/// The anchor is in a sockmap, whose sockets take no TLS keys; what is accepted from it, or chosen in its stead, does.
/// In a guest the kernel's own count shows it.
#[test]
fn lookup_of_a_given_port_leaves_kernel_tls_working() {
    if !may("lookup_of_a_given_port_leaves_kernel_tls_working") {
        return;
    }
    netns::within(|| {
        for workers in [1, 2] {
            let origin = by_length();
            let folder = Folder::default();
            let launch = Launch::new("required", origin.address()).workers(workers);
            let given = "127.7.7.7:8000".parse().unwrap();
            let herald = folder
                .launch(launch.args([
                    "--ktls=tx",
                    "--ebpf=require",
                    "--steer=127.7.7.7:8000=127.0.0.1:0",
                ]))
                .start();
            let before = sealed();
            for _ in 0..COUNT {
                expect_body(&mut good().connect(given).unwrap(), LARGE);
            }
            expect_sealed(before, COUNT, "given");
            for _ in 0..COUNT {
                expect_body(&mut good().connect(herald.address()).unwrap(), LARGE);
            }
            expect_sealed(before, 2 * COUNT, "the listener's own");
            assert!(decided(&folder, Counter::LookupAssigned) >= COUNT);
            let chosen = decided(&folder, Counter::Chosen);
            assert_eq!(chosen >= 2 * COUNT, workers > 1, "{chosen}");
        }
    });
}

/// A customer's /48 holds 65,536 networks of which none is over its rate; together they are.
#[test]
fn many_networks_of_one_48_share_a_wider_rate() {
    if !may("many_networks_of_one_48_share_a_wider_rate") {
        return;
    }
    netns::within(|| {
        for network in 0..50 {
            netns::address(&format!("2001:db8:1:{network:x}::1/128"));
        }
        netns::address("2001:db8:2::1/128");
        netns::address("2001:db8:3::1/128");
        let scene = Scene::new(
            2,
            &[
                "--listen=[::1]:0",
                "--refuse-rate=1",
                "--refuse-burst=2",
                "--refuse-exempt=2001:db8:3::/48",
            ],
        );
        let to = scene.herald.addresses()[1];
        let from = |source: &str| connect(to, Some(source.parse().unwrap()));
        let passed = (0..50)
            .filter(|network| from(&format!("2001:db8:1:{network:x}::1")).is_ok())
            .count();
        // 16 times a burst of two, and what 16 a second earn meanwhile.
        assert!((32..45).contains(&passed), "{passed} of 50 networks passed");
        assert!(scene.decided(Counter::Refused) >= 5);
        from("2001:db8:2::1").unwrap();
        for _ in 0..10 {
            from("2001:db8:3::1").unwrap();
        }
    });
}

const COUNT: u64 = 4;
