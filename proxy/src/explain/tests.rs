//! Times; the answers themselves are tested through the binary (`tests/tests/explain.rs`).

use super::*;

#[test]
fn moments() {
    for (text, wanted) in [
        ("0", Some(0)),
        ("1800000000", Some(1_800_000_000)),
        ("2027-01-15T08:00:00Z", Some(1_800_000_000)),
        ("2027-02-29T08:00:00Z", None),
        ("2027-01-15T24:00:00Z", None),
        ("2027-01-15T08:00:00", None),
        ("2027-01-15T08:00:00Zx", None),
        ("2027-1-15T08:00:00Z", None),
        ("+027-01-15T08:00:00Z", None),
        ("99999999999999999999", None),
        ("1960-01-01T00:00:00Z", None),
        ("\u{fc}027-01-15T08:00:00Z", None),
    ] {
        assert_eq!(moment(text), wanted, "{text}");
    }
    assert_eq!(time(1_800_000_000), "2027-01-15T08:00:00Z");
    assert_eq!(time(u64::MAX), format!("Unix {}", u64::MAX));
}
