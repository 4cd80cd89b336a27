//! Certificates around parts that the fuzzer chooses, so that it need not learn DER's lengths.

use crate::input::Input;

/// One element in the definite form, its length in the fewest octets.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(length[3]);
    } else {
        let octets: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
        out.push(0x80 | u8::try_from(octets.len()).unwrap());
        out.extend(octets);
    }
    out.extend_from_slice(content);
    out
}

/// A certificate (RFC 5280 §4.1) whose key and signature are P-256's in shape.
pub(crate) fn certificate(input: &mut Input<'_>) -> Vec<u8> {
    let algorithm = tlv(0x30, &tlv(6, ECDSA_SHA256));
    let key_algorithm = [tlv(6, EC_PUBLIC_KEY), tlv(6, P256)].concat();
    let point = [&[0, 4][..], &[7; 64]].concat();
    let (not_before, not_after) = (time(input), time(input));
    let serial = tlv(2, input.piece());
    let (issuer, subject) = (name(input), name(input));
    let extensions = extensions(input);
    let tbs = [
        tlv(0xa0, &tlv(2, &[2])),
        serial,
        algorithm.clone(),
        issuer,
        tlv(0x30, &[not_before, not_after].concat()),
        subject,
        tlv(0x30, &[tlv(0x30, &key_algorithm), tlv(3, &point)].concat()),
        extensions,
    ]
    .concat();
    let signature = tlv(3, &[0, 0x30, 6, 2, 1, 1, 2, 1, 1]);
    tlv(0x30, &[tlv(0x30, &tbs), algorithm, signature].concat())
}

/// UTCTime, GeneralizedTime or something else.
fn time(input: &mut Input<'_>) -> Vec<u8> {
    let tag = input.byte();
    tlv(tag, input.piece())
}

/// Attributes whose type, string type and text are the fuzzer's; some share an RDN.
fn name(input: &mut Input<'_>) -> Vec<u8> {
    let mut rdns: Vec<Vec<u8>> = Vec::new();
    for _ in 0..input.byte() % 8 {
        let (kind, tag) = (input.byte(), input.byte());
        let oid = match kind % 16 {
            0 => EMAIL_ADDRESS.to_vec(),
            1 => DOMAIN_COMPONENT.to_vec(),
            2 => input.piece().to_vec(),
            other => vec![0x55, 4, other],
        };
        let attribute = tlv(0x30, &[tlv(6, &oid), tlv(tag, input.piece())].concat());
        match rdns.last_mut() {
            Some(last) if kind & 0x80 != 0 => last.extend(attribute),
            _ => rdns.push(attribute),
        }
    }
    let sets: Vec<u8> = rdns.iter().flat_map(|rdn| tlv(0x31, rdn)).collect();
    tlv(0x30, &sets)
}

fn extensions(input: &mut Input<'_>) -> Vec<u8> {
    let mut list = Vec::new();
    for _ in 0..input.byte() % 8 {
        let kind = input.byte();
        let oid: Vec<u8> = match kind % 32 {
            0 => input.piece().to_vec(),
            1 => NETSCAPE_TYPE.to_vec(),
            2 => PROXY.to_vec(),
            // id-ce: subject key id 14, usage 15, alternative names 17, constraints 19 and 30,
            // authority key id 35, extended usage 37.
            other => vec![0x55, 0x1d, other + 10],
        };
        let critical = if kind & 0x80 == 0 {
            Vec::new()
        } else {
            tlv(1, &[0xff])
        };
        let content = match kind & 0x40 {
            0 => tlv(0x30, input.piece()),
            _ => input.piece().to_vec(),
        };
        list.extend(tlv(
            0x30,
            &[tlv(6, &oid), critical, tlv(4, &content)].concat(),
        ));
    }
    if list.is_empty() {
        list
    } else {
        tlv(0xa3, &tlv(0x30, &list))
    }
}

const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
const DOMAIN_COMPONENT: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 0x19];
const NETSCAPE_TYPE: &[u8] = &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1];
const PROXY: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
