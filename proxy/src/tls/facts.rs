//! What the checks beyond webpki need to know about one certificate, read from DER without
//! webpki, which refuses much of what peers send. Nothing here grants anything: facts explain a
//! refusal or cause one.

use bytes::Bytes;
use rustls::pki_types::SignatureVerificationAlgorithm;

use super::der::{
    self, BIT_STRING, INTEGER, OID, Reader, SEQUENCE, explicit, implicit, whole_octets,
};
use super::extensions::{CRL_SIGN, Extensions, KEY_CERT_SIGN, NETSCAPE_ANY_CA};
use super::name::CanonicalName;
use super::reason::Reason;
use super::time::unix_seconds;

/// One certificate's facts. All parts are owned, most as parts of one copy: an anchor's live as long
/// as its store.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) der: Bytes,
    /// 1, 2 or 3; whatever else was written counts as it stands.
    version: u8,
    /// Content octets of its INTEGER.
    pub(super) serial: Bytes,
    pub(super) issuer: CanonicalName,
    pub(super) subject: CanonicalName,
    /// Content octets of the subject's SEQUENCE.
    pub(super) subject_der: Bytes,
    /// Unix seconds; nothing where the field has another shape.
    pub(super) not_before: Option<i64>,
    pub(super) not_after: Option<i64>,
    pub(super) key: PublicKey,
    /// The whole SubjectPublicKeyInfo.
    pub(super) spki: Bytes,
    pub(super) signed: Signed,
    pub(super) extensions: Extensions,
}

/// A certificate's public key as far as strength and signature checks go.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    family: Option<Family>,
    /// Security bits as `EVP_PKEY_get_security_bits` counts them; nothing for keys OpenSSL cannot
    /// load.
    bits: Option<u32>,
    pub(super) explicit_curve: bool,
    /// Content octets of the algorithm identifier, and of the key's BIT STRING.
    pub(super) algorithm: Bytes,
    pub(super) octets: Bytes,
}

/// The signed part of a certificate and its signature.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    tbs: Bytes,
    /// Content octets of the algorithm identifier around the TBS, and of the one inside it.
    outer: Bytes,
    inner: Bytes,
    signature: Bytes,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Rsa,
    RsaPss,
    Ec,
    Ed25519,
    Ed448,
    Dsa,
}

impl Facts {
    /// Reads a certificate. Nothing where it is not one in its frame; odd contents are kept.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let der = Bytes::copy_from_slice(bytes);
        let part = |bytes: &[u8]| der.slice_ref(bytes);
        let mut certificate = Reader::new(der::only(&der, SEQUENCE)?);
        let tbs = certificate.expect(SEQUENCE)?;
        let outer = certificate.expect(SEQUENCE)?.body;
        let signature = whole_octets(certificate.expect(BIT_STRING)?.body)?;

        let mut fields = Reader::new(tbs.body);
        let version = match fields.optional(explicit(0))? {
            Some(version) => match der::only(version.body, INTEGER)? {
                [number @ 0..=0x7e] => number + 1,
                _ => return None,
            },
            None => 1,
        };
        let serial = fields.expect(INTEGER)?.body;
        let inner = fields.expect(SEQUENCE)?.body;
        let issuer = CanonicalName::read(fields.expect(SEQUENCE)?.body)?;
        let mut validity = Reader::new(fields.expect(SEQUENCE)?.body);
        let subject_der = fields.expect(SEQUENCE)?.body;
        let spki = fields.expect(SEQUENCE)?;
        let key = PublicKey::read(spki.body, part)?;
        let (_issuer_id, _subject_id) =
            (fields.optional(implicit(1))?, fields.optional(implicit(2))?);
        let extensions = match fields.optional(explicit(3))? {
            Some(list) => Extensions::read(der::only(list.body, SEQUENCE)?),
            None => Extensions::default(),
        };
        Some(Self {
            version,
            serial: part(serial),
            issuer,
            subject: CanonicalName::read(subject_der)?,
            subject_der: part(subject_der),
            not_before: validity.read().and_then(unix_seconds),
            not_after: validity.read().and_then(unix_seconds),
            key,
            spki: part(spki.whole),
            signed: Signed {
                tbs: part(tbs.whole),
                outer: part(outer),
                inner: part(inner),
                signature: part(signature),
            },
            extensions,
            der: der.clone(),
        })
    }

    /// `ossl_x509_likely_issued`: whether names, key identifiers and algorithms say that `issuer`
    /// issued this certificate. The signature is not looked at.
    pub(super) fn likely_issued_by(&self, issuer: &Self) -> bool {
        !self.extensions.invalid
            && !issuer.extensions.invalid
            && self.issuer == issuer.subject
            && self.names_key_of(issuer)
            && self.signed.algorithm_fits(&issuer.key)
    }

    /// `X509_check_akid`: whether the authority key identifier, if any, means `issuer`.
    pub(super) fn names_key_of(&self, issuer: &Self) -> bool {
        let Some(authority) = &self.extensions.authority_key_id else {
            return true;
        };
        let key_id = match (&authority.key_id, &issuer.extensions.subject_key_id) {
            (Some(meant), Some(theirs)) => meant == theirs,
            _ => true,
        };
        let serial = authority
            .serial
            .as_ref()
            .is_none_or(|s| *s == issuer.serial);
        let name = authority
            .issuer
            .as_ref()
            .is_none_or(|n| *n == issuer.issuer);
        key_id && serial && name
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    pub(super) fn is_version_3(&self) -> bool {
        self.version == 3
    }

    /// OpenSSL's `EXFLAG_SS`; the signature is not looked at.
    pub(super) fn is_self_signed(&self) -> bool {
        self.likely_issued_by(self)
    }

    /// OpenSSL's `check_ca`.
    pub(super) fn ca_standing(&self) -> CaStanding {
        let extensions = &self.extensions;
        if extensions.invalid || !self.may_sign_certificates() {
            return CaStanding::NotCa;
        }
        match (
            extensions.basic_constraints,
            extensions.key_usage,
            extensions.netscape_type,
        ) {
            (Some(basic), _, _) if basic.ca => CaStanding::Ca,
            (Some(_), _, _) => CaStanding::NotCa,
            (None, _, _) if self.version == 1 && self.is_self_signed() => CaStanding::Tolerated,
            (None, Some(_), _) => CaStanding::Tolerated,
            (None, None, Some(bits)) if bits & NETSCAPE_ANY_CA != 0 => CaStanding::Netscape,
            (None, None, _) => CaStanding::NotCa,
        }
    }

    /// RFC 5280 §6.1.4 (n): key usage, where present, includes keyCertSign.
    pub(super) fn may_sign_certificates(&self) -> bool {
        self.extensions
            .key_usage
            .is_none_or(|bits| bits & KEY_CERT_SIGN != 0)
    }

    /// RFC 5280 §6.3.3 (f): key usage, where present, includes cRLSign.
    pub(super) fn may_sign_lists(&self) -> bool {
        self.extensions
            .key_usage
            .is_none_or(|bits| bits & CRL_SIGN != 0)
    }

    /// The time checks of `ossl_x509_check_cert_time`; the last fault counts. `notAfter` itself is
    /// already too late there, though RFC 5280 §4.1.2.5 includes it.
    pub(super) fn time_fault(&self, now: i64) -> Option<Reason> {
        match (self.not_before, self.not_after) {
            (_, None) => Some(Reason::NotAfterFormat),
            (_, Some(end)) if end <= now => Some(Reason::Expired),
            (None, _) => Some(Reason::NotBeforeFormat),
            (Some(start), _) if start > now => Some(Reason::NotYetValid),
            _ => None,
        }
    }
}

/// What OpenSSL's `check_ca` tells apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CaStanding {
    NotCa,
    Ca,
    /// A version 1 root, or key usage without basic constraints: enough for an anchor only.
    Tolerated,
    /// A CA by Netscape's certificate type alone.
    Netscape,
}

impl PublicKey {
    /// Reads the content of a SubjectPublicKeyInfo; `part` keeps a part of it.
    fn read(body: &[u8], part: impl Fn(&[u8]) -> Bytes) -> Option<Self> {
        let mut fields = Reader::new(body);
        let algorithm = fields.expect(SEQUENCE)?.body;
        let octets = whole_octets(fields.expect(BIT_STRING)?.body)?;
        let mut identifier = Reader::new(algorithm);
        let id = identifier.expect(OID)?.body;
        let parameters = identifier.read();
        let explicit_curve = id == EC_KEY && parameters.is_some_and(|p| p.tag == SEQUENCE);
        let (family, bits) = match id {
            RSA_KEY => (Some(Family::Rsa), rsa_bits(octets)),
            RSA_PSS => (Some(Family::RsaPss), rsa_bits(octets)),
            EC_KEY => {
                let curve = parameters.filter(|p| p.tag == OID).map(|p| p.body);
                (Some(Family::Ec), curve.and_then(curve_bits))
            }
            ED25519 => (Some(Family::Ed25519), (octets.len() == 32).then_some(128)),
            ED448 => (Some(Family::Ed448), (octets.len() == 57).then_some(224)),
            DSA_KEY => (Some(Family::Dsa), Some(112)),
            _ => (None, None),
        };
        Some(Self {
            family,
            bits,
            explicit_curve,
            algorithm: part(algorithm),
            octets: part(octets),
        })
    }

    /// Whether OpenSSL can load the key.
    pub(super) fn is_loadable(&self) -> bool {
        self.bits.is_some()
    }

    /// Security level 2, which Debian's OpenSSL asks of every key in a chain.
    pub(super) fn is_strong(&self) -> bool {
        self.bits.is_some_and(|bits| bits >= SECURITY_BITS_MIN)
    }
}

impl Signed {
    /// What was signed, the algorithm as it stands outside and inside of that, and the signature.
    pub(super) fn new(tbs: &[u8], (outer, inner): (&[u8], &[u8]), signature: &[u8]) -> Self {
        let [tbs, outer, inner, signature] =
            [tbs, outer, inner, signature].map(Bytes::copy_from_slice);
        Self {
            tbs,
            outer,
            inner,
            signature,
        }
    }

    /// Whether both algorithm identifiers are the same, as RFC 5280 §4.1.1.2 demands.
    pub(super) fn is_consistent(&self) -> bool {
        self.inner == self.outer
    }

    /// `check_sig_level` at level 2: SHA-1 and below fall short, unknown algorithms too.
    pub(super) fn is_strong(&self) -> bool {
        signature_kind(&self.outer).is_some_and(|(_, bits)| bits >= SECURITY_BITS_MIN)
    }

    /// `check_sig_alg_match`
    fn algorithm_fits(&self, issuer: &PublicKey) -> bool {
        let (Some((made_by, _)), Some(key), true) = (
            signature_kind(&self.inner),
            issuer.family,
            issuer.is_loadable(),
        ) else {
            return false;
        };
        made_by == key || (made_by == Family::RsaPss && key == Family::Rsa)
    }

    /// Whether the signature is the issuer's; nothing where none of `algorithms` can tell.
    pub(super) fn is_by(
        &self,
        issuer: &PublicKey,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Option<bool> {
        // webpki's RSA algorithms end at 2048 bits: below, their no says nothing of the signature.
        if matches!(issuer.family, Some(Family::Rsa | Family::RsaPss)) && !issuer.is_strong() {
            return None;
        }
        algorithms
            .iter()
            .find(|algorithm| {
                algorithm.signature_alg_id().as_ref() == self.outer
                    && algorithm.public_key_alg_id().as_ref() == issuer.algorithm
            })
            .map(|algorithm| {
                algorithm
                    .verify_signature(&issuer.octets, &self.tbs, &self.signature)
                    .is_ok()
            })
    }
}

/// The key family and security bits of a signature algorithm identifier's content.
fn signature_kind(identifier: &[u8]) -> Option<(Family, u32)> {
    let mut reader = Reader::new(identifier);
    let id = reader.expect(OID)?.body;
    if let Some((_, family, bits)) = SIGNATURES.iter().find(|(known, ..)| *known == id) {
        return Some((*family, *bits));
    }
    // RFC 4055 §3.1: [0] names the hash; without it the hash is SHA-1.
    let mut parameters = Reader::new((id == RSA_PSS).then(|| reader.expect(SEQUENCE))??.body);
    let bits = match parameters.optional(explicit(0))? {
        Some(hash) => {
            let mut hash = Reader::new(der::only(hash.body, SEQUENCE)?);
            match hash.expect(OID)?.body {
                SHA256 => 128,
                SHA384 => 192,
                SHA512 => 256,
                _ => SHA1_BITS,
            }
        }
        None => SHA1_BITS,
    };
    Some((Family::RsaPss, bits))
}

/// Security bits by the modulus (NIST SP 800-57), in the steps that matter here.
fn rsa_bits(key: &[u8]) -> Option<u32> {
    let mut fields = Reader::new(der::only(key, SEQUENCE)?);
    let modulus = fields.expect(INTEGER)?.body;
    let (_exponent, true) = (fields.expect(INTEGER)?, fields.is_empty()) else {
        return None;
    };
    let digits = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let bits = (digits.len() * 8).checked_sub(digits.first()?.leading_zeros() as usize)?;
    Some(match bits {
        7680.. => 192,
        3072.. => 128,
        2048.. => 112,
        1024.. => 80,
        _ => 0,
    })
}

fn curve_bits(curve: &[u8]) -> Option<u32> {
    CURVES
        .iter()
        .find(|(known, _)| *known == curve)
        .map(|(_, bits)| *bits)
}

/// Security level 2 of OpenSSL, in bits.
const SECURITY_BITS_MIN: u32 = 112;
const SHA1_BITS: u32 = 63;

/// 1.2.840.113549.1.1.1 and .10
const RSA_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
/// 1.2.840.10045.2.1
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// 1.2.840.10040.4.1
const DSA_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
/// 1.3.101.112 and .113
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ED448: &[u8] = &[0x2b, 0x65, 0x71];
/// 2.16.840.1.101.3.4.2.1 to .3
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

const SIGNATURES: [(&[u8], Family, u32); 17] = [
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4],
        Family::Rsa,
        39,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5],
        Family::Rsa,
        SHA1_BITS,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14],
        Family::Rsa,
        112,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11],
        Family::Rsa,
        128,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12],
        Family::Rsa,
        192,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13],
        Family::Rsa,
        256,
    ),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], Family::Ec, SHA1_BITS),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1], Family::Ec, 112),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], Family::Ec, 128),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], Family::Ec, 192),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], Family::Ec, 256),
    (ED25519, Family::Ed25519, 128),
    (ED448, Family::Ed448, 224),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3],
        Family::Dsa,
        SHA1_BITS,
    ),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 1], Family::Dsa, 112),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], Family::Dsa, 128),
    (&[0x2b, 0x0e, 3, 2, 0x1d], Family::Rsa, SHA1_BITS),
];

const CURVES: [(&[u8], u32); 9] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1], 80),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 128),
    (&[0x2b, 0x81, 4, 0, 33], 112),
    (&[0x2b, 0x81, 4, 0, 34], 192),
    (&[0x2b, 0x81, 4, 0, 35], 256),
    (&[0x2b, 0x81, 4, 0, 10], 128),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7], 128),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11], 192),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13], 256),
];
