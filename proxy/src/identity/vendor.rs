//! Values in the encodings of single products: Google, AWS, Traefik, HAProxy, httpd, Linkerd, and by
//! `xfcc.rs` Envoy.
//!
//! Where a product writes a certificate's text unescaped into its own syntax (Traefik's quotes), the bytes that could forge a field are percent-encoded; what ordinary certificates
//! hold is byte for byte what the product sends.

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::alternative::{self, Kind};
use super::der::Element;
use super::name::Name;
use super::time::{self, Time};
use super::{Facts, Leaf, Path, Variable, encode, xfcc};
use crate::tls::{Reason, Verdict};

/// Values that depend on the verdict alone.
pub(super) fn verdict(facts: &Facts<'_>, variable: Variable) -> Option<Bytes> {
    let reason = match facts.verdict {
        Verdict::Failed(reason) => Some(*reason),
        Verdict::None | Verdict::Success(_) => None,
    };
    match (variable, facts.verdict) {
        (Variable::VerifyCode, Verdict::Success(_)) => Some(Bytes::from_static(b"0")),
        (Variable::VerifyCode, _) => Some(reason?.code().to_string().into()),
        (Variable::ErrorGcp, Verdict::None) => {
            Some(Bytes::from_static(b"client_cert_not_provided"))
        }
        (Variable::ErrorGcp, _) => Some(Bytes::from_static(match reason? {
            Reason::InvalidPurpose => b"client_cert_chain_invalid_eku",
            _ => b"client_cert_validation_failed",
        })),
        _ => None,
    }
}

/// Values of the presented certificate.
pub(super) fn leaf(leaf: &Leaf<'_>, variable: Variable) -> Option<Vec<u8>> {
    let certificate = || leaf.certificate();
    Some(match variable {
        Variable::SerialDecimal => encode::decimal(certificate()?.serial)?,
        Variable::SerialColon => encode::colon_hex(certificate()?.serial)?,
        Variable::FingerprintSha1Upper => super::upper(&Sha1::digest(leaf.der)),
        Variable::FingerprintSha256Base64 => encode::base64_unpadded(&Sha256::digest(leaf.der)),
        Variable::NotBeforeAsn1 => time::short(&certificate()?.not_before)?.to_vec(),
        Variable::NotAfterAsn1 => time::short(&certificate()?.not_after)?.to_vec(),
        Variable::NotBeforeRfc3339 => with_offset(&certificate()?.not_before)?,
        Variable::NotAfterRfc3339 => with_offset(&certificate()?.not_after)?,
        Variable::Validity => {
            let start = Time::parse(&certificate()?.not_before)?.iso();
            let end = Time::parse(&certificate()?.not_after)?.iso();
            format!("NotBefore={start}Z;NotAfter={end}Z").into()
        }
        Variable::SubjectDnDer => encode::base64(certificate()?.subject_raw),
        Variable::IssuerDnDer => encode::base64(certificate()?.issuer_raw),
        Variable::SanDnsBase64 => base64_list(leaf, Kind::Dns)?,
        Variable::SanUriBase64 => base64_list(leaf, Kind::Uri)?,
        Variable::Identity => identity(leaf)?,
        Variable::PemUrl => {
            let mut out = Vec::new();
            encode::url_pem(&mut out, leaf.der);
            out
        }
        Variable::PemSpaces => encode::pem(leaf.der, b' ').trim_ascii_end().to_vec(),
        Variable::Xfcc => xfcc::text(leaf, &[])?,
        Variable::XfccJson => xfcc::json(leaf, &[])?,
        Variable::TraefikInfo => traefik_info(leaf)?,
        _ => return None,
    })
}

/// The certificate with the intermediates of its validated path, if it has one. What a client sent
/// beside them is its own business.
pub(super) fn chain(leaf: &[u8], path: Option<&Path<'_>>, variable: Variable) -> Option<Bytes> {
    let intermediates = path.into_iter().flat_map(|path| &path.path.intermediates);
    let certificates = std::iter::once(leaf).chain(intermediates.map(|der| der.as_ref()));
    let mut out = Vec::new();
    match variable {
        Variable::PemUrlChain => certificates.for_each(|der| encode::url_pem(&mut out, der)),
        Variable::XfccCert => {
            out = xfcc::text(&Leaf::new(leaf), &certificates.collect::<Vec<_>>())?
        }
        Variable::XfccCertJson => {
            out = xfcc::json(&Leaf::new(leaf), &certificates.collect::<Vec<_>>())?;
        }
        Variable::DerChain => {
            for (index, der) in certificates.enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend(encode::base64(der));
            }
        }
        _ => return None,
    }
    Some(out.into())
}

fn with_offset(time: &Element<'_>) -> Option<Vec<u8>> {
    Some(format!("{}+00:00", Time::parse(time)?.iso()).into())
}

/// Google's lists: each entry as base64, the SPIFFE ID has a field of its own.
fn base64_list(leaf: &Leaf<'_>, kind: Kind) -> Option<Vec<u8>> {
    let names = leaf.certificate()?.alternative_names()?;
    let spiffe = alternative::spiffe(&names);
    let entries = alternative::of(&names, kind)?.into_iter();
    let entries = entries.filter(|entry| Some(*entry) != spiffe.as_deref());
    Some(entries.map(encode::base64).collect::<Vec<_>>().join(&b','))
}

/// Linkerd knows a client by its SPIFFE ID or by its one DNS name.
fn identity(leaf: &Leaf<'_>) -> Option<Vec<u8>> {
    let names = leaf.certificate()?.alternative_names()?;
    alternative::spiffe(&names).or_else(|| {
        let [only] = alternative::of(&names, Kind::Dns)?[..] else {
            return None;
        };
        let is_dns = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_*".contains(byte);
        only.iter().all(is_dns).then(|| only.to_vec())
    })
}

/// Traefik's fields in its order, each name's attributes in its order, escaped as a URL's query.
/// Traefik writes text raw between its quotes; here what would end them or start another field is
/// percent-encoded first.
fn traefik_info(leaf: &Leaf<'_>) -> Option<Vec<u8>> {
    let certificate = leaf.certificate()?;
    let mut fields = Vec::new();
    let mut field = |name: &str, value: &[u8]| {
        if !value.is_empty() {
            fields.push([name.as_bytes(), b"=\"", value, b"\""].concat());
        }
    };
    field("Subject", &traefik_name(leaf.subject()?, true)?);
    field("Issuer", &traefik_name(leaf.issuer()?, false)?);
    field(
        "SerialNumber",
        &encode::decimal(certificate.serial).unwrap_or_default(),
    );
    let unix = |time| Some(Time::parse(time)?.unix().to_string());
    field("NB", unix(&certificate.not_before)?.as_bytes());
    field("NA", unix(&certificate.not_after)?.as_bytes());
    let names = certificate.alternative_names().unwrap_or_default();
    let mut alternatives = Vec::new();
    for kind in [Kind::Dns, Kind::Email, Kind::Ip, Kind::Uri] {
        for entry in alternative::of(&names, kind)? {
            alternatives.push(match kind {
                Kind::Ip => alternative::address(entry)?.into_bytes(),
                _ => guarded(entry),
            });
        }
    }
    field("SAN", &alternatives.join(&b','));
    let mut out = Vec::new();
    for byte in fields.join(&b';') {
        match byte {
            b' ' => out.push(b'+'),
            _ => encode::percent(&mut out, &[byte], encode::is_component_byte),
        }
    }
    Some(out)
}

fn traefik_name(name: &Name<'_>, with_unit: bool) -> Option<Vec<u8>> {
    let mut parts = Vec::new();
    for (label, oid, all) in TRAEFIK_ATTRIBUTES {
        if *label == "OU" && !with_unit {
            continue;
        }
        let texts = name.texts(oid)?;
        // Go keeps the last of an attribute that it takes for single.
        let skipped = if *all {
            0
        } else {
            texts.len().saturating_sub(1)
        };
        for text in texts.iter().skip(skipped).filter(|text| !text.is_empty()) {
            parts.push([label.as_bytes(), b"=", &guarded(text.as_bytes())].concat());
        }
    }
    Some(parts.join(&b','))
}

/// Text that cannot end Traefik's quotes or start another field; other characters stay as they are.
fn guarded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    encode::percent(&mut out, text, |byte| {
        !byte.is_ascii_control() && !b"\"%,;=".contains(&byte)
    });
    out
}

/// Traefik's labels in its order, attribute types (DER), and whether all values are sent.
const TRAEFIK_ATTRIBUTES: &[(&str, &[u8], bool)] = &[
    (
        "DC",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        true,
    ),
    ("C", &[0x55, 4, 6], true),
    ("ST", &[0x55, 4, 8], true),
    ("L", &[0x55, 4, 7], true),
    ("O", &[0x55, 4, 10], true),
    ("OU", &[0x55, 4, 11], true),
    ("SN", &[0x55, 4, 5], false),
    ("CN", &[0x55, 4, 3], false),
];
