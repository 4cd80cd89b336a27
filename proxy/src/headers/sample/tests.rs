//! Byte for byte: the vendors' own documented examples. Their certificates are not published, so
//! certificates with the same names, numbers, dates and alternative names are made here.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, Issuer, KeyPair, SanType, SerialNumber,
};
use time::{Date, Month, OffsetDateTime, Time};

use super::*;
use crate::headers::family_names;
use crate::tls::Reason;

mod envoy;

type Attributes<'a> = &'a [(DnType, &'a str)];

fn name(attributes: Attributes<'_>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in attributes {
        name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    name
}

fn at(year: i32, month: Month, day: u8, (hour, minute, second): (u8, u8, u8)) -> OffsetDateTime {
    let date = Date::from_calendar_date(year, month, day).unwrap();
    date.with_time(Time::from_hms(hour, minute, second).unwrap())
        .assume_utc()
}

/// A certificate of `issuer`, and the issuer's own.
fn issue(issuer: Attributes<'_>, params: CertificateParams) -> (Vec<u8>, Vec<u8>) {
    let (key, issuer_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut issuer_params = CertificateParams::new(Vec::new()).unwrap();
    issuer_params.distinguished_name = name(issuer);
    let anchor = issuer_params.self_signed(&issuer_key).unwrap();
    let issuer = Issuer::new(issuer_params, issuer_key);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    (leaf.der().to_vec(), anchor.der().to_vec())
}

fn verified(anchor: &[u8], intermediates: &[&[u8]]) -> Verdict {
    Verdict::Success(Arc::new(ValidPath {
        intermediates: intermediates
            .iter()
            .map(|der| der.to_vec().into())
            .collect(),
        anchor: Arc::new(anchor.to_vec().into()),
        store: "partners".into(),
    }))
}

/// The lines of a preset, as (name, value).
fn lines(preset: &str, leaf: &[u8], verdict: &Verdict) -> Vec<(String, String)> {
    let mapping = Mapping::of(Preset::parse(preset).unwrap());
    let facts = Facts {
        leaf: Some(leaf),
        verdict,
        style: ReasonStyle::Openssl3,
        on_failure: OnFailure::Omit,
        now: 1_695_260_000,
    };
    let block = mapping.render(&identity::values(&facts, mapping.wanted()));
    let text = String::from_utf8(block.http1.to_vec()).unwrap();
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

#[track_caller]
fn expect(found: &[(String, String)], expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let line = found.iter().find(|(found, _)| found == name);
        assert_eq!(
            line.map(|(_, value)| value.as_str()),
            Some(*value),
            "{name}"
        );
    }
}

fn base64(bytes: &[u8]) -> String {
    String::from_utf8(identity::encode::base64(bytes)).unwrap()
}

/// PEM as OpenSSL writes it.
fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let mut lines = vec!["-----BEGIN CERTIFICATE-----"];
    lines.extend(
        text.as_bytes()
            .chunks(64)
            .map(|line| str::from_utf8(line).unwrap()),
    );
    lines.push("-----END CERTIFICATE-----");
    lines.join("\n") + "\n"
}

/// Amazon's example caller, with the serial number of CloudFront's page.
fn amazon() -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name(&[
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "Washington"),
        (DnType::OrganizationName, "mTLS"),
        (DnType::OrganizationalUnitName, "client-3"),
        (DnType::CommonName, "client_.com"),
    ]);
    params.serial_number = Some(SerialNumber::from_slice(&[
        0x4a, 0x3f, 0x5c, 0x92, 0xd1, 0xe8, 0x7b, 0x6c,
    ]));
    params.not_before = at(2023, Month::September, 21, (1, 50, 17));
    params.not_after = at(2024, Month::September, 20, (1, 50, 17));
    let issuer: Attributes<'_> = &[
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "Washington"),
        (DnType::LocalityName, "Seattle"),
        (DnType::OrganizationName, "mTLS"),
        (DnType::OrganizationalUnitName, "rootCA"),
        (DnType::CommonName, "rootcamtls.com"),
    ];
    issue(issuer, params)
}

const AMAZON_ISSUER: &str = "CN=rootcamtls.com,OU=rootCA,O=mTLS,L=Seattle,ST=Washington,C=US";
const AMAZON_SUBJECT: &str = "CN=client_.com,OU=client-3,O=mTLS,ST=Washington,C=US";
const AMAZON_VALIDITY: &str = "NotBefore=2023-09-21T01:50:17Z;NotAfter=2024-09-20T01:50:17Z";

/// docs.aws.amazon.com: AmazonCloudFront viewer-mtls-headers; elasticloadbalancing mutual-authentication.
#[test]
fn amazons_documented_examples() {
    let (leaf, anchor) = amazon();
    let verdict = verified(&anchor, &[]);
    let escaped = |der: &[u8]| pem(der).replace('\n', "%0A").replace(' ', "%20");
    let pem_start = "-----BEGIN%20CERTIFICATE-----%0AMII";
    let found = lines("cloudfront", &leaf, &verdict);
    assert_eq!(found.len(), 7);
    assert!(escaped(&leaf).starts_with(pem_start));
    expect(
        &found,
        &[
            (
                "CloudFront-Viewer-Cert-Serial-Number",
                "4a:3f:5c:92:d1:e8:7b:6c",
            ),
            ("CloudFront-Viewer-Cert-Issuer", AMAZON_ISSUER),
            ("CloudFront-Viewer-Cert-Subject", AMAZON_SUBJECT),
            ("CloudFront-Viewer-Cert-Present", "1"),
            ("CloudFront-Viewer-Cert-Validity", AMAZON_VALIDITY),
            ("CloudFront-Viewer-Cert-Pem", &escaped(&leaf)),
        ],
    );
    let found = lines("aws-alb-verify", &leaf, &verdict);
    assert_eq!(found.len(), 5);
    expect(
        &found,
        &[
            ("X-Amzn-Mtls-Clientcert-Serial-Number", "4A3F5C92D1E87B6C"),
            ("X-Amzn-Mtls-Clientcert-Issuer", AMAZON_ISSUER),
            ("X-Amzn-Mtls-Clientcert-Subject", AMAZON_SUBJECT),
            ("X-Amzn-Mtls-Clientcert-Validity", AMAZON_VALIDITY),
            ("X-Amzn-Mtls-Clientcert-Leaf", &escaped(&leaf)),
        ],
    );
    // `+=/` are safe characters there: base64 passes as it is.
    assert!(
        !found
            .iter()
            .any(|(_, value)| value.contains("%2B") || value.contains("%3D"))
    );
    let chain = lines("aws-alb-passthrough", &leaf, &verified(&anchor, &[&anchor]));
    let both = escaped(&leaf) + &escaped(&anchor);
    expect(&chain, &[("X-Amzn-Mtls-Clientcert", &both)]);
    let none = lines("cloudfront", &leaf, &Verdict::None);
    assert_eq!(
        none,
        [("CloudFront-Viewer-Cert-Present".into(), "0".into())]
    );
}

/// Google's Apigee sample shows these answers of a load balancer; cloud.google.com custom headers.
#[test]
fn googles_sample_answers() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name(&[(DnType::CommonName, "xapi-dev.kurtkanaskie.net")]);
    params.serial_number = Some(SerialNumber::from_slice(&[
        0xad, 0x3e, 0x0e, 0xbc, 0xc3, 0xd4, 0xf4, 0x2d, 0xae, 0x5b, 0x21, 0x3b, 0xe4, 0xcb, 0x8b,
        0xf4, 0x9d, 0x49, 0xa1,
    ]));
    params.not_before = at(2023, Month::September, 12, (14, 55, 19));
    params.not_after = at(2023, Month::October, 12, (14, 55, 18));
    params.subject_alt_names = vec![
        SanType::DnsName("xapi-dev.kurtkanaskie.net".try_into().unwrap()),
        SanType::URI("https://xapi-dev.kurtkanaskie.net".try_into().unwrap()),
    ];
    let (leaf, anchor) = issue(&[(DnType::CommonName, "partner1-ca")], params);
    let found = lines("gcp", &leaf, &verified(&anchor, &[]));
    expect(
        &found,
        &[
            ("X-Client-Cert-Present", "true"),
            ("X-Client-Cert-Chain-Verified", "true"),
            (
                "X-Client-Cert-Serial-Number",
                "00:ad:3e:0e:bc:c3:d4:f4:2d:ae:5b:21:3b:e4:cb:8b:f4:9d:49:a1",
            ),
            (
                "X-Client-Cert-DNSName-SANs",
                "eGFwaS1kZXYua3VydGthbmFza2llLm5ldA==",
            ),
            (
                "X-Client-Cert-URI-SANs",
                "aHR0cHM6Ly94YXBpLWRldi5rdXJ0a2FuYXNraWUubmV0",
            ),
            (
                "X-Client-Cert-Valid-Not-Before",
                "2023-09-12T14:55:19+00:00",
            ),
            ("X-Client-Cert-Valid-Not-After", "2023-10-12T14:55:18+00:00"),
            ("X-Client-Cert-Leaf", &format!(":{}:", base64(&leaf))),
        ],
    );
    // base64 of 32 bytes without padding, as the sample shows it.
    let hash = found
        .iter()
        .find(|(name, _)| name == "X-Client-Cert-Hash")
        .unwrap();
    assert_eq!(hash.1.len(), 43);
    assert!(!found.iter().any(|(name, _)| name == "X-Client-Cert-Error"));
}

#[test]
fn googles_names_of_errors() {
    let (leaf, _) = amazon();
    let refused = [
        (Verdict::None, "false", "client_cert_not_provided"),
        (
            Verdict::Failed(Reason::InvalidPurpose),
            "true",
            "client_cert_chain_invalid_eku",
        ),
        (
            Verdict::Failed(Reason::Expired),
            "true",
            "client_cert_validation_failed",
        ),
    ];
    for (verdict, present, error) in refused {
        let found = lines("gcp", &leaf, &verdict);
        assert_eq!(found.len(), 3, "{found:?}");
        expect(
            &found,
            &[
                ("X-Client-Cert-Present", present),
                ("X-Client-Cert-Chain-Verified", "false"),
                ("X-Client-Cert-Error", error),
            ],
        );
    }
}

/// A workload's SPIFFE ID has a header of its own and is not repeated among the URIs.
#[test]
fn a_spiffe_id_is_not_repeated() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let id = "spiffe://cluster.local/ns/x/sa/y";
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    let (leaf, anchor) = issue(&[(DnType::CommonName, "mesh")], params);
    let found = lines("gcp", &leaf, &verified(&anchor, &[]));
    expect(&found, &[("X-Client-Cert-SPIFFE", id)]);
    assert!(
        !found
            .iter()
            .any(|(name, _)| name == "X-Client-Cert-URI-SANs")
    );
    let linkerd = lines("linkerd", &leaf, &verified(&anchor, &[]));
    assert_eq!(linkerd, [("l5d-client-id".to_owned(), id.to_owned())]);
}

/// linkerd2-proxy set_identity_header.rs: one DNS-like identity, else nothing at all.
#[test]
fn linkerds_identity_is_one_or_none() {
    let identity = "foo.ns.serviceaccount.identity.linkerd.cluster.local";
    let of = |names: &[&str]| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names
            .iter()
            .map(|name| SanType::DnsName((*name).try_into().unwrap()))
            .collect();
        let (leaf, anchor) = issue(&[(DnType::CommonName, "mesh")], params);
        lines("linkerd", &leaf, &verified(&anchor, &[]))
    };
    assert_eq!(
        of(&[identity]),
        [("l5d-client-id".to_owned(), identity.to_owned())]
    );
    assert!(of(&[identity, "admin.example"]).is_empty());
    assert!(of(&[]).is_empty());
}

/// No certificate writes fields into the syntax of Envoy or Traefik.
#[test]
fn a_certificate_forges_no_field() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name(&[(DnType::CommonName, "a\";URI=x;Issuer=\"CN=trusted")]);
    params.subject_alt_names = vec![SanType::URI(
        "http://a/\"b;DNS=admin,Hash=0".try_into().unwrap(),
    )];
    let (leaf, anchor) = issue(&[(DnType::CommonName, "ca")], params);
    let verdict = verified(&anchor, &[]);
    let xfcc = lines("envoy-xfcc", &leaf, &verdict).remove(0).1;
    assert!(
        xfcc.ends_with(
            ";Subject=\"CN=a\\\"\\;URI=x\\;Issuer=\\\"CN=trusted\";\
             URI=\"http://a/%22b;DNS=admin,Hash=0\""
        ),
        "{xfcc}"
    );
    let info = lines("traefik", &leaf, &verdict).remove(1).1;
    assert!(
        info.starts_with(
            "Subject%3D%22CN%3Da%2522%253BURI%253Dx%253BIssuer%253D%2522CN%253Dtrusted%22%3B\
             Issuer%3D%22CN%3Dca%22%3B"
        ),
        "{info}"
    );
}

/// doc.traefik.io, passtlsclientcert: the names, numbers and dates of the example certificate.
#[test]
fn traefiks_fields_and_order() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let domain = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
    params.distinguished_name = name(&[
        (domain.clone(), "org"),
        (DnType::OrganizationName, "Cheese"),
        (DnType::OrganizationalUnitName, "Simple Signing Section"),
        (DnType::CommonName, "*.example.org"),
        (DnType::CountryName, "FR"),
        (DnType::LocalityName, "TOULOUSE"),
        (DnType::StateOrProvinceName, "Cheese org state"),
    ]);
    params.serial_number = Some(SerialNumber::from_slice(&[1]));
    params.not_before = at(2018, Month::December, 6, (11, 10, 16));
    params.not_after = at(2020, Month::December, 5, (11, 10, 16));
    params.subject_alt_names = vec![
        SanType::DnsName("*.example.org".try_into().unwrap()),
        SanType::Rfc822Name("test@example.org".try_into().unwrap()),
        SanType::IpAddress([10, 0, 1, 0].into()),
    ];
    let issuer: Attributes<'_> = &[
        (DnType::OrganizationName, "Cheese"),
        (DnType::OrganizationalUnitName, "Simple Signing Section"),
        (DnType::CommonName, "Simple Signing CA"),
    ];
    let (leaf, anchor) = issue(issuer, params);
    let found = lines("traefik", &leaf, &verified(&anchor, &[&anchor]));
    let both = format!("{},{}", base64(&leaf), base64(&anchor));
    let info = "Subject=\"DC=org,C=FR,ST=Cheese org state,L=TOULOUSE,O=Cheese,OU=Simple Signing Section,CN=*.example.org\";\
                Issuer=\"O=Cheese,CN=Simple Signing CA\";SerialNumber=\"1\";NB=\"1544094616\";NA=\"1607166616\";\
                SAN=\"*.example.org,test@example.org,10.0.1.0\"";
    let escaped: String = info
        .chars()
        .map(|c| match c {
            ' ' => "+".to_owned(),
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~' => c.to_string(),
            _ => format!("%{:02X}", u32::from(c)),
        })
        .collect();
    expect(
        &found,
        &[
            ("X-Forwarded-Tls-Client-Cert", &both),
            ("X-Forwarded-Tls-Client-Cert-Info", &escaped),
        ],
    );
}

/// The forms of HAProxy's manual (`%{+Q}`, numbers, upper-case SHA-1) and of Cloud Foundry's header set.
#[test]
fn haproxys_forms() {
    let (leaf, anchor) = amazon();
    let subject = "/C=US/ST=Washington/O=mTLS/OU=client-3/CN=client_.com";
    let root = "/C=US/ST=Washington/L=Seattle/O=mTLS/OU=rootCA/CN=rootcamtls.com";
    let found = lines("haproxy", &leaf, &verified(&anchor, &[]));
    assert_eq!(found.len(), 7);
    expect(
        &found,
        &[
            ("X-SSL-Client-Verify", "0"),
            ("X-SSL-Client-DN", subject),
            ("X-SSL-Client-CN", "client_.com"),
            ("X-SSL-Issuer", root),
            ("X-SSL-Client-NotBefore", "230921015017Z"),
            ("X-SSL-Client-NotAfter", "240920015017Z"),
        ],
    );
    let sha1 = &found.last().unwrap().1;
    assert!(sha1.len() == 40 && sha1.bytes().all(|byte| b"0123456789ABCDEF".contains(&byte)));
    let found = lines("cf-haproxy", &leaf, &verified(&anchor, &[]));
    assert_eq!(found.len(), 9);
    expect(
        &found,
        &[
            ("X-Forwarded-Client-Cert", &base64(&leaf)),
            ("X-SSL-Client", "1"),
            ("X-SSL-Client-Verify", "0"),
            ("X-SSL-Client-Subject-DN", &base64(subject.as_bytes())),
            ("X-SSL-Client-Root-CA-DN", &base64(root.as_bytes())),
            ("X-SSL-Client-NotAfter", "240920015017Z"),
        ],
    );
    let failed = lines("haproxy", &leaf, &Verdict::Failed(Reason::SelfSigned));
    assert_eq!(
        failed,
        [("X-SSL-Client-Verify".to_owned(), "18".to_owned())]
    );
    // HAProxy itself would say 0, which reads like success.
    assert!(lines("haproxy", &leaf, &Verdict::None).is_empty());
}

/// nginx's, ingress-nginx's, httpd's and Puppet's names for the same values.
#[test]
fn the_openssl_family() {
    let (leaf, anchor) = amazon();
    let verdict = verified(&anchor, &[]);
    let escaped = pem(&leaf)
        .bytes()
        .map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect::<String>();
    expect(
        &lines("nginx", &leaf, &verdict),
        &[
            ("X-SSL-Client-Verify", "SUCCESS"),
            ("X-SSL-Client-S-DN", AMAZON_SUBJECT),
            ("X-SSL-Client-I-DN", AMAZON_ISSUER),
            ("X-SSL-Client-Serial", "4A3F5C92D1E87B6C"),
            ("X-SSL-Client-Cert", &escaped),
        ],
    );
    expect(
        &lines("ingress-nginx", &leaf, &verdict),
        &[
            ("ssl-client-verify", "SUCCESS"),
            ("ssl-client-subject-dn", AMAZON_SUBJECT),
            ("ssl-client-issuer-dn", AMAZON_ISSUER),
            ("ssl-client-cert", &escaped),
        ],
    );
    expect(
        &lines("puppet", &leaf, &verdict),
        &[
            ("X-Client-Verify", "SUCCESS"),
            ("X-Client-DN", AMAZON_SUBJECT),
            ("X-Client-Cert", &escaped),
        ],
    );
    expect(
        &lines("apache", &leaf, &verdict),
        &[
            ("SSL-CLIENT-VERIFY", "SUCCESS"),
            ("SSL-CLIENT-M-SERIAL", "4A3F5C92D1E87B6C"),
            ("SSL-CLIENT-S-DN-CN", "client_.com"),
            ("SSL-CLIENT-V-START", "Sep 21 01:50:17 2023 GMT"),
            ("SSL-CLIENT-V-REMAIN", "365"),
            ("SSL-CLIENT-CERT", pem(&leaf).replace('\n', " ").trim_end()),
        ],
    );
    let none = lines("puppet", &leaf, &Verdict::None);
    assert_eq!(none, [("X-Client-Verify".to_owned(), "NONE".to_owned())]);
}

#[test]
fn every_preset_has_a_sample_and_its_names_are_protected() {
    for preset in Preset::all() {
        let sample = String::from_utf8(sample(preset).unwrap()).unwrap();
        assert!(sample.lines().count() > 0, "{preset}");
        assert!(
            sample.len() < 16 * 1024 && !sample.contains("%TOOLARGE"),
            "{preset}"
        );
        assert!(!preset.description().is_empty());
        for (name, ..) in preset.rows() {
            assert!(family_names().any(|family| family == *name), "{name}");
        }
    }
}
