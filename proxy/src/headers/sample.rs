//! What an origin gets of a built-in sample caller, preset by preset.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use super::mapping::Mapping;
use super::preset::Preset;
use crate::identity::{self, Facts, OnFailure};
use crate::tls::{ReasonStyle, ValidPath, Verdict};

/// The lines of `preset` for the sample caller.
///
/// # Errors
/// Never with the certificates that are built in.
pub fn sample(preset: Preset) -> Result<Vec<u8>, pem::Error> {
    let leaf = CertificateDer::from_pem_slice(CALLER)?;
    let verdict = Verdict::Success(Arc::new(ValidPath {
        intermediates: Vec::new(),
        anchor: CertificateDer::from_pem_slice(CA)?.into(),
        store: "partners".into(),
    }));
    let mapping = Mapping::of(preset);
    let facts = Facts {
        leaf: Some(&leaf),
        verdict: &verdict,
        style: ReasonStyle::default(),
        on_failure: OnFailure::Omit,
        now: WHEN,
    };
    let values = identity::values(&facts, mapping.wanted());
    Ok(mapping.render(&values).http1.to_vec())
}

const CALLER: &[u8] = include_bytes!("sample/caller.pem");
const CA: &[u8] = include_bytes!("sample/ca.pem");
/// A moment in January 2027, for the days that remain.
const WHEN: u64 = 1_800_000_000;

#[cfg(test)]
mod tests;
