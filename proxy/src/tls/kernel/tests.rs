use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig, ConnectionTrafficSecrets, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls::context::{self, Settings};

/// The server's traffic secret, key and IV of RFC 8448 §3.
#[test]
fn keys_are_those_of_the_rfc() {
    let secret = bytes("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    let keys = Keys::of(suite, &secret);
    assert_eq!(
        keys.expanded::<16>(b"key").to_vec(),
        bytes("9f02283b6c9c07efc26bb9f2ac92e356")
    );
    assert_eq!(
        keys.expanded::<12>(b"iv").to_vec(),
        bytes("cf782b88dd83549aadf1e984")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn keys_and_sequence_are_those_that_rustls_would_use_next() {
    let suites = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    for suite in suites {
        let (server, client) = configurations(suite);
        let (near, far) = tokio::io::duplex(1 << 20);
        let accept = catch(TlsAcceptor::from(server).accept(Gate::new(near, true)));
        let name = ServerName::try_from("localhost").unwrap();
        let connect = TlsConnector::from(client).connect(name, far);
        let ((accepted, secret), connected) = tokio::join!(accept, connect);
        let (mut tls, mut client) = (accepted.unwrap(), connected.unwrap());
        let negotiated = tls.get_ref().1.negotiated_cipher_suite().unwrap();
        assert_eq!(negotiated.suite(), suite);
        let mut keys = Keys::new(negotiated, secret.unwrap()).unwrap();
        tls.get_mut().0.begin(true);

        let sent = vec![7; 100_000];
        tls.write_all(&sent).await.unwrap();
        tls.flush().await.unwrap();
        let mut got = vec![0; sent.len()];
        client.read_exact(&mut got).await.unwrap();
        let (sequence, plaintext) = tls.get_ref().0.counted().unwrap();
        assert_eq!(plaintext, 100_000);

        let (_, session) = tls.into_inner();
        let (next, secrets) = session.dangerous_extract_secrets().unwrap().tx;
        assert_eq!(sequence, next);
        let (key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("another suite"),
        };
        let ours = match key.as_ref().len() {
            16 => keys.expanded::<16>(b"key").to_vec(),
            _ => keys.expanded::<32>(b"key").to_vec(),
        };
        assert_eq!(ours, key.as_ref());
        assert_eq!(keys.expanded::<12>(b"iv"), iv.as_ref());
        assert!(keys.for_kernel(sequence).is_some());
        keys.update().unwrap();
        assert_ne!(keys.expanded::<12>(b"iv"), iv.as_ref());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_key_update_before_the_hand_over_is_noticed() {
    let (server, client) = configurations(CipherSuite::TLS13_AES_128_GCM_SHA256);
    let (near, far) = tokio::io::duplex(1 << 20);
    let accept = TlsAcceptor::from(server).accept(Gate::new(near, true));
    let name = ServerName::try_from("localhost").unwrap();
    let connect = TlsConnector::from(client).connect(name, far);
    let (accepted, connected) = tokio::join!(accept, connect);
    let (mut tls, mut client) = (accepted.unwrap(), connected.unwrap());
    tls.get_mut().0.begin(true);
    client.get_mut().1.refresh_traffic_keys().unwrap();
    client.write_all(b"ping").await.unwrap();
    client.flush().await.unwrap();
    let mut got = [0; 4];
    tls.read_exact(&mut got).await.unwrap();
    tls.write_all(b"pong").await.unwrap();
    tls.flush().await.unwrap();
    let (_, plaintext) = tls.get_ref().0.counted().unwrap();
    assert_eq!(plaintext, 4 + 5, "the answer's five bytes nobody asked for");
}

#[test]
fn a_level_is_taken_only_where_it_is_known_to_be_good() {
    let all = Ability::ALL;
    let none = Err("no kernel TLS here".to_owned());
    let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-12)";
    let old = Release::of("6.1.0-56-cloud-amd64", debian);
    assert_eq!(old.to_string(), "6.1.192");
    let stable = Release::of("6.12.118+deb13-cloud-amd64", "#1 Debian 6.12.118-1");
    let unfixed = Release::of("6.12.90", "#1 SMP");
    let between = Release::of("6.18.44-fc", "#1 SMP");
    let new = Release::of("7.3.4+deb13-cloud-amd64", "#1 Debian 7.3.4-1~bpo13+1");
    let level = |wish, release: &Release, ability: &Result<Ability, String>| {
        let decision = decide(
            wish,
            &Finding {
                release: release.clone(),
                ability: ability.clone(),
            },
        );
        // Whatever is not the most that can be had has a reason.
        let is_most = decision.level == Some(Level::Splice) || wish == Wish::Off;
        assert!(is_most || wish == Wish::Transmit || decision.reason.is_some());
        decision.level
    };
    let able = Ok(all);
    for release in [&old, &unfixed, &between] {
        assert_eq!(level(Wish::Auto, release, &able), None, "{release}");
    }
    for release in [&stable, &new] {
        assert_eq!(level(Wish::Auto, release, &able), Some(Level::Splice));
    }
    assert_eq!(level(Wish::Splice, &old, &able), Some(Level::Transmit));
    assert_eq!(level(Wish::Splice, &unfixed, &able), Some(Level::Splice));
    let stubborn = Ok(Ability {
        splice: false,
        ..all
    });
    assert_eq!(level(Wish::Splice, &new, &stubborn), Some(Level::Transmit));
    assert_eq!(level(Wish::Auto, &new, &stubborn), None);
    assert_eq!(level(Wish::Transmit, &old, &able), Some(Level::Transmit));
    assert_eq!(level(Wish::Off, &new, &able), None);
    for wish in [Wish::Auto, Wish::Transmit, Wish::Splice] {
        assert_eq!(level(wish, &new, &none), None);
    }
    // Nobody is told to load a module where it would change nothing.
    let reason = |release: &Release| {
        let finding = Finding {
            release: release.clone(),
            ability: none.clone(),
        };
        decide(Wish::Auto, &finding).reason.unwrap()
    };
    assert!(reason(&old).starts_with("splice needs"));
    assert!(reason(&between).contains("the fixes that matter"));
    assert_eq!(reason(&new), "no kernel TLS here");
}

fn configurations(suite: CipherSuite) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut server = context::server_config(Settings {
        chain_pem: made.cert.pem().into_bytes(),
        key_pem: made.signing_key.serialize_pem().into_bytes(),
        verifier: None,
        tls12: true,
        resumption: true,
        taps_keys: true,
    })
    .unwrap();
    let secrets = crate::tls::TicketSecrets::random().unwrap();
    let lifetime = std::time::Duration::from_secs(100);
    let tickets = crate::tls::Tickets::new(&secrets, &[0; 32], lifetime).unwrap();
    server.ticketer = tickets.of_connection();
    server.enable_secret_extraction = true;
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|have| have.suite() == suite);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
