//! The vocabulary of identity values: Cloudflare's `tlsClientAuth` names and Herald's additions.
//! An operator writes these names in header templates; everything else uses the enum.

use std::fmt;

macro_rules! variables {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A value that a header can carry.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u8)]
        pub enum Variable {
            $($(#[$doc])* $variant,)+
        }

        impl Variable {
            const TABLE: &'static [(Self, &'static str)] = &[$((Self::$variant, $name),)+];
        }
    };
}

variables! {
    /// `1` if a certificate was presented, else `0`. Always present.
    Presented = "certPresented",
    /// `SUCCESS`, `FAILED:reason` or `NONE`. Always present.
    Verified = "certVerified",
    /// `1` if the certificate is revoked, else `0`. Always present.
    Revoked = "certRevoked",
    /// The issuer as RFC 2253 prints it.
    IssuerDn = "certIssuerDN",
    /// The subject as RFC 2253 prints it.
    SubjectDn = "certSubjectDN",
    /// The same as [`Variable::IssuerDn`].
    IssuerDnRfc2253 = "certIssuerDNRFC2253",
    /// The same as [`Variable::SubjectDn`].
    SubjectDnRfc2253 = "certSubjectDNRFC2253",
    /// The issuer as `/C=US/O=...` (`X509_NAME_oneline`).
    IssuerDnLegacy = "certIssuerDNLegacy",
    /// The subject as `/C=US/O=...` (`X509_NAME_oneline`).
    SubjectDnLegacy = "certSubjectDNLegacy",
    /// Serial number in upper-case hexadecimal; `...` after 20 bytes.
    Serial = "certSerial",
    /// Serial number of the validated issuer certificate.
    IssuerSerial = "certIssuerSerial",
    /// SHA-1 of the certificate, lower-case hexadecimal.
    FingerprintSha1 = "certFingerprintSHA1",
    /// SHA-256 of the certificate, lower-case hexadecimal.
    FingerprintSha256 = "certFingerprintSHA256",
    /// Start of validity, `Dec 22 19:39:00 2018 GMT`.
    NotBefore = "certNotBefore",
    /// End of validity, `Dec 22 19:39:00 2018 GMT`.
    NotAfter = "certNotAfter",
    /// Subject key identifier, upper-case hexadecimal.
    Ski = "certSKI",
    /// Subject key identifier of the validated issuer certificate.
    IssuerSki = "certIssuerSKI",
    /// The certificate as an RFC 9440 byte sequence, `:base64:`; absent over 10 KiB.
    Rfc9440 = "certRFC9440",
    /// `1` if [`Variable::Rfc9440`] was too large, else `0`.
    Rfc9440TooLarge = "certRFC9440TooLarge",
    /// The validated path without leaf and anchor, as an RFC 9440 list; absent over 16 KiB.
    ChainRfc9440 = "certChainRFC9440",
    /// `1` if [`Variable::ChainRfc9440`] was too large, else `0`.
    ChainRfc9440TooLarge = "certChainRFC9440TooLarge",
    /// The subject's only common name.
    SubjectCn = "certSubjectCN",
    /// DNS names, percent-encoded, joined by `,`.
    SanDns = "certSANDNS",
    /// URIs, percent-encoded, joined by `,`.
    SanUri = "certSANURI",
    /// E-mail addresses, percent-encoded, joined by `,`.
    SanEmail = "certSANEmail",
    /// IP addresses, joined by `,`.
    SanIp = "certSANIP",
    /// The SPIFFE ID, if it is the only URI.
    Spiffe = "certSPIFFE",
    /// SHA-256 of the SubjectPublicKeyInfo, lower-case hexadecimal.
    SpkiSha256 = "certSPKISHA256",
    /// The certificate as PEM, percent-encoded.
    Pem = "certPEM",
    /// The certificate as base64 of its DER.
    Der = "certDER",
    /// Whole days of validity that remain, `0` under one.
    DaysRemaining = "certDaysRemaining",
    /// The configured name of the trust store that verified the certificate.
    TrustStore = "certTrustStore",
    /// OpenSSL's number of the verdict: `0` for `SUCCESS`; absent without a certificate.
    VerifyCode = "certVerifyCode",
    /// Google's name of what is wrong (`client_cert_error`); absent if nothing is.
    ErrorGcp = "certErrorGCP",
    /// Serial number in decimal; absent over 20 bytes.
    SerialDecimal = "certSerialDecimal",
    /// Serial number as its DER bytes in lower-case hexadecimal, joined by `:`; absent over 20 bytes.
    SerialColon = "certSerialColon",
    /// SHA-1 of the certificate, upper-case hexadecimal.
    FingerprintSha1Upper = "certFingerprintSHA1Upper",
    /// SHA-256 of the certificate, base64 without padding.
    FingerprintSha256Base64 = "certFingerprintSHA256Base64",
    /// Start of validity, `180322193900Z`: the words of the certificate, years 2000 to 2099 in two digits.
    NotBeforeAsn1 = "certNotBeforeASN1",
    /// End of validity, `180322193900Z`.
    NotAfterAsn1 = "certNotAfterASN1",
    /// Start of validity, `2018-12-22T19:39:00+00:00`.
    NotBeforeRfc3339 = "certNotBeforeRFC3339",
    /// End of validity, `2018-12-22T19:39:00+00:00`.
    NotAfterRfc3339 = "certNotAfterRFC3339",
    /// `NotBefore=2018-12-22T19:39:00Z;NotAfter=2019-12-22T19:39:00Z`.
    Validity = "certValidity",
    /// The subject's DER as base64.
    SubjectDnDer = "certSubjectDNDER",
    /// The issuer's DER as base64.
    IssuerDnDer = "certIssuerDNDER",
    /// Subject of the trust anchor as RFC 2253 prints it.
    RootDn = "certRootDN",
    /// SHA-256 of the trust anchor, lower-case hexadecimal.
    RootFingerprintSha256 = "certRootFingerprintSHA256",
    /// Subject of the trust anchor as `/C=US/O=...`.
    RootDnLegacy = "certRootDNLegacy",
    /// DNS names, each as base64, joined by `,`.
    SanDnsBase64 = "certSANDNSBase64",
    /// URIs but the SPIFFE ID, each as base64, joined by `,`.
    SanUriBase64 = "certSANURIBase64",
    /// The workload's identity: the SPIFFE ID, else the only DNS name.
    Identity = "certIdentity",
    /// The certificate as PEM, percent-encoded but for `+`, `=` and `/`.
    PemUrl = "certPEMURL",
    /// The certificate and the validated intermediates, encoded as [`Variable::PemUrl`].
    PemUrlChain = "certPEMURLChain",
    /// The certificate as PEM with spaces for line breaks.
    PemSpaces = "certPEMSpaces",
    /// The certificate and the validated intermediates as base64 of their DER, joined by `,`.
    DerChain = "certDERChain",
    /// One element of Envoy's x-forwarded-client-cert: Hash, Subject, URI, DNS.
    Xfcc = "certXFCC",
    /// The same with Cert and Chain: the certificate, and the certificate with its validated intermediates.
    XfccCert = "certXFCCCert",
    /// The same as [`Variable::Xfcc`], as JSON.
    XfccJson = "certXFCCJSON",
    /// The same as [`Variable::XfccCert`], as JSON.
    XfccCertJson = "certXFCCCertJSON",
    /// Traefik's summary: Subject, Issuer, SerialNumber, NB, NA, SAN.
    TraefikInfo = "certTraefikInfo",
}

impl Variable {
    /// How many variables there are.
    pub const COUNT: usize = Self::TABLE.len();

    /// The variable of this name, spelled exactly.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(variable, _)| *variable)
    }

    /// The name an operator writes.
    pub fn name(self) -> &'static str {
        Self::TABLE.get(self.index()).map_or("", |(_, name)| name)
    }

    /// All variables, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TABLE.iter().map(|(variable, _)| *variable)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self as u8)
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of variables, in one word.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct VariableSet(u64);

impl VariableSet {
    /// The set without a variable.
    pub const EMPTY: Self = Self(0);

    /// The set of all variables.
    pub fn all() -> Self {
        Variable::all().collect()
    }

    /// Adds one variable.
    pub fn insert(&mut self, variable: Variable) {
        self.0 |= 1 << variable.index();
    }

    /// Whether `variable` is a member.
    pub fn contains(self, variable: Variable) -> bool {
        self.0 & (1 << variable.index()) != 0
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Members of either set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Variable> {
        Variable::all().filter(move |variable| self.contains(*variable))
    }
}

impl FromIterator<Variable> for VariableSet {
    fn from_iter<I: IntoIterator<Item = Variable>>(variables: I) -> Self {
        let mut set = Self::EMPTY;
        for variable in variables {
            set.insert(variable);
        }
        set
    }
}

impl fmt::Debug for VariableSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(Variable::name))
            .finish()
    }
}

// One bit a variable.
const _: () = assert!(Variable::COUNT <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_and_only_exactly() {
        assert_eq!(Variable::COUNT, 60);
        for variable in Variable::all() {
            assert_eq!(Variable::parse(variable.name()), Some(variable));
            assert_eq!(Variable::parse(&variable.name().to_lowercase()), None);
        }
        assert_eq!(VariableSet::all().iter().count(), Variable::COUNT);
        assert_eq!(Variable::TrustStore.name(), "certTrustStore");
    }
}
