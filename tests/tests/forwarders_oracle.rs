//! Envoy's APPEND_FORWARD beside Herald's trusted forwarders: the same caller says the same of its own client to both, and
//! what their origins get is compared byte for byte. Both go on in the format of what came, whatever their own is.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use herald_tests::client::Settings;
use herald_tests::envoy;
use herald_tests::gate;
use herald_tests::origin::Origin;
use herald_tests::peer::{Kind, Peer};
use herald_tests::pki::{Identity, Key, Pki, client_params};
use herald_tests::site::Site;
use herald_tests::wait;
use herald_tests::wire::text;
use rcgen::{ExtendedKeyUsagePurpose, SanType};

const NONE: &str = "nothing";
const TEXT: &str = "By=http://frontend.lyft.com;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;Subject=\"/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client\";URI=http://testclient.lyft.com;DNS=lyft.com;DNS=www.lyft.com";
const JSON: &str = r#"[{"by":["spiffe://example.org/herald"],"hash":"468ed33b","subject":"CN=a\\\"b","uri":["spiffe://x"],"dns":["a","b"]}]"#;

/// What a caller says, what Envoy makes of it, and why Herald answers 400 instead; without a reason both send the same.
const SAID: &[(&[&str], Option<&str>)] = &[
    (&[], None),
    (&[TEXT], None),
    (&[JSON], None),
    (&["Hash=1,Hash=2"], None),
    (&["Hash=1", "Hash=2"], None),
    (&[r#"[{"hash":"1"},{"hash":"2"}]"#], None),
    (&[r#"  [ {"hash" : "1"} ]"#], None),
    (
        &["[]"],
        Some("Envoy writes a list that begins with a comma"),
    ),
    (&[r#"[{"hash":"1"}"#], Some("Envoy goes on in text")),
    (&["[Hash=1]"], Some("Envoy looks at the brackets alone")),
    (&[JSON, JSON], Some("Envoy writes two arrays, no JSON")),
    (&[JSON, TEXT], Some("Envoy mixes the formats")),
    (&[TEXT, JSON], Some("Envoy mixes the formats")),
    (&["anything"], Some("Envoy reads nothing of it")),
    (
        &[r#"[{"hash":"1","hash":"2"}]"#],
        Some("readers differ over which hash it is"),
    ),
];

#[test]
fn envoy_and_herald_append_alike_in_both_formats() {
    if !gate::require("envoy_append", "envoy", Kind::Envoy.version().is_some()) {
        return;
    }
    for (preset, details) in [
        ("envoy-xfcc", "format: TEXT"),
        ("envoy-xfcc-json", "format: JSON"),
        ("envoy-xfcc-cert", "format: TEXT, cert: true, chain: true"),
        (
            "envoy-xfcc-cert-json",
            "format: JSON, cert: true, chain: true",
        ),
    ] {
        let (theirs, ours, site) = (Origin::echo(), Origin::echo(), Site::default());
        let files = own_certificate(&site);
        let more = "trusted_forwarder = \"san_uri:spiffe://example.org/edge\"\n";
        site.configure(
            ours.address(),
            &format!("{}preset = \"{preset}\"\n{more}", site.client_ca()),
        );
        let herald = site.start();
        let peer = Peer::start(Kind::Envoy, |_, at| {
            envoy::configuration(&files, ("APPEND_FORWARD", details), theirs.address(), at)
        });
        let caller = edge();
        wait::until("the peer to serve", || {
            (got(&caller, &[], peer.address(), &theirs).0 == 200).then_some(())
        });
        for (said, departs) in SAID {
            let (status, envoys) = got(&caller, said, peer.address(), &theirs);
            assert_eq!(status, 200, "{said:?}");
            let (status, heralds) = got(&caller, said, herald.address(), &ours);
            match departs {
                None => assert_eq!((status, heralds), (200, envoys), "{preset} {said:?}"),
                Some(why) => assert_eq!((status, &*heralds), (400, NONE), "{said:?}: {why}"),
            }
        }
    }
}

/// One with two URIs, for Envoy as for Herald.
fn own_certificate(site: &Site) -> [PathBuf; 3] {
    let mut params = client_params();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().unwrap()),
        SanType::URI("spiffe://example.org/herald".try_into().unwrap()),
        SanType::URI("urn:herald".try_into().unwrap()),
    ];
    let server = Pki::shared().ca.issue(params, Key::Ec);
    let (cert, key) = server.write(site.folder(), "made");
    fs::copy(&cert, site.path("server.pem")).unwrap();
    fs::copy(&key, site.path("server.key")).unwrap();
    [cert, key, Pki::shared().path("ca.pem")]
}

fn edge() -> Identity {
    Pki::shared().client(|params| {
        params.subject_alt_names = vec![
            SanType::URI("spiffe://example.org/edge".try_into().unwrap()),
            SanType::DnsName("edge.example.org".try_into().unwrap()),
        ];
    })
}

/// The answer's status, and what the origin got.
fn got(caller: &Identity, said: &[&str], at: SocketAddr, origin: &Origin) -> (u16, String) {
    let fields: String = said
        .iter()
        .map(|value| format!("X-Forwarded-Client-Cert: {value}\r\n"))
        .collect();
    let mut client = Settings::new(Some(caller))
        .alpn(&["http/1.1"])
        .connect(at)
        .unwrap();
    client
        .send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes())
        .unwrap();
    let status = client.response().unwrap().status;
    let requests = origin.take();
    let values = requests
        .iter()
        .flat_map(|request| request.headers.all("x-forwarded-client-cert"));
    let values: Vec<_> = values.map(text).collect();
    match &*values {
        [] => (status, NONE.to_owned()),
        [one] => (status, one.clone()),
        several => panic!("{several:?}"),
    }
}
