//! Validity in every spelling. The first letter of a time says its type: U for UTCTime, G for GeneralizedTime, S for a
//! UTF8String.

use super::der::{element, generalized, utc};
use super::names::GOOD;
use super::{Case, Spec, World};

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    DATES
        .iter()
        .map(|(what, class, start, end)| {
            let mut spec = Spec::client("dates", &world.key);
            spec.validity = [time(start), time(end)];
            Case::leaf(format!("dates: {what}"), class, &spec, &world.p256)
        })
        .collect()
}

fn time(text: &str) -> Vec<u8> {
    match text.split_at(1) {
        ("U", text) => utc(text),
        ("G", text) => generalized(text),
        (_, text) => element(0x0C, &[text.as_bytes()]),
    }
}

const START: &str = "U200101000000Z";
const END: &str = "U491231235959Z";
const EARLY: &str = "begins before 1970";
const TURNED: &str = "ends before it begins";
const SHAPE: &str = "date in another shape";

/// What, class, start, end.
const DATES: [(&str, &str, &str, &str); 27] = [
    ("one digit days", GOOD, "U200203040506Z", "U490809101112Z"),
    ("1970", GOOD, "U700101000000Z", END),
    ("general", GOOD, "G20200101000000Z", "G20490101000000Z"),
    ("after 2049", GOOD, START, "G20500101000000Z"),
    ("9999", GOOD, START, "G99991231235959Z"),
    ("leap day", GOOD, "U200229000000Z", "U480229235959Z"),
    ("1969", EARLY, "U691231235959Z", END),
    ("1950", EARLY, "U500101000000Z", END),
    ("1949", EARLY, "G19490101000000Z", END),
    ("1601", EARLY, "G16010101000000Z", END),
    ("0000", EARLY, "G00000101000000Z", END),
    ("expired", "expired", "U000101000000Z", "U100101000000Z"),
    ("ended 1969", "expired", "U500101000000Z", "U690101000000Z"),
    ("future", "not yet valid", "U480101000000Z", END),
    (
        "2060",
        "not yet valid",
        "G20600101000000Z",
        "G20700101000000Z",
    ),
    ("turned, past", TURNED, "U100101000000Z", "U090101000000Z"),
    ("turned, future", TURNED, "U480101000000Z", "U470101000000Z"),
    (
        "turned, around now",
        TURNED,
        "U480101000000Z",
        "U100101000000Z",
    ),
    ("no seconds", SHAPE, "U2001010000Z", END),
    ("offset", SHAPE, "U200101000000+0100", END),
    ("fraction", SHAPE, "G20200101000000.5Z", END),
    ("no Z", SHAPE, "G20200101000000", END),
    ("end without seconds", SHAPE, START, "U4912312359Z"),
    ("month 13", SHAPE, "U201301000000Z", END),
    ("February 30", SHAPE, "U200230000000Z", END),
    ("letters", SHAPE, "UabcdefghijklZ", END),
    ("not a time", SHAPE, "S200101000000Z", END),
];
