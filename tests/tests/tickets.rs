//! Session tickets: good for Heralds that share a secret and for nobody else, for one trust and no other, until the time
//! that the first handshake set.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use herald_tests::client::{Client, Settings, Tls};
use herald_tests::herald::Herald;
use herald_tests::origin::Origin;
use herald_tests::pki::{Key, Pki};
use herald_tests::site::Site;
use herald_tests::wait;
use rustls::{ClientConfig, HandshakeKind};

const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const NEW: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f";

/// A site in front of `origin` with these settings.
fn site(origin: &Origin, more: &str) -> Site {
    let site = Site::default();
    site.configure(origin.address(), &format!("{}{more}", site.client_ca()));
    site
}

/// A request on a new connection to `herald`: whether the session was resumed.
fn resumes(herald: &Herald, config: &Arc<ClientConfig>) -> bool {
    let mut client = Client::connect(herald.address(), config).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    client.session().1 == Some(HandshakeKind::Resumed)
}

fn clients() -> [Arc<ClientConfig>; 2] {
    Tls::ALL.map(|version| {
        Settings::new(Some(&Pki::shared().good()))
            .version(version)
            .build()
    })
}

#[test]
fn heralds_that_share_a_secret_resume_each_others_sessions() {
    let origin = Origin::echo();
    let sites = [(); 2].map(|()| {
        let site = Site::default();
        let keys = site.put("keys", format!("# of the fleet\n{OLD}\n"));
        site.configure(
            origin.address(),
            &format!("{}ticket_keys = {keys:?}\n", site.client_ca()),
        );
        site
    });
    let heralds = sites.each_ref().map(Site::start);
    let stranger = site(&origin, "").start();
    for config in clients() {
        assert!(!resumes(&heralds[0], &config));
        assert!(resumes(&heralds[1], &config));
        assert!(resumes(&heralds[0], &config));
        assert!(!resumes(&stranger, &config), "it has a secret of its own");
    }
    // After a restart too.
    let [config, _] = clients();
    assert!(!resumes(&heralds[0], &config));
    drop(heralds);
    assert!(resumes(&sites[0].start(), &config));
}

#[test]
fn secrets_are_rotated_by_replacing_the_file() {
    let origin = Origin::echo();
    let site = Site::default();
    let keys = site.put("keys", OLD);
    site.configure(
        origin.address(),
        &format!("{}ticket_keys = {keys:?}\n", site.client_ca()),
    );
    let herald = site.start();
    let rotate = |text: &str| {
        let before = site.generation();
        site.put("keys", text);
        site.await_generation_after(before);
    };
    for config in clients() {
        rotate(OLD);
        assert!(!resumes(&herald, &config));
        rotate(&format!("{NEW}\n{OLD}\n"));
        assert!(resumes(&herald, &config), "the old one still reads");
        rotate(NEW);
        assert!(
            resumes(&herald, &config),
            "the new one made the last ticket"
        );
        rotate(&"ab".repeat(32));
        assert!(!resumes(&herald, &config));
        rotate(NEW);
    }
    site.put("keys", "too short\n");
    let output = site.reload();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && told.contains("line 1 is not 64 hexadecimal"),
        "{told}"
    );
    assert!(!told.contains("too short"), "a secret is not shown");
}

/// A reload voids no session; a change of trust or mode voids all of them.
#[test]
fn a_ticket_is_of_one_trust_and_mode() {
    let origin = Origin::echo();
    for change in ["client_auth = \"optional\"\n", "more CAs"] {
        let site = site(&origin, "");
        let herald = site.start();
        for config in clients() {
            assert!(!resumes(&herald, &config));
            site.configure(
                origin.address(),
                &format!("{}header = {{ X-A = \"b\" }}\n", site.client_ca()),
            );
            site.reloaded();
            assert!(resumes(&herald, &config), "a header is no matter of trust");
            if change == "more CAs" {
                let pki = Pki::shared();
                site.put("ca.pem", pki.ca.issuer.pem() + &pki.other.issuer.pem());
            } else {
                site.configure(origin.address(), &format!("{}{change}", site.client_ca()));
            }
            site.reloaded();
            assert!(!resumes(&herald, &config), "{change}");
            site.put("ca.pem", Pki::shared().ca.issuer.pem());
            site.configure(origin.address(), &site.client_ca());
            site.reloaded();
        }
    }
}

/// CVE-2025-23419: with one default application for clients that send no server name, a session of one application was
/// resumed by another. Here each names a different host, or none; the ticket's key does not fit.
#[test]
fn no_application_takes_a_ticket_of_another_trust() {
    let origin = Origin::echo();
    let (site, pki) = (Site::default(), Pki::shared());
    fs::copy(pki.path("other.pem"), site.path("other.pem")).unwrap();
    let application = |name: &str, ca: &str| {
        format!(
            "[[application]]\nhostnames = [\"{name}\"]\nclient_ca = {:?}\nclient_auth = \"optional\"\nupstream = \"http://{}\"\n",
            site.path(ca),
            origin.address()
        )
    };
    let (a, b) = (
        application("localhost", "ca.pem"),
        application("app.test", "other.pem"),
    );
    site.configure_to(&format!("watch = false\n{a}{b}"));
    let herald = site.start();
    let connect = |name: &'static str, config: &Arc<ClientConfig>| {
        Client::connect_as(herald.address(), name, config).unwrap()
    };
    for version in Tls::ALL {
        let config = Settings::new(Some(&pki.good())).version(version).build();
        let mut first = connect("localhost", &config);
        assert_eq!(first.get("/").unwrap().status, 200);
        // The same client, the same server name, and by now that name is the other application's.
        site.configure_to(&format!(
            "watch = false\n{}{}",
            application("app.test", "ca.pem"),
            application("localhost", "other.pem")
        ));
        site.reloaded();
        let second = connect("localhost", &config);
        assert_eq!(
            second
                .session()
                .1
                .map(|kind| kind == HandshakeKind::Resumed),
            Some(false),
            "{version:?}"
        );
        site.configure_to(&format!("watch = false\n{a}{b}"));
        site.reloaded();
    }
}

#[test]
fn a_session_ends_at_its_time_however_often_it_is_resumed() {
    let origin = Origin::echo();
    let herald = site(&origin, "ticket_lifetime = \"3s\"\n").start();
    for config in clients() {
        let began = Instant::now();
        assert!(!resumes(&herald, &config));
        let mut times = 0;
        wait::until("the session to end", || {
            if !resumes(&herald, &config) {
                return Some(());
            }
            times += 1;
            thread::sleep(Duration::from_millis(200));
            None
        });
        let lived = began.elapsed();
        assert!(times >= 5, "resumed {times} times");
        assert!(
            lived > Duration::from_millis(1900) && lived < Duration::from_secs(5),
            "{lived:?}"
        );
    }
}

#[test]
fn resumption_is_off_where_it_is_switched_off() {
    let origin = Origin::echo();
    let herald = site(&origin, "resumption = false\n").start();
    for config in clients() {
        assert!(!resumes(&herald, &config));
        assert!(!resumes(&herald, &config));
    }
    // Chains of any kind fit into a ticket.
    let herald = site(&origin, "").start();
    for kind in Key::ALL {
        let config = Settings::new(Some(&Pki::shared().good_with(kind))).build();
        assert!(!resumes(&herald, &config));
        assert!(resumes(&herald, &config), "{kind:?}");
    }
}
