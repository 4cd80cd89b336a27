//! Equality with OpenSSL: `tests/golden/expected.tsv` (real certificates) and `vectors.tsv` (odd ones).

use super::*;

#[test]
fn golden_certificates_print_as_openssl_prints_them() {
    let mut compared = 0;
    for line in include_str!("../../../../tests/golden/expected.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[certificate, field, expected] = fields.as_slice() else {
            panic!("{line}");
        };
        let variables: &[Variable] = match field {
            "rfc2253" => &[Variable::SubjectDn, Variable::SubjectDnRfc2253],
            "legacy" => &[Variable::SubjectDnLegacy],
            "issuer_rfc2253" => &[Variable::IssuerDn, Variable::IssuerDnRfc2253],
            "serial_hex" => &[Variable::Serial],
            "sha1" => &[Variable::FingerprintSha1],
            "sha256" => &[Variable::FingerprintSha256],
            "not_before" => &[Variable::NotBefore],
            "not_after" => &[Variable::NotAfter],
            _ => panic!("{line}"),
        };
        let values = leaf_values(&golden(certificate));
        for variable in variables {
            assert_eq!(
                text(&values, *variable),
                Some(expected),
                "{certificate} {variable}"
            );
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared}");
}

#[test]
fn odd_certificates_print_as_openssl_prints_them() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for line in include_str!("../../../../tests/golden/vectors.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [der, printed @ ..] = fields.as_slice() else {
            panic!("{line}");
        };
        if der.starts_with('#') || printed == ["-"] {
            continue;
        }
        let values = leaf_values(&unhex(der));
        assert_eq!(printed.len(), PRINTED.len(), "{line}");
        for (variable, expected) in PRINTED.iter().zip(printed) {
            let ours = text(&values, *variable).unwrap_or_default();
            if ours != *expected {
                wrong.push(format!(
                    "{variable}\n  want {expected}\n  have {ours}\n  {der}"
                ));
            }
        }
        compared += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compared > 450, "{compared}");
}

/// OpenSSL refuses these (88 of the vectors), so nobody says how they print; something legal must come.
#[test]
fn certificates_that_openssl_refuses_still_print_as_legal_values() {
    let mut seen = 0;
    for line in include_str!("../../../../tests/golden/vectors.tsv").lines() {
        if let Some((der, "-")) = line.split_once('\t') {
            let values = leaf_values(&unhex(der));
            assert!(values.get(Variable::FingerprintSha1).is_some());
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The columns of `vectors.tsv` after the certificate.
const PRINTED: [Variable; 7] = [
    Variable::SubjectDn,
    Variable::IssuerDn,
    Variable::SubjectDnLegacy,
    Variable::IssuerDnLegacy,
    Variable::Serial,
    Variable::NotBefore,
    Variable::NotAfter,
];
