//! What a rule may ask of a certificate. Reads `everyone`, `valid_certificate` and `NAME:PATTERN`; refuses
//! names and spellings that could never match. Parsed attributes are compared, never printed names.

use std::fmt;

use crate::identity::Attributes;
use crate::policy::pattern::Pattern;

/// Something a caller's certificate has, or has not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// Anybody, with a certificate or without.
    Everyone,
    /// A certificate that verifies.
    ValidCertificate,
    /// One of the attribute's values matches.
    Attribute(Attribute, Pattern),
    /// It is valid for no longer than this, in seconds.
    MaxLifetime(u64),
}

/// Attributes that selectors name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as the fields of `Attributes`")]
pub enum Attribute {
    CommonName,
    Country,
    State,
    Locality,
    Organization,
    OrganizationalUnit,
    DomainComponent,
    UserId,
    IssuerCommonName,
    IssuerOrganization,
    IssuerOrganizationalUnit,
    SanDns,
    SanUri,
    SanEmail,
    SanIp,
    Spiffe,
    Fingerprint,
    Spki,
    Serial,
    IssuerSki,
    Eku,
    PolicyOid,
    ExtensionOid,
    KeyType,
    TrustStore,
    Root,
}

impl Selector {
    /// Whether it is true of a certificate that verified, or of a caller without one.
    pub fn holds(&self, attributes: Option<&Attributes>) -> bool {
        match (self, attributes) {
            (Self::Everyone, _) => true,
            (_, None) => false,
            (Self::ValidCertificate, Some(_)) => true,
            (Self::MaxLifetime(most), Some(attributes)) => attributes
                .lifetime
                .is_some_and(|lifetime| lifetime <= *most),
            (Self::Attribute(attribute, pattern), Some(attributes)) => attribute
                .of(attributes)
                .iter()
                .any(|value| pattern.matches(value.as_bytes())),
        }
    }

    /// Reads `everyone`, `valid_certificate`, `max_lifetime:TIME` or `ATTRIBUTE:PATTERN`.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "everyone" => return Ok(Self::Everyone),
            "valid_certificate" => return Ok(Self::ValidCertificate),
            _ => {}
        }
        let (name, pattern) = match text.split_once(':') {
            Some((name, pattern)) if !pattern.trim().is_empty() => (name.trim(), pattern.trim()),
            _ => return Err(allowed()),
        };
        if name == "max_lifetime" {
            return Ok(Self::MaxLifetime(seconds(pattern)?));
        }
        let known = ATTRIBUTES.iter().find(|(_, known)| *known == name);
        let (attribute, _) = known.ok_or_else(allowed)?;
        Ok(Self::Attribute(*attribute, attribute.pattern(pattern)?))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::ValidCertificate => f.write_str("valid_certificate"),
            Self::MaxLifetime(seconds) => write!(f, "max_lifetime:{seconds}s"),
            Self::Attribute(attribute, pattern) => {
                let known = ATTRIBUTES.iter().find(|(known, _)| known == attribute);
                write!(f, "{}:{pattern}", known.map_or("", |(_, name)| name))
            }
        }
    }
}

impl Attribute {
    fn of(self, attributes: &Attributes) -> &[String] {
        match self {
            Self::CommonName => &attributes.common_name,
            Self::Country => &attributes.country,
            Self::State => &attributes.state,
            Self::Locality => &attributes.locality,
            Self::Organization => &attributes.organization,
            Self::OrganizationalUnit => &attributes.organizational_unit,
            Self::DomainComponent => &attributes.domain_component,
            Self::UserId => &attributes.user_id,
            Self::IssuerCommonName => &attributes.issuer_common_name,
            Self::IssuerOrganization => &attributes.issuer_organization,
            Self::IssuerOrganizationalUnit => &attributes.issuer_organizational_unit,
            Self::SanDns => &attributes.san_dns,
            Self::SanUri => &attributes.san_uri,
            Self::SanEmail => &attributes.san_email,
            Self::SanIp => &attributes.san_ip,
            Self::Spiffe => &attributes.spiffe,
            Self::Fingerprint => &attributes.fingerprint,
            Self::Spki => &attributes.spki,
            Self::Serial => &attributes.serial,
            Self::IssuerSki => &attributes.issuer_ski,
            Self::Eku => &attributes.eku,
            Self::PolicyOid => &attributes.policy_oid,
            Self::ExtensionOid => &attributes.extension,
            Self::KeyType => &attributes.key_type,
            Self::TrustStore => &attributes.trust_store,
            Self::Root => &attributes.root,
        }
    }

    /// A pattern in the spelling of the attribute's values.
    fn pattern(self, text: &str) -> Result<Pattern, String> {
        let spelled = match self {
            Self::Fingerprint => digits(text, &[40, 64])?.to_ascii_lowercase(),
            Self::Spki | Self::Root => digits(text, &[64])?.to_ascii_lowercase(),
            Self::IssuerSki => digits(text, &[40])?.to_ascii_uppercase(),
            Self::Serial => text.to_ascii_uppercase(),
            Self::SanDns => text.to_ascii_lowercase(),
            Self::Spiffe => return spiffe(text),
            Self::Eku => purpose(text)?,
            Self::PolicyOid => oid(text)?,
            Self::ExtensionOid => extension(text)?,
            Self::KeyType => key_type(text)?,
            _ => text.to_owned(),
        };
        Ok(Pattern::text(&spelled))
    }
}

/// Hexadecimal digits of one of these counts; colons do not count.
fn digits(text: &str, lengths: &[usize]) -> Result<String, String> {
    let plain: String = text.chars().filter(|c| *c != ':').collect();
    let sound = lengths.contains(&plain.len()) && is_hex(&plain);
    sound.then_some(plain).ok_or_else(|| {
        let lengths: Vec<_> = lengths.iter().map(ToString::to_string).collect();
        format!("{} hexadecimal digits", lengths.join(" or "))
    })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A SPIFFE ID: the trust domain is exact, since `example.org*` would be anybody's domain too; in the
/// path `*` stays within a segment.
fn spiffe(text: &str) -> Result<Pattern, String> {
    let rest = text.strip_prefix("spiffe://").unwrap_or_default();
    let domain = rest.split('/').next().unwrap_or_default();
    let known =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    match !domain.is_empty() && domain.bytes().all(known) {
        true => Ok(Pattern::path(text)),
        false => Err(
            "spiffe://TRUST-DOMAIN/PATH: the domain exact, in lower case; `*` for a segment, `**` for any rest".to_owned(),
        ),
    }
}

/// A purpose by name or as OID.
fn purpose(text: &str) -> Result<String, String> {
    let known = PURPOSES.iter().find(|(name, _)| *name == text);
    match known {
        Some((_, oid)) => Ok((*oid).to_owned()),
        None => oid(text).map_err(|allowed| {
            let names: Vec<_> = PURPOSES.iter().map(|(name, _)| *name).collect();
            format!("{}, or {allowed}", names.join(", "))
        }),
    }
}

fn oid(text: &str) -> Result<String, String> {
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let parts = text.split('.');
    match parts.clone().count() > 1 && parts.into_iter().all(is_number) {
        true => Ok(text.to_owned()),
        false => Err("an object identifier such as 1.3.6.1.5.5.7.3.2".to_owned()),
    }
}

/// `OID` for any value, `OID=HEX` for the DER of one.
fn extension(text: &str) -> Result<String, String> {
    let (kind, value) = match text.split_once('=') {
        None => (text, "*"),
        Some((kind, value)) if !value.is_empty() && value.len() % 2 == 0 && is_hex(value) => {
            (kind, value)
        }
        Some(_) => return Err("OID, or OID=HEX with the DER of its value".to_owned()),
    };
    Ok(format!("{}={}", oid(kind)?, value.to_ascii_lowercase()))
}

fn key_type(text: &str) -> Result<String, String> {
    let bits = |bits: &str| !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let known = KEY_TYPES.contains(&text) || text.strip_prefix("rsa-").is_some_and(bits);
    match known {
        true => Ok(text.to_owned()),
        false => Err(format!("rsa-BITS, {}", KEY_TYPES.join(", "))),
    }
}

/// A span such as `90d`, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let allowed = || "a time such as 90d, 12h, 30m or 600s".to_owned();
    let unit = text.chars().next_back().ok_or_else(allowed)?;
    let factor = match unit {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(allowed()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = number.parse().ok().filter(|number| plain && *number > 0);
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(allowed)
}

fn allowed() -> String {
    let names: Vec<_> = ATTRIBUTES.iter().map(|(_, name)| *name).collect();
    format!(
        "everyone, valid_certificate, max_lifetime:TIME, or NAME:PATTERN with one of {}",
        names.join(", ")
    )
}

const ATTRIBUTES: &[(Attribute, &str)] = &[
    (Attribute::CommonName, "common_name"),
    (Attribute::Country, "country"),
    (Attribute::State, "state"),
    (Attribute::Locality, "locality"),
    (Attribute::Organization, "organization"),
    (Attribute::OrganizationalUnit, "organizational_unit"),
    (Attribute::DomainComponent, "domain_component"),
    (Attribute::UserId, "user_id"),
    (Attribute::IssuerCommonName, "issuer_common_name"),
    (Attribute::IssuerOrganization, "issuer_organization"),
    (
        Attribute::IssuerOrganizationalUnit,
        "issuer_organizational_unit",
    ),
    (Attribute::SanDns, "san_dns"),
    (Attribute::SanUri, "san_uri"),
    (Attribute::SanEmail, "san_email"),
    (Attribute::SanIp, "san_ip"),
    (Attribute::Spiffe, "spiffe"),
    (Attribute::Fingerprint, "fingerprint"),
    (Attribute::Spki, "spki"),
    (Attribute::Serial, "serial"),
    (Attribute::IssuerSki, "issuer_ski"),
    (Attribute::Eku, "eku"),
    (Attribute::PolicyOid, "policy_oid"),
    (Attribute::ExtensionOid, "extension_oid"),
    (Attribute::KeyType, "key_type"),
    (Attribute::TrustStore, "trust_store"),
    (Attribute::Root, "root"),
];

/// Purposes (RFC 5280 §4.2.1.12) that have a name here.
const PURPOSES: &[(&str, &str)] = &[
    ("client_auth", "1.3.6.1.5.5.7.3.2"),
    ("server_auth", "1.3.6.1.5.5.7.3.1"),
    ("email_protection", "1.3.6.1.5.5.7.3.4"),
    ("code_signing", "1.3.6.1.5.5.7.3.3"),
    ("time_stamping", "1.3.6.1.5.5.7.3.8"),
    ("smartcard_logon", "1.3.6.1.4.1.311.20.2.2"),
    ("any", "2.5.29.37.0"),
];

const KEY_TYPES: &[&str] = &["rsa", "ec", "ec-p256", "ec-p384", "ec-p521", "ed25519"];
