//! Envoy's `x-forwarded-client-cert`, by its documentation and as measured.

use super::*;
use crate::identity::XfccBy;

/// envoyproxy.io, http_conn_man/headers: the example's certificate. (Its Subject is in the old form;
/// Envoy sends RFC 2253, envoy#9889.)
#[test]
fn envoys_documented_example() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name(&[
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "CA"),
        (DnType::LocalityName, "San Francisco"),
        (DnType::OrganizationalUnitName, "Lyft"),
        (DnType::CommonName, "Test Client"),
    ]);
    params.subject_alt_names = vec![
        SanType::URI("http://testclient.lyft.com".try_into().unwrap()),
        SanType::DnsName("lyft.com".try_into().unwrap()),
        SanType::DnsName("www.lyft.com".try_into().unwrap()),
    ];
    let (leaf, anchor) = issue(&[(DnType::CommonName, "ca")], params);
    let [(header, value)] = &lines("envoy-xfcc", &leaf, &verified(&anchor, &[]))[..] else {
        panic!("one header");
    };
    assert_eq!(header, "x-forwarded-client-cert");
    let (hash, rest) = value.split_once(';').unwrap();
    let hash = hash.strip_prefix("Hash=").unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
    assert_eq!(
        rest,
        "Subject=\"CN=Test Client,OU=Lyft,L=San Francisco,ST=CA,C=US\";\
         URI=http://testclient.lyft.com;DNS=lyft.com;DNS=www.lyft.com"
    );
}

/// What Envoy 1.40 was seen to send of a certificate with these names, in both formats.
#[test]
fn envoys_two_formats_as_measured() {
    let of = |preset, names: Attributes<'_>, alternatives| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = name(names);
        params.subject_alt_names = alternatives;
        let (leaf, anchor) = issue(&[(DnType::CommonName, "ca")], params);
        lines(preset, &leaf, &verified(&anchor, &[])).remove(0).1
    };
    let device: Attributes<'_> = &[
        (DnType::CountryName, "US"),
        (DnType::OrganizationName, "Example"),
        (DnType::OrganizationalUnitName, "Devices"),
        (DnType::CommonName, "device-42"),
    ];
    let both = || {
        vec![
            SanType::URI("spiffe://example.com/device/42".try_into().unwrap()),
            SanType::DnsName("device-42.example.com".try_into().unwrap()),
        ]
    };
    let quoted: Attributes<'_> = &[
        (DnType::CountryName, "US"),
        (DnType::CommonName, "no \"san"),
    ];
    for (preset, names, alternatives, end) in [
        (
            "envoy-xfcc",
            device,
            both(),
            ";Subject=\"CN=device-42,OU=Devices,O=Example,C=US\";URI=spiffe://example.com/device/42;DNS=device-42.example.com",
        ),
        (
            "envoy-xfcc",
            quoted,
            Vec::new(),
            ";Subject=\"CN=no \\\"san,C=US\";URI=",
        ),
        (
            "envoy-xfcc-json",
            device,
            both(),
            "\",\"subject\":\"CN=device-42,OU=Devices,O=Example,C=US\",\"uri\":[\"spiffe://example.com/device/42\"],\"dns\":[\"device-42.example.com\"]}]",
        ),
        (
            "envoy-xfcc-json",
            quoted,
            Vec::new(),
            "\",\"subject\":\"CN=no \\\\\\\"san,C=US\"}]",
        ),
    ] {
        let value = of(preset, names, alternatives);
        let start = if preset == "envoy-xfcc" {
            "Hash="
        } else {
            "[{\"hash\":\""
        };
        let hash = value.strip_prefix(start).unwrap().strip_suffix(end);
        assert_eq!(hash.map(str::len), Some(64), "{value}");
    }
}

/// What Envoy 1.40 was seen to send with `cert` and `chain`: PEM percent-encoded in text, with its line ends escaped in JSON.
#[test]
fn envoys_certificates_as_measured() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = name(&[(DnType::CommonName, "edge")]);
    params.subject_alt_names = vec![SanType::DnsName("e.example.org".try_into().unwrap())];
    let (leaf, anchor) = issue(&[(DnType::CommonName, "ca")], params);
    let verdict = verified(&anchor, &[]);
    let escaped = |end: &str| pem(&leaf).trim_end().replace('\n', end) + end;
    let json = escaped("\\n");
    let value = lines("envoy-xfcc-cert-json", &leaf, &verdict).remove(0).1;
    let told = format!(
        "\",\"cert\":\"{json}\",\"chain\":[\"{json}\"],\"subject\":\"CN=edge\",\"dns\":[\"e.example.org\"]}}]"
    );
    assert!(
        value.starts_with("[{\"hash\":\"") && value.ends_with(&told),
        "{value}"
    );
    let text = escaped("%0A").replace(' ', "%20").replace('+', "%2B");
    let text = text.replace('/', "%2F").replace('=', "%3D");
    let value = lines("envoy-xfcc-cert", &leaf, &verdict).remove(0).1;
    let told =
        format!(";Cert=\"{text}\";Chain=\"{text}\";Subject=\"CN=edge\";URI=;DNS=e.example.org");
    assert!(
        value.starts_with("Hash=") && value.ends_with(&told),
        "{value}"
    );
}

/// Envoy's element begins with the URIs of its own certificate, in both formats.
#[test]
fn an_element_begins_with_heralds_own_uris() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![
        SanType::URI("spiffe://example.org/herald".try_into().unwrap()),
        SanType::DnsName("herald.example.org".try_into().unwrap()),
        SanType::URI("urn:b;c".try_into().unwrap()),
    ];
    let (own, _) = issue(&[(DnType::CommonName, "ca")], params);
    let by = XfccBy::of(&own);
    assert_eq!(&*by.text, b"By=spiffe://example.org/herald;By=\"urn:b;c\";");
    assert_eq!(
        &*by.json,
        br#""by":["spiffe://example.org/herald","urn:b;c"],"#
    );
    let (without, _) = issue(
        &[(DnType::CommonName, "ca")],
        CertificateParams::new(Vec::new()).unwrap(),
    );
    let by = XfccBy::of(&without);
    assert!(by.text.is_empty() && by.json.is_empty());
}
