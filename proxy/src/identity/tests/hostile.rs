//! Hostile bytes: nothing panics, and whatever comes out is a legal header value.

use proptest::prelude::*;

use super::content::{attribute, certificate, tlv};
use super::openssl::unhex;
use super::*;

fn all_values_are_legal(der: &[u8]) {
    let verdict = success(&[der.to_vec(), der.to_vec()], der.to_vec());
    let facts = facts(der, &verdict);
    for values in [values(&facts, VariableSet::all()), leaf_values(der)] {
        for variable in Variable::all() {
            if let Some(value) = values.get(variable) {
                assert!(!value.is_empty(), "{variable}");
                assert!(value.len() <= MAX_VALUE, "{variable}");
                assert!(
                    value.iter().all(|byte| matches!(byte, b' '..=b'~')),
                    "{variable}"
                );
                HeaderValue::from_bytes(value).unwrap();
            }
        }
    }
}

/// Every vector certificate, to be bent.
fn seeds() -> Vec<Vec<u8>> {
    include_str!("../../../../tests/golden/vectors.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .map(unhex)
        .chain([golden("leaf.pem"), golden("caA.crt"), golden("dup.crt")])
        .collect()
}

proptest! {
    #[test]
    fn bent_certificates_render_legal_values(
        seed in any::<prop::sample::Index>(),
        bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let seeds = seeds();
        let mut der = seeds[seed.index(seeds.len())].clone();
        for (at, byte) in bends {
            let at = at.index(der.len());
            der[at] = byte;
        }
        if let Some(cut) = cut {
            der.truncate(cut.index(der.len()));
        }
        all_values_are_legal(&der);
    }

    #[test]
    fn any_name_renders_legal_values(
        attributes in prop::collection::vec((any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        not_after in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let subject: Vec<u8> = attributes.iter().flat_map(|(kind, tag, value)| attribute(*kind, *tag, value)).collect();
        all_values_are_legal(&certificate(&subject, &not_after, &[]));
    }

    #[test]
    fn any_bytes_render_legal_values(der in prop::collection::vec(any::<u8>(), 0..200)) {
        all_values_are_legal(&der);
    }
}

/// The most a peer can make Herald do: a certificate of the largest handshake message, all of it the
/// most expensive thing there is. Bounded work, no stack overflow, no value over the cap.
#[test]
fn the_largest_and_deepest_certificates_are_bounded() {
    let deep: Vec<u8> = [0x30, 0x80].repeat(30_000);
    all_values_are_legal(&deep);
    let constructed: Vec<u8> = [0x2c, 0x80].repeat(30_000);
    all_values_are_legal(&certificate(&attribute(3, 0x2c, &constructed), b"", &[]));
    let oid = [&[0x2a][..], &[0x8f; 584], &[0x7f]].concat();
    let pair = [tlv(6, &[&oid]), vec![12, 0]].concat();
    let rdn = tlv(0x31, &[&tlv(0x30, &[&pair])]);
    all_values_are_legal(&certificate(&rdn.repeat(100), b"", &[]));
    all_values_are_legal(&certificate(&attribute(3, 12, &vec![0; 60_000]), b"", &[]));
    all_values_are_legal(&certificate(&[0x31, 0].repeat(30_000), b"", &[]));
}
