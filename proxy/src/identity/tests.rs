//! Golden certificates, OpenSSL's own output for odd ones, and hostile bytes.

mod content;
mod hostile;
mod openssl;

use std::sync::Arc;

use base64::Engine as _;

use super::*;

/// A certificate of `tests/golden`, DER.
fn golden(name: &str) -> Vec<u8> {
    let path = format!("{GOLDEN}/{name}");
    let pem = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let body: String = pem
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap()
}

fn success(intermediates: &[Vec<u8>], anchor: Vec<u8>) -> Verdict {
    Verdict::Success(Arc::new(ValidPath {
        intermediates: intermediates.iter().cloned().map(Into::into).collect(),
        anchor: Arc::new(anchor.into()),
        store: "partners".into(),
    }))
}

fn facts<'a>(leaf: &'a [u8], verdict: &'a Verdict) -> Facts<'a> {
    Facts {
        leaf: Some(leaf),
        verdict,
        style: ReasonStyle::Openssl1,
        on_failure: OnFailure::Omit,
        now: 0,
    }
}

/// All values of a leaf that is forwarded though it failed: what needs no path.
fn leaf_values(leaf: &[u8]) -> Values {
    let verdict = Verdict::Failed(Reason::Expired);
    let facts = Facts {
        on_failure: OnFailure::Send,
        ..facts(leaf, &verdict)
    };
    values(&facts, VariableSet::all())
}

fn text(values: &Values, variable: Variable) -> Option<&str> {
    values
        .get(variable)
        .map(|value| str::from_utf8(value).unwrap())
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
