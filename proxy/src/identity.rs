//! From a presented certificate and its verdict to the values that headers carry.
//!
//! Takes the leaf's DER (hostile), the verdict and the set of wanted variables; returns [`Values`], each
//! of them visible ASCII and inner or outer spaces, so a legal header value. What OpenSSL prints is
//! printed byte for byte as it does (nginx sends that). Absent means absent: no value is ever empty. A
//! value over [`MAX_VALUE`] bytes, or one that cannot be a header value, is [`TOO_LARGE`], a marker that
//! no certificate can forge.

use std::cell::OnceCell;

use bytes::Bytes;
use http::HeaderValue;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use self::alternative::Kind;
use self::certificate::Certificate;
use self::name::Name;
use self::time::Time;
use crate::tls::{Reason, ReasonStyle, ValidPath, Verdict};

mod alternative;
mod attributes;
mod certificate;
mod der;
pub(crate) mod encode;
mod name;
mod objects;
mod time;
mod usage;
mod variable;
mod vendor;
mod xfcc;

#[cfg(test)]
mod tests;

pub use self::attributes::Attributes;
pub use self::variable::{Variable, VariableSet};
pub use self::xfcc::XfccBy;

/// What is said of a certificate that failed (`identity_on_failure`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFailure {
    /// Only that one was presented, and the verdict: an origin that reads nothing but the subject
    /// cannot be fooled by a refused certificate.
    #[default]
    Omit,
    /// All that the leaf says; nothing that needs a validated path.
    Send,
}

/// What is known about one caller.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The presented end-entity certificate, DER.
    pub leaf: Option<&'a [u8]>,
    /// The verdict on it.
    pub verdict: &'a Verdict,
    /// How reasons are spelled.
    pub style: ReasonStyle,
    /// What is said of a certificate that failed.
    pub on_failure: OnFailure,
    /// Unix seconds; only certDaysRemaining depends on it.
    pub now: u64,
}

/// The values of one caller. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Values {
    slots: [Option<Bytes>; Variable::COUNT],
    /// Unix seconds at which the values must be computed again (first second they may be wrong);
    /// `u64::MAX` unless certDaysRemaining was wanted. The verdict has its own expiry.
    pub holds_until: u64,
}

impl Values {
    /// The value, never empty; None if it is absent.
    pub fn get(&self, variable: Variable) -> Option<&[u8]> {
        self.slots.get(variable.index())?.as_deref()
    }

    fn empty() -> Self {
        Self {
            slots: [const { None }; Variable::COUNT],
            holds_until: u64::MAX,
        }
    }

    fn set(&mut self, variable: Variable, value: Option<Bytes>) {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return;
        };
        let fits = value.len() <= MAX_VALUE && HeaderValue::from_bytes(&value).is_ok();
        if let Some(slot) = self.slots.get_mut(variable.index()) {
            *slot = Some(if fits {
                value
            } else {
                Bytes::from_static(TOO_LARGE)
            });
        }
    }
}

/// First and last second of a certificate's validity, Unix; None if it can't be read.
pub fn validity(der: &[u8]) -> Option<(i64, i64)> {
    let certificate = Certificate::parse(der)?;
    let [from, to] = [&certificate.not_before, &certificate.not_after].map(Time::parse);
    Some((from?.unix(), to?.unix()))
}

/// The kind of a certificate's key with its size or curve, as selectors name it.
pub fn key_type(der: &[u8]) -> Option<String> {
    usage::key_type(Certificate::parse(der)?.spki)?.pop()
}

/// The algorithm of a certificate's signature, by its usual name, else as an OID.
pub fn signature_algorithm(der: &[u8]) -> Option<String> {
    usage::signature_algorithm(der)
}

/// Computes the wanted values, and only those.
pub fn values(facts: &Facts<'_>, wanted: VariableSet) -> Values {
    let mut values = Values::empty();
    let leaf = match (facts.verdict, facts.leaf) {
        (Verdict::Success(_), Some(der)) => Some(Leaf::new(der)),
        (Verdict::Failed(_), Some(der)) if facts.on_failure == OnFailure::Send => {
            Some(Leaf::new(der))
        }
        _ => None,
    };
    let path = match facts.verdict {
        Verdict::Success(path) => Some(Path::new(path)),
        Verdict::None | Verdict::Failed(_) => None,
    };
    for variable in wanted.iter() {
        let value = verdict_value(facts, variable)
            .or_else(|| leaf.as_ref().and_then(|leaf| leaf.value(variable)))
            .or_else(|| path.as_ref().and_then(|path| path.value(variable)))
            .or_else(|| vendor::chain(leaf.as_ref()?.der, path.as_ref(), variable));
        values.set(variable, value);
    }
    if let Some(leaf) = leaf.filter(|_| wanted.contains(Variable::DaysRemaining))
        && let Some((days, until)) = leaf.days_remaining(facts.now)
    {
        values.set(Variable::DaysRemaining, Some(days.to_string().into()));
        values.holds_until = until;
    }
    values
}

/// The values that exist without a certificate too.
fn verdict_value(facts: &Facts<'_>, variable: Variable) -> Option<Bytes> {
    let reason = match facts.verdict {
        Verdict::Failed(reason) => reason.text(facts.style),
        Verdict::None | Verdict::Success(_) => "",
    };
    Some(match (variable, facts.verdict) {
        (Variable::Presented, verdict) => flag(!matches!(verdict, Verdict::None)),
        (Variable::Revoked, verdict) => flag(matches!(verdict, Verdict::Failed(Reason::Revoked))),
        (Variable::Verified, Verdict::None) => Bytes::from_static(b"NONE"),
        (Variable::Verified, Verdict::Success(_)) => Bytes::from_static(SUCCESS),
        (Variable::Verified, Verdict::Failed(_)) if reason.is_empty() => {
            Bytes::from_static(b"FAILED")
        }
        (Variable::Verified, Verdict::Failed(_)) => format!("FAILED:{reason}").into(),
        (Variable::VerifyCode | Variable::ErrorGcp, _) => vendor::verdict(facts, variable)?,
        _ => return None,
    })
}

/// The presented certificate, read as far as values ask for.
struct Leaf<'a> {
    der: &'a [u8],
    certificate: OnceCell<Option<Certificate<'a>>>,
    subject: OnceCell<Option<Name<'a>>>,
    issuer: OnceCell<Option<Name<'a>>>,
}

impl<'a> Leaf<'a> {
    fn new(der: &'a [u8]) -> Self {
        Self {
            der,
            certificate: OnceCell::new(),
            subject: OnceCell::new(),
            issuer: OnceCell::new(),
        }
    }

    fn certificate(&self) -> Option<&Certificate<'a>> {
        self.certificate
            .get_or_init(|| Certificate::parse(self.der))
            .as_ref()
    }

    fn subject(&self) -> Option<&Name<'a>> {
        let certificate = self.certificate()?;
        let name = || Name::parse(certificate.subject);
        self.subject.get_or_init(name).as_ref()
    }

    fn issuer(&self) -> Option<&Name<'a>> {
        let certificate = self.certificate()?;
        let name = || Name::parse(certificate.issuer);
        self.issuer.get_or_init(name).as_ref()
    }

    fn alternative(&self, kind: Kind) -> Option<Vec<u8>> {
        alternative::list(&self.certificate()?.alternative_names()?, kind)
    }

    fn value(&self, variable: Variable) -> Option<Bytes> {
        let certificate = || self.certificate();
        let value = match variable {
            Variable::IssuerDn | Variable::IssuerDnRfc2253 => self.issuer()?.rfc2253(),
            Variable::SubjectDn | Variable::SubjectDnRfc2253 => self.subject()?.rfc2253(),
            Variable::IssuerDnLegacy => self.issuer()?.legacy(),
            Variable::SubjectDnLegacy => self.subject()?.legacy(),
            Variable::SubjectCn => alone(self.subject()?.common_name()?.as_bytes()),
            Variable::Serial => encode::serial(certificate()?.serial)?,
            Variable::NotBefore => time::print(&certificate()?.not_before),
            Variable::NotAfter => time::print(&certificate()?.not_after),
            Variable::Ski => upper(certificate()?.subject_key_id()?),
            Variable::SanDns => self.alternative(Kind::Dns)?,
            Variable::SanUri => self.alternative(Kind::Uri)?,
            Variable::SanEmail => self.alternative(Kind::Email)?,
            Variable::SanIp => self.alternative(Kind::Ip)?,
            Variable::Spiffe => alternative::spiffe(&certificate()?.alternative_names()?)?,
            Variable::SpkiSha256 => lower(&Sha256::digest(certificate()?.spki)),
            Variable::FingerprintSha1 => lower(&Sha1::digest(self.der)),
            Variable::FingerprintSha256 => lower(&Sha256::digest(self.der)),
            Variable::Rfc9440 => leaf_sequence(self.der)?,
            Variable::Rfc9440TooLarge => return Some(flag(leaf_sequence_too_large(self.der))),
            Variable::Pem => encode::escaped_pem(self.der),
            Variable::Der => encode::base64(self.der),
            _ => vendor::leaf(self, variable)?,
        };
        Some(value.into())
    }

    /// Whole days until the end of validity, and the first second at which that number is wrong.
    fn days_remaining(&self, now: u64) -> Option<(i64, u64)> {
        let not_after = Time::parse(&self.certificate()?.not_after)?.unix();
        let left = not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        let days = left.div_euclid(time::DAY).max(0);
        if days == 0 {
            return Some((0, u64::MAX));
        }
        let last = not_after - days * time::DAY;
        Some((days, u64::try_from(last).map_or(now, |last| last + 1)))
    }
}

/// The validated path, from the leaf's issuer to the anchor.
struct Path<'a> {
    path: &'a ValidPath,
    issuer: OnceCell<Option<Certificate<'a>>>,
}

impl<'a> Path<'a> {
    fn new(path: &'a ValidPath) -> Self {
        Self {
            path,
            issuer: OnceCell::new(),
        }
    }

    fn issuer(&self) -> Option<&Certificate<'a>> {
        let der = self.path.intermediates.first().unwrap_or(&self.path.anchor);
        self.issuer.get_or_init(|| Certificate::parse(der)).as_ref()
    }

    /// The subject of the CA certificate that the path ends with.
    fn root(&self) -> Option<Name<'a>> {
        Name::parse(Certificate::parse(&self.path.anchor)?.subject)
    }

    fn chain_too_large(&self) -> bool {
        let lengths = self.path.intermediates.iter();
        let total: usize = lengths.map(|der| encode::byte_sequence_len(der) + 2).sum();
        total.saturating_sub(2) > MAX_CHAIN
    }

    fn chain(&self) -> Option<Vec<u8>> {
        if self.chain_too_large() {
            return None;
        }
        let mut out = Vec::new();
        for (index, der) in self.path.intermediates.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            encode::byte_sequence(&mut out, der);
        }
        Some(out)
    }

    fn value(&self, variable: Variable) -> Option<Bytes> {
        let value = match variable {
            Variable::IssuerSerial => encode::serial(self.issuer()?.serial)?,
            Variable::IssuerSki => upper(self.issuer()?.subject_key_id()?),
            Variable::ChainRfc9440 => self.chain()?,
            Variable::ChainRfc9440TooLarge => return Some(flag(self.chain_too_large())),
            Variable::TrustStore => alone(self.path.store.as_bytes()),
            Variable::RootDn => self.root()?.rfc2253(),
            Variable::RootDnLegacy => self.root()?.legacy(),
            Variable::RootFingerprintSha256 => lower(&Sha256::digest(&*self.path.anchor)),
            _ => return None,
        };
        Some(value.into())
    }
}

/// Free text as a whole header value: itself if it is visible ASCII and inner spaces without `%`,
/// else percent-encoded as in a template. A reader that decodes gets the text back in both cases, and
/// two texts never become the same value.
fn alone(text: &[u8]) -> Vec<u8> {
    let outer_space = text.first() == Some(&b' ') || text.last() == Some(&b' ');
    if !outer_space
        && text
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~') && *byte != b'%')
    {
        return text.to_vec();
    }
    let mut out = Vec::new();
    encode::percent(&mut out, text, encode::is_template_byte);
    out
}

fn leaf_sequence_too_large(der: &[u8]) -> bool {
    encode::byte_sequence_len(der) > MAX_LEAF
}

fn leaf_sequence(der: &[u8]) -> Option<Vec<u8>> {
    if leaf_sequence_too_large(der) {
        return None;
    }
    let mut out = Vec::with_capacity(encode::byte_sequence_len(der));
    encode::byte_sequence(&mut out, der);
    Some(out)
}

fn upper(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * bytes.len());
    encode::hex_upper(&mut out, bytes);
    out
}

fn lower(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * bytes.len());
    encode::hex_lower(&mut out, bytes);
    out
}

fn flag(value: bool) -> Bytes {
    Bytes::from_static(if value { b"1" } else { b"0" })
}

/// Longest value of any variable, in bytes. No origin takes longer header lines.
pub const MAX_VALUE: usize = 16 * 1024;
/// What stands for a value over [`MAX_VALUE`], so that it can be told from one the certificate lacks.
/// No certificate can forge it: names begin with a type or `/`, and where `%` may stand at all it is
/// followed by hexadecimal digits.
pub const TOO_LARGE: &[u8] = b"%TOOLARGE";
/// Longest certRFC9440, in bytes of its encoded form (Cloudflare's limit).
pub const MAX_LEAF: usize = 10 * 1024;
/// Longest certChainRFC9440, in bytes of the whole list (Cloudflare's limit).
pub const MAX_CHAIN: usize = 16 * 1024;
/// The value of certVerified for a certificate that verified.
pub(crate) const SUCCESS: &[u8] = b"SUCCESS";
