//! Compiling and rendering mappings, on golden certificates.

use std::sync::Arc;

use base64::Engine as _;

use super::*;
use crate::identity::{Facts, OnFailure, values};
use crate::tls::{Reason, ReasonStyle, ValidPath, Verdict};

const PLAIN: &str = include_str!("../../../../tests/golden/plain.crt");
const LEAD: &str = include_str!("../../../../tests/golden/lead.crt");
const CA: &str = include_str!("../../../../tests/golden/caA.crt");

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap()
}

fn verified() -> Verdict {
    Verdict::Success(Arc::new(ValidPath {
        intermediates: vec![der(CA).into()],
        anchor: Arc::new(der(CA).into()),
        store: "partners".into(),
    }))
}

fn free(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries
        .iter()
        .map(|(name, template)| ((*name).to_owned(), (*template).to_owned()))
        .collect()
}

fn render(mapping: &Mapping, leaf: &str, verdict: &Verdict) -> HeaderBlock {
    let leaf = der(leaf);
    let facts = Facts {
        leaf: Some(&leaf),
        verdict,
        style: ReasonStyle::Openssl1,
        on_failure: OnFailure::Send,
        now: 1_790_000_000,
    };
    mapping.render(&values(&facts, mapping.wanted()))
}

fn lines(block: &HeaderBlock) -> String {
    String::from_utf8(block.http1.to_vec()).unwrap()
}

#[test]
fn the_default_is_the_worker_preset() {
    let mapping = Mapping::compile(&[], &[]).unwrap();
    let block = render(&mapping, PLAIN, &verified());
    assert_eq!(
        lines(&block),
        "X-CERT-PRESENTED: 1\r\n\
         X-CERT-ISSUER-DN: CN=Testing CA A,OU=TX,O=Access Testing,L=Austin,ST=Texas,C=US\r\n\
         X-CERT-SUBJECT-DN: CN=James Royal,OU=Access Admins,O=Access,L=Austin,ST=Texas,C=US\r\n\
         X-CERT-ISSUER-DN-L: /C=US/ST=Texas/L=Austin/O=Access Testing/OU=TX/CN=Testing CA A\r\n\
         X-CERT-SUBJECT-DN-L: /C=US/ST=Texas/L=Austin/O=Access/OU=Access Admins/CN=James Royal\r\n\
         X-CERT-SERIAL: 0A0B\r\n\
         X-CERT-FINGER: ef781d176badb577a1c472f1706fe26c14698a8e\r\n\
         X-CERT-VERIFY: SUCCESS\r\n\
         X-CERT-NOTBE: Nov  1 00:00:00 2026 GMT\r\n\
         X-CERT-NOTAF: Nov  1 00:00:00 2027 GMT\r\n"
    );
    assert_eq!(block.holds_until, u64::MAX);
    assert_eq!(block.pairs().len(), 10);
    for ((name, value), line) in block.pairs().iter().zip(lines(&block).lines()) {
        let (spelled, text) = line.split_once(": ").unwrap();
        assert_eq!(name.as_str(), spelled.to_lowercase());
        assert_eq!(value.as_bytes(), text.as_bytes());
        assert!(value.is_sensitive());
        // The value lies inside the block's one buffer.
        assert!(
            block
                .http1
                .as_ptr_range()
                .contains(&value.as_bytes().as_ptr())
        );
    }
    let none = render(&mapping, PLAIN, &Verdict::None);
    assert_eq!(
        lines(&none),
        "X-CERT-PRESENTED: 0\r\nX-CERT-VERIFY: NONE\r\n"
    );
}

#[test]
fn the_managed_preset_speaks_in_booleans() {
    let mapping = Mapping::compile(&[Preset::CloudflareManaged], &[]).unwrap();
    assert_eq!(mapping.names().count(), 17);
    let text = lines(&render(&mapping, PLAIN, &verified()));
    assert!(text.starts_with(
        "cf-cert-revoked: false\r\ncf-cert-verified: true\r\ncf-cert-presented: true\r\n"
    ));
    assert!(
        text.contains("\r\ncf-cert-issuer-serial: 602E35E4A2F9AAA7656AC39F3BFACA6D69EA85A9\r\n")
    );
    let failed = lines(&render(&mapping, PLAIN, &Verdict::Failed(Reason::Revoked)));
    assert!(failed.starts_with(
        "cf-cert-revoked: true\r\ncf-cert-verified: false\r\ncf-cert-presented: true\r\n"
    ));
    let none = lines(&render(&mapping, PLAIN, &Verdict::None));
    assert_eq!(
        none,
        "cf-cert-revoked: false\r\ncf-cert-verified: false\r\ncf-cert-presented: false\r\n"
    );
}

#[test]
fn rfc_9440_headers_exist_only_of_a_certificate_that_verified() {
    let mapping = Mapping::compile(&[Preset::Rfc9440], &[]).unwrap();
    let base64 = |pem| base64::engine::general_purpose::STANDARD.encode(der(pem));
    assert_eq!(
        lines(&render(&mapping, PLAIN, &verified())),
        format!(
            "Client-Cert: :{}:\r\nClient-Cert-Chain: :{}:\r\n",
            base64(PLAIN),
            base64(CA)
        )
    );
    for verdict in [Verdict::None, Verdict::Failed(Reason::Expired)] {
        let block = render(&mapping, PLAIN, &verdict);
        assert!(block.http1.is_empty() && block.pairs().is_empty());
    }
    let forward = Mapping::compile(&[Preset::CloudflareForward], &[]).unwrap();
    assert!(
        lines(&render(&forward, PLAIN, &Verdict::Failed(Reason::Expired)))
            .contains("Cf-Client-Cert-Sha256: ")
    );
}

#[test]
fn free_entries_extend_presets_and_replace_by_canonical_name() {
    let only = Mapping::compile(&[], &free(&[("X-Device", "{certSubjectCN}")])).unwrap();
    assert_eq!(
        lines(&render(&only, PLAIN, &verified())),
        "X-Device: James Royal\r\n"
    );

    let mapping = Mapping::compile(
        &[Preset::CloudflareWorker, Preset::CloudflareWorker],
        &free(&[
            ("x-cert-Serial", "serial={certSerial} by={certSubjectCN}"),
            ("X-Gone", "{certSPIFFE} {certSerial}"),
            ("X-Fixed", "{{yes}}"),
        ]),
    )
    .unwrap();
    assert_eq!(mapping.names().count(), 12);
    let text = lines(&render(&mapping, PLAIN, &verified()));
    assert!(
        text.contains("\r\nx-cert-Serial: serial=0A0B by=James%20Royal\r\n"),
        "{text}"
    );
    assert!(!text.contains("X-CERT-SERIAL") && !text.contains("X-Gone"));
    assert!(text.ends_with("\r\nX-Fixed: {yes}\r\n"));
}

/// A subject that ends in a space is legal in HTTP/1.1 (receivers trim) and malformed in HTTP/2.
#[test]
fn outer_spaces_stay_on_http1_and_go_on_http2() {
    let mapping = Mapping::compile(&[], &free(&[("X-S", "{certSubjectDN}")])).unwrap();
    let block = render(&mapping, LEAD, &verified());
    assert_eq!(lines(&block), "X-S: CN=\\ lead#x\\ \r\n");
    assert_eq!(block.pairs()[0].1.as_bytes(), b"CN=\\ lead#x\\");
}

#[test]
fn only_the_days_that_remain_shorten_a_block() {
    let mapping = Mapping::compile(&[], &free(&[("X-Days", "{certDaysRemaining}")])).unwrap();
    let block = render(&mapping, PLAIN, &verified());
    assert_eq!(lines(&block), "X-Days: 405\r\n");
    assert!((1_790_000_001..1_790_086_401).contains(&block.holds_until));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let errors = Mapping::compile(
        &[],
        &free(&[
            ("X-Good", "{certSerial}"),
            ("X_Bad", "{certSerial"),
            ("", "x"),
            ("X-Name", "{certSubjectCn}"),
            ("x-good", "y"),
        ]),
    )
    .unwrap_err();
    let shown: Vec<(usize, &str)> = errors
        .iter()
        .map(|e| (e.entry, e.message.as_str()))
        .collect();
    let expected = [
        (1, "`X_Bad` is no header name"),
        (1, "`X_Bad`: template at byte 0: `{` has no `}`"),
        (2, "`` is no header name"),
        (
            3,
            "`X-Name`: template at byte 1: no variable `certSubjectCn`, did you mean `certSubjectCN`?",
        ),
        (4, "`x-good` is set twice: entry 1"),
    ];
    assert_eq!(shown.len(), expected.len(), "{shown:?}");
    for ((entry, message), (index, start)) in shown.iter().zip(expected) {
        assert_eq!(*entry, index);
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn names_that_frame_route_or_authorise_are_refused() {
    for name in [
        "Host",
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Authorization",
        "Cookie",
        "Content-Type",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Real-IP",
        "HTTP2-Settings",
        ":authority",
        ":path",
        "Path",
        "Sec-WebSocket-Key",
        "Via",
    ] {
        let errors = Mapping::compile(&[], &free(&[(name, "{certSerial}")])).unwrap_err();
        assert_eq!(errors.len(), 1, "{name}");
    }
    for name in [
        "X-Forwarded-Client-Cert",
        "X-Forwarded-Tls-Client-Cert",
        "X-Client-Name",
        "Client-Cert",
    ] {
        assert!(
            Mapping::compile(&[], &free(&[(name, "{certSerial}")])).is_ok(),
            "{name}"
        );
    }
    for name in ["a b", "X-é", "x\r\ny", "X.Y", &"x".repeat(MAX_NAME + 1)] {
        assert!(
            Mapping::compile(&[], &free(&[(name, "{certSerial}")])).is_err(),
            "{name}"
        );
    }
}

#[test]
fn every_preset_and_family_name_is_a_plain_token() {
    for name in family_names() {
        assert!(HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name}");
        assert!(
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "{name}"
        );
    }
    for preset in Preset::all() {
        let mapping = Mapping::compile(&[preset], &[]).unwrap();
        assert_eq!(mapping.names().count(), preset.rows().len());
        assert_eq!(Preset::parse(preset.name()), Some(preset));
        for name in mapping.names() {
            assert!(family_names().any(|family| family == name), "{name}");
        }
    }
    assert_eq!(Preset::parse("cloudflare"), None);
}
