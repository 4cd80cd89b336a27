//! What fuzzing drives: the readings of a certificate that a verdict reaches only behind a valid
//! signature, which no fuzzer can make.

use rustls::pki_types::CertificateDer;

use super::facts::Facts;
use super::path::Path;
use super::{constraints, possession};

/// Asks all that is asked of a path, and applies every certificate's name constraints to every
/// other.
pub fn path(chain: &[CertificateDer<'_>], now: i64) {
    let facts: Vec<Facts> = chain.iter().filter_map(|der| Facts::read(der)).collect();
    for certificate in chain {
        let _key = possession::subject_public_key_info(certificate);
    }
    for certificate in &facts {
        for other in &facts {
            let _issued = certificate.likely_issued_by(other);
            if let Some(constraints) = &other.extensions.name_constraints {
                for is_leaf in [false, true] {
                    let _offence = constraints::offence(certificate, constraints, is_leaf);
                }
            }
        }
    }
    if let [leaf, intermediates @ .., anchor] = &*facts {
        let path = Path {
            leaf,
            intermediates,
            anchor,
        };
        let _fault = path.fault(now);
        let _ends = path.ends();
    }
}
