//! An operator's header mapping: what compiles renders sound lines, under names that frame nothing.

use std::sync::{Arc, LazyLock};

use herald::headers::{Hygiene, Mapping, Template};
use herald::identity::{self, Facts, OnFailure, Values, VariableSet};
use herald::tls::{ReasonStyle, ValidPath, Verdict};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Lines `name=template`.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(error) = Template::parse(text) {
        assert!(error.position <= text.len());
    }
    let entries: Vec<(String, String)> = text
        .lines()
        .take(16)
        .filter_map(|line| line.split_once('='))
        .map(|(name, template)| (name.to_owned(), template.to_owned()))
        .collect();
    let Ok(mapping) = Mapping::compile(&[], &entries) else {
        return;
    };
    for name in mapping.names() {
        let folded = crate::fields::folded(name.as_bytes());
        assert!(!STEERING.contains(&&*folded), "{name}");
        assert!(
            Hygiene::new(mapping.names(), []).is_protected(&folded),
            "{name}"
        );
    }
    for values in &*CALLERS {
        crate::fields::is_sound(&mapping.render(values), &mapping);
    }
}

static CALLERS: LazyLock<Vec<Values>> = LazyLock::new(|| {
    let leaf = CertificateDer::from_pem_slice(include_bytes!("../../golden/special.crt")).unwrap();
    let path = ValidPath {
        intermediates: vec![leaf.clone()],
        anchor: Arc::new(leaf.clone()),
        store: Arc::from("a store %"),
    };
    let verdicts = [Verdict::None, Verdict::Success(Arc::new(path))];
    let values = verdicts.iter().map(|verdict| {
        let facts = Facts {
            leaf: Some(&leaf),
            verdict,
            style: ReasonStyle::Openssl1,
            on_failure: OnFailure::Omit,
            now: 1_795_000_000,
        };
        identity::values(&facts, VariableSet::all())
    });
    values.collect()
});

/// Names that frame or route a message.
const STEERING: [&[u8]; 8] = [
    b"connection",
    b"content-length",
    b"host",
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];
