//! The ordered policies of one application. They only narrow what the mode lets through: the first
//! policy that matches decides, and what none matches is denied.
//!
//! What a policy asks of the certificate is answered once a verdict ([`Rules::standing`]), what it asks
//! of the request on every request ([`Rules::decide`]). A certificate selector is true only while the
//! certificate verifies; a caller without a good one is never let through by what it is not.

use crate::identity::Attributes;

use super::pattern::Pattern;

/// What a policy that matches does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// The request may pass.
    Allow,
    /// It may not.
    Block,
    /// It may pass whoever sends it: for preflights and health checks.
    Bypass,
}

/// Something a caller's certificate has, or has not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// Anybody, with a certificate or without.
    Everyone,
    /// A certificate that verifies.
    ValidCertificate,
    /// One of the attribute's values matches.
    Attribute(Attribute, Pattern),
}

/// Attributes that selectors name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as the fields of `Attributes`")]
pub enum Attribute {
    CommonName,
    Organization,
    OrganizationalUnit,
    IssuerCommonName,
    SanDns,
    SanUri,
    SanEmail,
    SanIp,
    Spiffe,
    Fingerprint,
    Spki,
    Serial,
    IssuerSki,
    TrustStore,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// For people.
    pub name: String,
    /// What it does if it matches.
    pub action: Action,
    /// Paths it is for; empty for all.
    pub paths: Vec<Pattern>,
    /// Methods it is for; empty for all.
    pub methods: Vec<String>,
    /// Any of these must hold.
    pub include: Vec<Selector>,
    /// All of these must hold.
    pub require: Vec<Selector>,
    /// None of these may hold.
    pub exclude: Vec<Selector>,
}

/// The policies of one application, at least one.
#[derive(Clone, Debug)]
pub struct Rules {
    policies: Box<[Policy]>,
    /// Lets everything through, and tells what would not have been.
    pub shadow: bool,
}

/// Which policies a caller meets as far as its certificate goes, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Met(Box<[bool]>);

/// What was decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision<'a> {
    /// By this policy, which allows or bypasses.
    Pass(&'a Policy),
    /// By this policy, which blocks; by none if no policy matched.
    Deny(Option<&'a Policy>),
}

impl PartialEq for Policy {
    /// Policies of one application are told apart by their name.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Policy {}

impl Rules {
    /// Takes policies in their order.
    pub fn new(policies: Vec<Policy>, shadow: bool) -> Self {
        Self {
            policies: policies.into(),
            shadow,
        }
    }

    /// Whether any policy is for some paths only.
    pub fn have_paths(&self) -> bool {
        self.policies.iter().any(|policy| !policy.paths.is_empty())
    }

    /// What the certificate's part says; `None` for a caller without a certificate that verifies.
    pub fn standing(&self, attributes: Option<&Attributes>) -> Met {
        let policies = self.policies.iter();
        Met(policies.map(|policy| policy.met(attributes)).collect())
    }

    /// Decides for one request. `path` is in its canonical form.
    pub fn decide(&self, met: &Met, method: &str, path: &[u8]) -> Decision<'_> {
        let candidates = self.policies.iter().zip(&met.0);
        let first = candidates
            .filter(|(_, met)| **met)
            .map(|(policy, _)| policy)
            .find(|policy| policy.is_for(method, path));
        match first {
            Some(policy) if policy.action != Action::Block => Decision::Pass(policy),
            other => Decision::Deny(other),
        }
    }
}

impl Policy {
    fn met(&self, attributes: Option<&Attributes>) -> bool {
        let holds = |selector: &Selector| selector.holds(attributes);
        // An exclusion of certificates can't be judged without one: it lets nobody through.
        let unjudged = attributes.is_none()
            && self.action != Action::Block
            && self
                .exclude
                .iter()
                .any(|selector| *selector != Selector::Everyone);
        !unjudged
            && self.include.iter().any(holds)
            && self.require.iter().all(holds)
            && !self.exclude.iter().any(holds)
    }

    fn is_for(&self, method: &str, path: &[u8]) -> bool {
        let by_method = self.methods.is_empty() || self.methods.iter().any(|known| known == method);
        by_method && (self.paths.is_empty() || self.paths.iter().any(|known| known.matches(path)))
    }
}

impl Selector {
    fn holds(&self, attributes: Option<&Attributes>) -> bool {
        match (self, attributes) {
            (Self::Everyone, _) => true,
            (_, None) => false,
            (Self::ValidCertificate, Some(_)) => true,
            (Self::Attribute(attribute, pattern), Some(attributes)) => {
                let values = attribute.of(attributes).iter();
                values
                    .into_iter()
                    .any(|value| pattern.matches(value.as_bytes()))
            }
        }
    }

    /// Reads `everyone`, `valid_certificate` or `ATTRIBUTE:PATTERN`.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "everyone" => return Ok(Self::Everyone),
            "valid_certificate" => return Ok(Self::ValidCertificate),
            _ => {}
        }
        let known = |name: &str| ATTRIBUTES.iter().find(|(_, known)| *known == name);
        match text
            .split_once(':')
            .map(|(name, pattern)| (known(name.trim()), pattern.trim()))
        {
            Some((Some((attribute, _)), pattern)) if !pattern.is_empty() => {
                let pattern = attribute.spelled(pattern)?;
                Ok(Self::Attribute(*attribute, Pattern::text(&pattern)))
            }
            _ => {
                let names: Vec<_> = ATTRIBUTES.iter().map(|(_, name)| *name).collect();
                Err(format!(
                    "everyone, valid_certificate, or NAME:PATTERN with one of {}",
                    names.join(", ")
                ))
            }
        }
    }
}

impl Attribute {
    fn of(self, attributes: &Attributes) -> &[String] {
        match self {
            Self::CommonName => &attributes.common_name,
            Self::Organization => &attributes.organization,
            Self::OrganizationalUnit => &attributes.organizational_unit,
            Self::IssuerCommonName => &attributes.issuer_common_name,
            Self::SanDns => &attributes.san_dns,
            Self::SanUri => &attributes.san_uri,
            Self::SanEmail => &attributes.san_email,
            Self::SanIp => &attributes.san_ip,
            Self::Spiffe => &attributes.spiffe,
            Self::Fingerprint => &attributes.fingerprint,
            Self::Spki => &attributes.spki,
            Self::Serial => &attributes.serial,
            Self::IssuerSki => &attributes.issuer_ski,
            Self::TrustStore => &attributes.trust_store,
        }
    }

    /// A pattern in the spelling of the attribute's values.
    fn spelled(self, pattern: &str) -> Result<String, String> {
        let digits = |lengths: &[usize]| {
            let plain: String = pattern.chars().filter(|c| *c != ':').collect();
            let sound =
                lengths.contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_hexdigit());
            sound.then_some(plain).ok_or_else(|| {
                let lengths: Vec<_> = lengths.iter().map(ToString::to_string).collect();
                format!("{} hexadecimal digits", lengths.join(" or "))
            })
        };
        match self {
            Self::Fingerprint => Ok(digits(&[40, 64])?.to_ascii_lowercase()),
            Self::Spki => Ok(digits(&[64])?.to_ascii_lowercase()),
            Self::IssuerSki => Ok(digits(&[40])?.to_ascii_uppercase()),
            Self::Serial => Ok(pattern.to_ascii_uppercase()),
            Self::SanDns => Ok(pattern.to_ascii_lowercase()),
            _ => Ok(pattern.to_owned()),
        }
    }
}

const ATTRIBUTES: &[(Attribute, &str)] = &[
    (Attribute::CommonName, "common_name"),
    (Attribute::Organization, "organization"),
    (Attribute::OrganizationalUnit, "organizational_unit"),
    (Attribute::IssuerCommonName, "issuer_common_name"),
    (Attribute::SanDns, "san_dns"),
    (Attribute::SanUri, "san_uri"),
    (Attribute::SanEmail, "san_email"),
    (Attribute::SanIp, "san_ip"),
    (Attribute::Spiffe, "spiffe"),
    (Attribute::Fingerprint, "fingerprint"),
    (Attribute::Spki, "spki"),
    (Attribute::Serial, "serial"),
    (Attribute::IssuerSki, "issuer_ski"),
    (Attribute::TrustStore, "trust_store"),
];

#[cfg(test)]
mod tests;
