//! Why a certificate was refused, in the words of OpenSSL's `X509_verify_cert_error_string`.
//!
//! Cloudflare and nginx print these texts, and origins compare them byte for byte; OpenSSL 3.0
//! respelled some of them, so a style chooses which generation is spoken.

/// Which generation of OpenSSL's texts is printed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ReasonStyle {
    /// As OpenSSL 1.1.1 and BoringSSL, therefore Cloudflare: `self signed certificate`.
    #[default]
    Openssl1,
    /// As OpenSSL 3: `self-signed certificate`.
    Openssl3,
}

/// Why a certificate was refused. The numbers are OpenSSL's `X509_V_ERR_*` codes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Reason {
    /// 1: refused for something OpenSSL has no word for. Printed as the bare `FAILED`.
    Unspecified = 1,
    /// 2: the anchor that was found is itself not self-signed and its issuer is unknown.
    UnableToGetIssuer = 2,
    /// 3: no CRL for the certificate's issuer.
    UnableToGetCrl = 3,
    /// 6: the issuer's public key is not one that can be read.
    UnableToDecodeIssuerKey = 6,
    /// 7
    SignatureFailure = 7,
    /// 9
    NotYetValid = 9,
    /// 10
    Expired = 10,
    /// 11
    CrlNotYetValid = 11,
    /// 12
    CrlExpired = 12,
    /// 13: notBefore is not a time RFC 5280 §4.1.2.5 knows.
    NotBeforeFormat = 13,
    /// 14: notAfter is not a time RFC 5280 §4.1.2.5 knows.
    NotAfterFormat = 14,
    /// 18: the leaf alone, self-signed and no anchor.
    SelfSigned = 18,
    /// 19: the chain ends in a self-signed certificate that is no anchor.
    SelfSignedInChain = 19,
    /// 20: the issuer of the last certificate of the chain is not in the store.
    UnableToGetIssuerLocally = 20,
    /// 21: a leaf alone, not self-signed, of an unknown issuer.
    UnableToVerifyLeaf = 21,
    /// 22
    ChainTooLong = 22,
    /// 23
    Revoked = 23,
    /// 25
    PathLengthExceeded = 25,
    /// 26: extended key usage or key usage speak against TLS clients.
    InvalidPurpose = 26,
    /// 32: an issuer's key usage lacks keyCertSign.
    KeyUsageNoCertSign = 32,
    /// 34
    UnhandledCriticalExtension = 34,
    /// 37: a CA certificate presented as a client's own.
    InvalidNonCa = 37,
    /// 40: RFC 3820 proxy certificates.
    ProxyCertificate = 40,
    /// 41: an extension whose value cannot be read.
    InvalidExtension = 41,
    /// 47
    PermittedViolation = 47,
    /// 48
    ExcludedViolation = 48,
    /// 49: a name constraint with minimum or maximum.
    SubtreeMinMax = 49,
    /// 51
    UnsupportedConstraintType = 51,
    /// 52
    UnsupportedConstraintSyntax = 52,
    /// 53
    UnsupportedNameSyntax = 53,
    /// 66
    LeafKeyTooWeak = 66,
    /// 67
    CaKeyTooWeak = 67,
    /// 68
    CaDigestTooWeak = 68,
    /// 76: a signature algorithm nobody knows.
    UnsupportedSignatureAlgorithm = 76,
    /// 78: the two signature algorithm fields of a certificate differ.
    SignatureAlgorithmInconsistent = 78,
    /// 79: an issuer that is not a CA.
    InvalidCa = 79,
    /// 72: a proxy certificate whose subject is not its issuer's name and one common name more.
    ProxySubjectName = 72,
    /// 94: an elliptic curve written out instead of named.
    ExplicitCurve = 94,
}

impl Reason {
    /// OpenSSL's number, `X509_V_ERR_*`.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The text after `FAILED:`, as OpenSSL prints it; empty for [`Reason::Unspecified`], whose
    /// verdict is the bare word `FAILED`.
    #[must_use]
    pub fn text(self, style: ReasonStyle) -> &'static str {
        use ReasonStyle::{Openssl1, Openssl3};
        match (self, style) {
            (Self::SelfSigned, Openssl1) => "self signed certificate",
            (Self::SelfSigned, Openssl3) => "self-signed certificate",
            (Self::SelfSignedInChain, Openssl1) => "self signed certificate in certificate chain",
            (Self::SelfSignedInChain, Openssl3) => "self-signed certificate in certificate chain",
            // 26 was respelled from "unsupported" to "unsuitable" in OpenSSL 3.0.
            (Self::InvalidPurpose, Openssl1) => "unsupported certificate purpose",
            (Self::InvalidPurpose, Openssl3) => "unsuitable certificate purpose",
            // 76, 78 and 94 are new in OpenSSL 3.0: its text is the only one there is.
            (reason, _) => reason.common_text(),
        }
    }

    /// The text both generations share.
    fn common_text(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::UnableToGetIssuer => "unable to get issuer certificate",
            Self::UnableToGetCrl => "unable to get certificate CRL",
            Self::UnableToDecodeIssuerKey => "unable to decode issuer public key",
            Self::SignatureFailure => "certificate signature failure",
            Self::NotYetValid => "certificate is not yet valid",
            Self::Expired => "certificate has expired",
            Self::CrlNotYetValid => "CRL is not yet valid",
            Self::CrlExpired => "CRL has expired",
            Self::NotBeforeFormat => "format error in certificate's notBefore field",
            Self::NotAfterFormat => "format error in certificate's notAfter field",
            Self::SelfSigned => "self-signed certificate",
            Self::SelfSignedInChain => "self-signed certificate in certificate chain",
            Self::UnableToGetIssuerLocally => "unable to get local issuer certificate",
            Self::UnableToVerifyLeaf => "unable to verify the first certificate",
            Self::ChainTooLong => "certificate chain too long",
            Self::Revoked => "certificate revoked",
            Self::PathLengthExceeded => "path length constraint exceeded",
            Self::InvalidPurpose => "unsuitable certificate purpose",
            Self::KeyUsageNoCertSign => "key usage does not include certificate signing",
            Self::UnhandledCriticalExtension => "unhandled critical extension",
            Self::InvalidNonCa => "invalid non-CA certificate (has CA markings)",
            Self::ProxyCertificate => {
                "proxy certificates not allowed, please set the appropriate flag"
            }
            Self::InvalidExtension => "invalid or inconsistent certificate extension",
            Self::PermittedViolation => "permitted subtree violation",
            Self::ExcludedViolation => "excluded subtree violation",
            Self::SubtreeMinMax => "name constraints minimum and maximum not supported",
            Self::UnsupportedConstraintType => "unsupported name constraint type",
            Self::UnsupportedConstraintSyntax => "unsupported or invalid name constraint syntax",
            Self::UnsupportedNameSyntax => "unsupported or invalid name syntax",
            Self::LeafKeyTooWeak => "EE certificate key too weak",
            Self::CaKeyTooWeak => "CA certificate key too weak",
            Self::CaDigestTooWeak => "CA signature digest algorithm too weak",
            Self::UnsupportedSignatureAlgorithm => "Cannot find certificate signature algorithm",
            Self::SignatureAlgorithmInconsistent => {
                "cert info signature and signature algorithm mismatch"
            }
            Self::InvalidCa => "invalid CA certificate",
            Self::ProxySubjectName => "proxy subject name violation",
            Self::ExplicitCurve => "Certificate public key has explicit ECC parameters",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, ReasonStyle};

    #[test]
    fn the_default_style_spells_as_cloudflare_does() {
        let style = ReasonStyle::default();
        assert_eq!(Reason::SelfSigned.text(style), "self signed certificate");
        assert_eq!(Reason::Expired.text(style), "certificate has expired");
    }

    #[test]
    fn exactly_three_reasons_are_spelled_differently() {
        let differing: Vec<Reason> = ALL
            .into_iter()
            .filter(|r| r.text(ReasonStyle::Openssl1) != r.text(ReasonStyle::Openssl3))
            .collect();
        let expected = [
            Reason::SelfSigned,
            Reason::SelfSignedInChain,
            Reason::InvalidPurpose,
        ];
        assert_eq!(differing, expected);
    }

    #[test]
    fn texts_are_distinct_and_fit_a_header() {
        for style in [ReasonStyle::Openssl1, ReasonStyle::Openssl3] {
            let mut texts: Vec<_> = ALL.into_iter().map(|r| r.text(style)).collect();
            assert!(
                texts
                    .iter()
                    .all(|t| t.bytes().all(|b| (0x20..0x7f).contains(&b)))
            );
            texts.sort_unstable();
            texts.dedup();
            assert_eq!(texts.len(), ALL.len());
        }
    }

    const ALL: [Reason; 38] = [
        Reason::CrlNotYetValid,
        Reason::Unspecified,
        Reason::UnableToGetIssuer,
        Reason::UnableToGetCrl,
        Reason::UnableToDecodeIssuerKey,
        Reason::SignatureFailure,
        Reason::NotYetValid,
        Reason::Expired,
        Reason::CrlExpired,
        Reason::NotBeforeFormat,
        Reason::NotAfterFormat,
        Reason::SelfSigned,
        Reason::SelfSignedInChain,
        Reason::UnableToGetIssuerLocally,
        Reason::UnableToVerifyLeaf,
        Reason::ChainTooLong,
        Reason::Revoked,
        Reason::PathLengthExceeded,
        Reason::InvalidPurpose,
        Reason::KeyUsageNoCertSign,
        Reason::UnhandledCriticalExtension,
        Reason::InvalidNonCa,
        Reason::ProxyCertificate,
        Reason::InvalidExtension,
        Reason::PermittedViolation,
        Reason::ExcludedViolation,
        Reason::SubtreeMinMax,
        Reason::UnsupportedConstraintType,
        Reason::UnsupportedConstraintSyntax,
        Reason::UnsupportedNameSyntax,
        Reason::LeafKeyTooWeak,
        Reason::CaKeyTooWeak,
        Reason::CaDigestTooWeak,
        Reason::UnsupportedSignatureAlgorithm,
        Reason::SignatureAlgorithmInconsistent,
        Reason::InvalidCa,
        Reason::ProxySubjectName,
        Reason::ExplicitCurve,
    ];
}
