//! What records say of a caller, rendered once.

use std::sync::Arc;

use super::fields::{Fields, name};
use super::reason::VerdictKind;
use crate::config::LogFormat;

/// What records say of a caller: rendered when the caller was judged, copied into each record.
#[derive(Debug)]
pub struct Identity {
    /// For counting.
    pub verdict: VerdictKind,
    pub(super) fields: Arc<[u8]>,
}

/// What [`Identity`] is made of. A certificate that failed is described as well: the verdict stands
/// beside it, and whoever looks into a refusal needs to see what was presented.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// The subject, RFC 2253.
    pub subject: Option<&'a [u8]>,
    /// The serial number, hexadecimal.
    pub serial: Option<&'a [u8]>,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: Option<&'a [u8]>,
    /// The name of the trust store that verified it.
    pub trust_store: Option<&'a [u8]>,
    /// The subject of the CA certificate that it leads to, RFC 2253.
    pub root: Option<&'a [u8]>,
}

impl Identity {
    /// For counting alone, where no record is written.
    pub fn counted(verdict: VerdictKind) -> Self {
        Self {
            verdict,
            fields: Arc::default(),
        }
    }

    /// `verified` is the text that origins get, such as `FAILED:certificate has expired`.
    pub fn rendered(
        verdict: VerdictKind,
        format: LogFormat,
        verified: &[u8],
        certificate: Certificate<'_>,
    ) -> Self {
        let mut line = Vec::new();
        let mut fields = Fields::new(&mut line, format);
        fields.bytes(name!("verdict"), verified, SHORT_MAX);
        let parts = [
            (name!("subject"), certificate.subject),
            (name!("serial"), certificate.serial),
            (name!("fingerprint"), certificate.fingerprint),
            (name!("trust_store"), certificate.trust_store),
            (name!("root"), certificate.root),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                fields.bytes(name, value, SUBJECT_MAX);
            }
        }
        Self {
            verdict,
            fields: line.into(),
        }
    }

    pub(super) fn append_to(&self, fields: &mut Fields<'_>) {
        fields.rendered(&self.fields);
    }
}

/// Longest subject and anything else, bytes.
const SUBJECT_MAX: usize = 2 * 1024;
const SHORT_MAX: usize = 128;
