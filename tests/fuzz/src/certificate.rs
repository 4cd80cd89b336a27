//! Certificate to identity: whatever a peer presents, every value is a legal header value, and the
//! block made of it is the lines of its mapping and nothing else.

use std::sync::{Arc, LazyLock};

use herald::headers::{Mapping, Preset};
use herald::identity::{self, Facts, MAX_VALUE, OnFailure, Variable, VariableSet};
use herald::tls::{Reason, ReasonStyle, ValidPath, Verdict};
use http::HeaderValue;
use rustls_pki_types::CertificateDer;

use crate::der;
use crate::input::Input;

/// First byte: what is known about the certificate. Then a certificate, whole or in parts.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let leaf = match choice & 1 {
        0 => input.rest().to_vec(),
        _ => der::certificate(&mut input),
    };
    let verdict = match choice & 2 {
        0 => Verdict::Failed(Reason::Expired),
        _ => Verdict::Success(Arc::new(ValidPath {
            intermediates: vec![CertificateDer::from(leaf.clone())],
            anchor: Arc::new(CertificateDer::from(leaf.clone())),
            store: Arc::from("fuzz"),
        })),
    };
    let facts = Facts {
        leaf: Some(&leaf),
        verdict: &verdict,
        style: if choice & 4 == 0 {
            ReasonStyle::Openssl1
        } else {
            ReasonStyle::Openssl3
        },
        on_failure: OnFailure::Send,
        now: 1_700_000_000,
    };
    let values = identity::values(&facts, VariableSet::all());
    for variable in Variable::all() {
        let Some(value) = values.get(variable) else {
            continue;
        };
        assert!(!value.is_empty() && value.len() <= MAX_VALUE, "{variable}");
        assert!(
            value.iter().all(|byte| matches!(byte, b' '..=b'~')),
            "{variable}"
        );
        assert!(HeaderValue::from_bytes(value).is_ok(), "{variable}");
    }
    let forged = values.get(Variable::Verified) == Some(b"SUCCESS");
    assert_eq!(forged, matches!(verdict, Verdict::Success(_)));
    for mapping in &*MAPPINGS {
        crate::fields::is_sound(&mapping.render(&values), mapping);
    }
}

static MAPPINGS: LazyLock<Vec<Mapping>> = LazyLock::new(|| {
    let presets = Preset::all().map(|preset| Mapping::compile(&[preset], &[]).unwrap());
    let free = [(
        "X-All".to_owned(),
        "{certSubjectCN},{certSANDNS} {certSANURI}".to_owned(),
    )];
    presets
        .chain([Mapping::compile(&[], &free).unwrap()])
        .collect()
});
