//! Which values exist when, and the formats that are not OpenSSL's.

use super::*;

/// One element, for certificates that no tool issues.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, &body].concat()
}

/// A certificate with these names (content of the SEQUENCE), end of validity and extensions.
pub(super) fn certificate(subject: &[u8], not_after: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&tlv(6, &[&[0x2b, 0x65, 0x70]])]);
    let list: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let tbs = tlv(
        0x30,
        &[
            &tlv(0xa0, &[&tlv(2, &[&[2]])]),
            &tlv(2, &[&[7]]),
            &algorithm,
            &tlv(0x30, &[&attribute(3, 12, b"ca")]),
            &tlv(
                0x30,
                &[&tlv(23, &[b"200101000000Z"]), &tlv(24, &[not_after])],
            ),
            &tlv(0x30, &[subject]),
            &tlv(0x30, &[&algorithm, &tlv(3, &[&[0; 33]])]),
            &tlv(0xa3, &[&tlv(0x30, &list)]),
        ],
    );
    tlv(0x30, &[&tbs, &algorithm, &tlv(3, &[&[0]])])
}

/// An RDN of one attribute 2.5.4.`kind`.
pub(super) fn attribute(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
    let pair = [tlv(6, &[&[0x55, 4, kind]]), tlv(tag, &[value])].concat();
    tlv(0x31, &[&tlv(0x30, &[&pair])])
}

/// An extension 2.5.29.`kind`.
fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(6, &[&[0x55, 0x1d, kind]]), &tlv(4, &[value])])
}

fn san(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let entries: Vec<u8> = entries
        .iter()
        .flat_map(|(tag, value)| tlv(0x80 | tag, &[value]))
        .collect();
    extension(17, &tlv(0x30, &[&entries]))
}

fn with_san(entries: &[(u8, &[u8])]) -> Values {
    leaf_values(&certificate(b"", b"20300101000000Z", &[san(entries)]))
}

fn with_subject(subject: &[u8]) -> Values {
    leaf_values(&certificate(subject, b"20300101000000Z", &[]))
}

fn present(values: &Values) -> Vec<Variable> {
    Variable::all()
        .filter(|variable| values.get(*variable).is_some())
        .collect()
}

#[test]
fn without_a_certificate_only_the_verdict_exists() {
    let facts = Facts {
        leaf: None,
        on_failure: OnFailure::Send,
        ..facts(b"", &Verdict::None)
    };
    let values = values(&facts, VariableSet::all());
    assert_eq!(
        present(&values),
        [
            Variable::Presented,
            Variable::Verified,
            Variable::Revoked,
            Variable::ErrorGcp,
        ]
    );
    assert_eq!(text(&values, Variable::Presented), Some("0"));
    assert_eq!(text(&values, Variable::Verified), Some("NONE"));
    assert_eq!(text(&values, Variable::Revoked), Some("0"));
    assert_eq!(values.holds_until, u64::MAX);
}

#[test]
fn a_failed_certificate_says_nothing_unless_asked_to() {
    let leaf = golden("expired.crt");
    let verdict = Verdict::Failed(Reason::Expired);
    let omitted = values(&facts(&leaf, &verdict), VariableSet::all());
    assert_eq!(
        present(&omitted),
        [
            Variable::Presented,
            Variable::Verified,
            Variable::Revoked,
            Variable::VerifyCode,
            Variable::ErrorGcp,
        ]
    );
    assert_eq!(text(&omitted, Variable::Presented), Some("1"));
    assert_eq!(
        text(&omitted, Variable::Verified),
        Some("FAILED:certificate has expired")
    );
    let sent = leaf_values(&leaf);
    assert_eq!(text(&sent, Variable::SubjectCn), Some("Exp"));
    for needs_a_path in [
        Variable::IssuerSerial,
        Variable::IssuerSki,
        Variable::ChainRfc9440,
        Variable::ChainRfc9440TooLarge,
        Variable::TrustStore,
    ] {
        assert_eq!(text(&sent, needs_a_path), None, "{needs_a_path}");
    }
}

#[test]
fn a_revoked_certificate_is_failed_and_flagged() {
    let leaf = golden("plain.crt");
    let verdict = Verdict::Failed(Reason::Revoked);
    for style in [ReasonStyle::Openssl1, ReasonStyle::Openssl3] {
        let facts = Facts {
            style,
            ..facts(&leaf, &verdict)
        };
        let values = values(&facts, VariableSet::all());
        assert_eq!(text(&values, Variable::Revoked), Some("1"));
        assert_eq!(
            text(&values, Variable::Verified),
            Some("FAILED:certificate revoked")
        );
    }
}

#[test]
fn only_wanted_values_are_there() {
    let leaf = golden("plain.crt");
    let verdict = success(&[], golden("caA.crt"));
    let wanted = [Variable::Serial, Variable::Verified].into_iter().collect();
    let values = values(&facts(&leaf, &verdict), wanted);
    assert_eq!(present(&values), [Variable::Verified, Variable::Serial]);
}

#[test]
fn the_issuer_is_the_validated_one_and_the_chain_leaves_out_its_ends() {
    let leaf = golden("plain.crt");
    let (first, second) = (golden("caB.crt"), golden("self.crt"));
    let verdict = success(&[first.clone(), second.clone()], golden("caA.crt"));
    let long = values(&facts(&leaf, &verdict), VariableSet::all());
    assert_eq!(
        text(&long, Variable::IssuerSerial),
        Some("5F89F6DC39F94EA16E78A20048C31E6D656AF823")
    );
    let base64 = |der: &[u8]| base64::engine::general_purpose::STANDARD.encode(der);
    let expected = format!(":{}:, :{}:", base64(&first), base64(&second));
    assert_eq!(text(&long, Variable::ChainRfc9440), Some(&*expected));
    assert_eq!(text(&long, Variable::ChainRfc9440TooLarge), Some("0"));
    assert_eq!(text(&long, Variable::TrustStore), Some("partners"));

    let verdict = success(&[], golden("caA.crt"));
    let short = values(&facts(&leaf, &verdict), VariableSet::all());
    assert_eq!(
        text(&short, Variable::IssuerSerial),
        Some("602E35E4A2F9AAA7656AC39F3BFACA6D69EA85A9")
    );
    assert_eq!(text(&short, Variable::ChainRfc9440), None);
    assert_eq!(text(&short, Variable::ChainRfc9440TooLarge), Some("0"));
    assert_eq!(text(&short, Variable::IssuerSki), None);
    let key_id = extension(14, &tlv(4, &[b"\xab\xcd"]));
    let verdict = success(&[], certificate(b"", b"20300101000000Z", &[key_id]));
    let with_key_id = values(&facts(&leaf, &verdict), VariableSet::all());
    assert_eq!(text(&with_key_id, Variable::IssuerSki), Some("ABCD"));
    assert_eq!(text(&with_key_id, Variable::Ski), None);
    assert_eq!(text(&short, Variable::Presented), Some("1"));
}

#[test]
fn the_leaf_of_rfc_9440_appendix_a() {
    let pem = std::fs::read_to_string(format!("{GOLDEN}/leaf.pem")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let values = leaf_values(&golden("leaf.pem"));
    assert_eq!(
        text(&values, Variable::Rfc9440),
        Some(&*format!(":{body}:"))
    );
    assert_eq!(text(&values, Variable::Rfc9440TooLarge), Some("0"));
    assert_eq!(text(&values, Variable::Der), Some(&*body));
    assert_eq!(text(&values, Variable::SanEmail), Some("bdc@example.com"));
    let escaped = text(&values, Variable::Pem).unwrap();
    assert!(escaped.starts_with("-----BEGIN%20CERTIFICATE-----%0AMIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBB%0A"));
    assert!(escaped.ends_with("-----END%20CERTIFICATE-----%0A"));
    assert_eq!(
        escaped
            .replace("%0A", "\n")
            .replace("%20", " ")
            .replace("%2B", "+")
            .replace("%2F", "/")
            .replace("%3D", "="),
        pem.get(pem.find("-----BEGIN").unwrap()..).unwrap()
    );
}

#[test]
fn values_over_their_cap_are_absent_and_marked() {
    // 10 KiB of base64 and two colons: 7677 bytes of DER are the most.
    let sized = |target: usize| {
        let at = |length| {
            certificate(
                &attribute(10, 12, &vec![b'x'; length]),
                b"20300101000000Z",
                &[],
            )
        };
        let der = at(target - at(0).len());
        assert_eq!(der.len(), target);
        der
    };
    let fits = leaf_values(&sized(7677));
    assert_eq!(text(&fits, Variable::Rfc9440TooLarge), Some("0"));
    assert_eq!(fits.get(Variable::Rfc9440).unwrap().len(), 10_238);
    let large = leaf_values(&sized(7679));
    assert_eq!(text(&large, Variable::Rfc9440TooLarge), Some("1"));
    assert_eq!(large.get(Variable::Rfc9440), None);

    let huge = leaf_values(&sized(MAX_VALUE + 1000));
    assert_eq!(text(&huge, Variable::IssuerDn), Some("CN=ca"));
    for marked in [
        Variable::SubjectDn,
        Variable::SubjectDnLegacy,
        Variable::Pem,
        Variable::Der,
    ] {
        assert_eq!(huge.get(marked), Some(TOO_LARGE), "{marked}");
    }

    let verdict = success(&[sized(7677), sized(5000)], golden("caA.crt"));
    let leaf = golden("plain.crt");
    let chain = values(&facts(&leaf, &verdict), VariableSet::all());
    assert_eq!(text(&chain, Variable::ChainRfc9440TooLarge), Some("1"));
    assert_eq!(chain.get(Variable::ChainRfc9440), None);
}

#[test]
fn alternative_names_split_back_exactly() {
    let values = with_san(&[
        (2, b"*.a.test"),
        (6, b"https://x/?a=b,c"),
        (2, b"evil,admin.test\r\n"),
        (1, b"a+b@c.test"),
        (7, &[10, 0, 0, 1]),
        (2, b"\xff\x00%"),
        (7, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (0, b"other"),
    ]);
    assert_eq!(
        text(&values, Variable::SanDns),
        Some("*.a.test,evil%2Cadmin.test%0D%0A,%FF%00%25")
    );
    assert_eq!(
        text(&values, Variable::SanUri),
        Some("https://x/%3Fa%3Db%2Cc")
    );
    assert_eq!(text(&values, Variable::SanEmail), Some("a%2Bb@c.test"));
    assert_eq!(text(&values, Variable::SanIp), Some("10.0.0.1,2001:db8::1"));
    assert_eq!(text(&values, Variable::Spiffe), None);
    let broken = with_san(&[(7, &[1, 2, 3]), (2, b"a.test")]);
    assert_eq!(text(&broken, Variable::SanIp), None);
    assert_eq!(text(&broken, Variable::SanDns), Some("a.test"));
    assert_eq!(text(&with_san(&[]), Variable::SanDns), None);
}

#[test]
fn a_spiffe_id_is_the_only_uri_and_well_formed() {
    let id = |uris: &[&[u8]]| {
        let entries: Vec<(u8, &[u8])> = uris.iter().map(|uri| (6, *uri)).collect();
        text(&with_san(&entries), Variable::Spiffe).map(str::to_owned)
    };
    let good = "spiffe://prod.example/ns/x/sa/Web_1";
    assert_eq!(id(&[good.as_bytes()]).as_deref(), Some(good));
    assert_eq!(id(&[b"spiffe://prod"]).as_deref(), Some("spiffe://prod"));
    assert_eq!(id(&[good.as_bytes(), b"https://x"]), None);
    for bad in [
        "https://x",
        "spiffe://",
        "spiffe:///x",
        "spiffe://a/",
        "spiffe://a//b",
        "spiffe://a/../b",
        "spiffe://A/b",
        "spiffe://a/b c",
        "spiffe://a/b?c",
        "spiffe://a/%41",
        "SPIFFE://a/b",
        "spiffe://a:1/b",
    ] {
        assert_eq!(id(&[bad.as_bytes()]), None, "{bad}");
    }
    assert_eq!(
        id(&[format!("spiffe://a/{}", "b".repeat(2048)).as_bytes()]),
        None
    );
}

/// A second extension of a kind may say something else: neither counts (OpenSSL's answer too).
#[test]
fn a_duplicate_extension_counts_for_nothing() {
    let key_id = extension(14, &tlv(4, &[b"\xab\xcd"]));
    let one = certificate(
        b"",
        b"20300101000000Z",
        &[key_id.clone(), san(&[(2, b"a")])],
    );
    assert_eq!(text(&leaf_values(&one), Variable::Ski), Some("ABCD"));
    let two = certificate(
        b"",
        b"20300101000000Z",
        &[key_id.clone(), san(&[(2, b"a")]), san(&[(2, b"b")]), key_id],
    );
    let values = leaf_values(&two);
    assert_eq!(text(&values, Variable::Ski), None);
    assert_eq!(text(&values, Variable::SanDns), None);
    assert_eq!(text(&values, Variable::Serial), Some("07"));
}

#[test]
fn a_common_name_is_unambiguous_text() {
    let cn = |value: &[u8]| {
        text(&with_subject(&attribute(3, 12, value)), Variable::SubjectCn).map(str::to_owned)
    };
    assert_eq!(cn(b"James Royal").as_deref(), Some("James Royal"));
    assert_eq!(cn("Jürgen".as_bytes()).as_deref(), Some("J%C3%BCrgen"));
    // Receivers trim: " admin" must not arrive as "admin", nor "%20admin" as the same as " admin".
    assert_eq!(cn(b" admin").as_deref(), Some("%20admin"));
    assert_eq!(cn(b"%20admin").as_deref(), Some("%2520admin"));
    assert_eq!(cn(b"a, b;c"), Some("a, b;c".to_owned()));
    for bad in [
        &b""[..],
        b"admin\0.evil",
        b"a\r\nb",
        b"a\x7f",
        b"\xff",
        "a\u{85}b".as_bytes(),
    ] {
        assert_eq!(cn(bad), None, "{bad:?}");
    }
    let two = [
        attribute(3, 12, b"a"),
        attribute(10, 12, b"o"),
        attribute(3, 12, b"b"),
    ]
    .concat();
    assert_eq!(text(&with_subject(&two), Variable::SubjectCn), None);
    let bmp = attribute(3, 30, b"\x04\x16\0x");
    assert_eq!(
        text(&with_subject(&bmp), Variable::SubjectCn),
        Some("%D0%96x")
    );
    let odd = attribute(3, 30, b"\x04\x16\0");
    assert_eq!(text(&with_subject(&odd), Variable::SubjectCn), None);
}

#[test]
fn days_remaining_hold_until_the_number_changes() {
    let leaf = certificate(b"", b"19700111000000Z", &[]);
    let days = |now: u64| {
        let verdict = success(&[], golden("caA.crt"));
        let facts = Facts {
            now,
            ..facts(&leaf, &verdict)
        };
        let values = values(&facts, VariableSet::all());
        let days = text(&values, Variable::DaysRemaining).unwrap().to_owned();
        (days, values.holds_until)
    };
    assert_eq!(days(0), ("10".to_owned(), 1));
    assert_eq!(days(1), ("9".to_owned(), 86_401));
    assert_eq!(days(86_400), ("9".to_owned(), 86_401));
    assert_eq!(days(86_401), ("8".to_owned(), 172_801));
    assert_eq!(days(864_000), ("0".to_owned(), u64::MAX));
    assert_eq!(days(u64::MAX), ("0".to_owned(), u64::MAX));
    let bad = certificate(b"", b"tomorrow", &[]);
    let values = leaf_values(&bad);
    assert_eq!(text(&values, Variable::DaysRemaining), None);
    assert_eq!(text(&values, Variable::NotAfter), Some("Bad time value"));
}

#[test]
fn a_long_serial_is_cut_and_says_so() {
    let serial = text(&leaf_values(&golden("longserial.crt")), Variable::Serial)
        .unwrap()
        .to_owned();
    assert_eq!(serial.len(), 43);
    assert!(serial.ends_with("..."));
    assert!(serial.bytes().take(40).all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn what_is_no_certificate_still_has_its_digests() {
    let values = leaf_values(b"not a certificate");
    let here: Vec<Variable> = present(&values);
    assert_eq!(
        here,
        [
            Variable::Presented,
            Variable::Verified,
            Variable::Revoked,
            Variable::FingerprintSha1,
            Variable::FingerprintSha256,
            Variable::Rfc9440,
            Variable::Rfc9440TooLarge,
            Variable::Pem,
            Variable::Der,
            Variable::VerifyCode,
            Variable::ErrorGcp,
            Variable::FingerprintSha1Upper,
            Variable::FingerprintSha256Base64,
            Variable::PemUrl,
            Variable::PemUrlChain,
            Variable::PemSpaces,
            Variable::DerChain,
        ]
    );
    let sha1 = "34491fe877745149646ce28c6b98961e9124390b";
    assert_eq!(text(&values, Variable::FingerprintSha1), Some(sha1));
}

/// x509-parser reads the same certificate by another way: the fields found must be the same bytes.
#[test]
fn x509_parser_finds_the_same_fields() {
    use x509_parser::prelude::*;
    let mut compared = 0;
    for entry in std::fs::read_dir(GOLDEN).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".crt") && name != "leaf.pem" {
            continue;
        }
        let der = golden(&name);
        let (_, theirs) = X509Certificate::from_der(&der).unwrap();
        let values = leaf_values(&der);
        let spki = lower(&Sha256::digest(theirs.public_key().raw));
        assert_eq!(values.get(Variable::SpkiSha256), Some(&*spki), "{name}");
        let ours = Leaf::new(&der);
        let unix = Time::parse(&ours.certificate().unwrap().not_after)
            .unwrap()
            .unix();
        assert_eq!(unix, theirs.validity().not_after.timestamp(), "{name}");
        let key_id = theirs
            .iter_extensions()
            .find_map(|ext| match ext.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(upper(id.0)),
                _ => None,
            });
        assert_eq!(values.get(Variable::Ski), key_id.as_deref(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 20);
}
