use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::*;
use crate::tls::der::{self, Reader, SEQUENCE};

fn list() -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let issuer = Issuer::new(params, KeyPair::generate().unwrap());
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2040, 1, 1),
        crl_number: SerialNumber::from(7_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().der().to_vec()
}

fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag, 0x82];
    bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    if body.len() < 0x80 {
        bytes = vec![tag, u8::try_from(body.len()).unwrap()];
    } else if body.len() < 0x100 {
        bytes = vec![tag, 0x81, u8::try_from(body.len()).unwrap()];
    }
    [bytes, body.to_vec()].concat()
}

/// `list` with its extensions replaced by one; the signature no longer fits, which reading leaves alone.
fn with_extension(list: &[u8], id: u8, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = Reader::new(der::only(list, SEQUENCE).unwrap());
    let tbs = parts.read().unwrap();
    let rest: Vec<u8> = std::iter::from_fn(|| parts.read())
        .flat_map(|part| part.whole.to_vec())
        .collect();
    let mut fields = Reader::new(tbs.body);
    let kept: Vec<u8> = std::iter::from_fn(|| fields.read())
        .filter(|field| field.tag != der::explicit(0))
        .flat_map(|field| field.whole.to_vec())
        .collect();
    let critical = if is_critical {
        vec![1, 1, 0xff]
    } else {
        Vec::new()
    };
    let extension = [vec![6, 3, 0x55, 0x1d, id], critical, tlv(4, value)].concat();
    let extensions = tlv(0xa0, &tlv(SEQUENCE, &tlv(SEQUENCE, &extension)));
    let tbs = tlv(SEQUENCE, &[kept, extensions].concat());
    tlv(SEQUENCE, &[tbs, rest].concat())
}

#[test]
fn lists_that_say_less_than_they_seem_to_are_refused() {
    let list = list();
    assert!(Crl::read(&list).is_ok());
    for (id, is_critical, value, refused) in [
        (20, false, &[2_u8, 1, 9][..], None),
        (
            27,
            true,
            &[2, 1, 1],
            Some("a delta list; the complete one is needed"),
        ),
        (
            28,
            true,
            &[0x30, 3, 0x84, 1, 0xff],
            Some("an indirect list: it names certificates of other CAs"),
        ),
        (
            28,
            true,
            &[0x30, 3, 0x85, 1, 0xff],
            Some("a list of attribute certificates"),
        ),
        (28, true, &[0x30, 3, 0x81, 1, 0xff], None),
        (
            28,
            true,
            &[0x31, 0],
            Some("a list with a broken issuing distribution point"),
        ),
        (
            99,
            true,
            &[5, 0],
            Some("a list with an unknown critical extension"),
        ),
        (99, false, &[5, 0], None),
    ] {
        let read = Crl::read(&with_extension(&list, id, is_critical, value));
        assert_eq!(read.err(), refused, "{id} {is_critical} {value:x?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_in_place_of_others_end_in_a_list_or_a_refusal(
        at in 0_usize..400,
        bytes in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut list = list();
        for (slot, byte) in list.iter_mut().skip(at).zip(bytes) {
            *slot = byte;
        }
        drop(Crl::read(&list));
        let mut revocation = Revocation::default();
        drop(revocation.add_lists(FilePath::new("list"), &list));
    }
}
