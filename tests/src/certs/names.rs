//! Names: every string type with every kind of content, every attribute OpenSSL has a short name for and some it has
//! not, multi-valued RDNs, and random mixtures from a fixed seed.

use super::der::{SEQUENCE, SET, element, oid, sequence};
use super::{Case, Spec, World};

/// The cases; all differ in the subject only.
pub fn cases(world: &World) -> Vec<Case> {
    let mut subjects = string_types();
    subjects.extend(attributes());
    subjects.extend(shapes());
    subjects.extend(mixtures());
    subjects
        .into_iter()
        .map(|(name, class, subject)| {
            let mut spec = Spec::client("", &world.key);
            spec.subject = subject;
            Case::leaf(format!("name: {name}"), class, &spec, &world.p256)
        })
        .collect()
}

/// A Name of RDNs.
pub fn name(rdns: &[Vec<u8>]) -> Vec<u8> {
    element(SEQUENCE, &[&rdns.concat()])
}

/// An RDN of attributes, in the order given.
pub fn rdn(attributes: &[Vec<u8>]) -> Vec<u8> {
    element(SET, &[&attributes.concat()])
}

/// An attribute: type, string tag, content.
pub fn attribute(id: &str, tag: u8, value: &[u8]) -> Vec<u8> {
    sequence(&[&oid(id), &element(tag, &[value])])
}

/// The Name of one common name, UTF8String.
pub fn common_name(text: &str) -> Vec<u8> {
    name(&[rdn(&[attribute(CN, 0x0C, text.as_bytes())])])
}

type Subject = (String, &'static str, Vec<u8>);

/// Each string type with each content, in an organisation and a common name.
fn string_types() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (kind, tag, width) in STRING_TYPES {
        for (what, text) in CONTENTS {
            let value: Vec<u8> = match width {
                0 => text.as_bytes().to_vec(),
                1 => text
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
                    .collect(),
                2 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => text
                    .chars()
                    .flat_map(|c| u32::from(c).to_be_bytes())
                    .collect(),
            };
            let rdns = [
                rdn(&[attribute("2.5.4.10", tag, &value)]),
                rdn(&[attribute(CN, tag, &value)]),
            ];
            subjects.push((format!("{kind} {what}"), GOOD, name(&rdns)));
        }
    }
    for (kind, tag, value) in MALFORMED {
        let subject = name(&[rdn(&[attribute(CN, tag, value)])]);
        subjects.push((kind.to_owned(), "malformed string in the subject", subject));
    }
    subjects
}

/// Each attribute type with one value.
fn attributes() -> Vec<Subject> {
    ATTRIBUTES
        .iter()
        .map(|id| {
            let attributes = [
                rdn(&[attribute(id, 0x0C, "Wört, 1".as_bytes())]),
                rdn(&[attribute(CN, 0x13, b"x")]),
            ];
            (format!("attribute {id}"), GOOD, name(&attributes))
        })
        .collect()
}

/// Shapes of names.
fn shapes() -> Vec<Subject> {
    let cn = |text: &str| attribute(CN, 0x0C, text.as_bytes());
    let unit = |text: &str| attribute("2.5.4.11", 0x0C, text.as_bytes());
    let unknown = |text: &str| attribute("1.2.3.4.5", 0x0C, text.as_bytes());
    let many: Vec<_> = (0..60)
        .map(|n| rdn(&[unit(&format!("unit {n}"))]))
        .collect();
    let shapes: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("empty", vec![]),
        ("two in one", vec![rdn(&[cn("a"), unit("b")])]),
        ("two in one, other order", vec![rdn(&[unit("b"), cn("a")])]),
        (
            "three in one",
            vec![rdn(&[cn("a"), unit("b"), unknown("c")])],
        ),
        ("the same in one", vec![rdn(&[cn("a"), cn("b")])]),
        (
            "one, two, one",
            vec![
                rdn(&[unit("u")]),
                rdn(&[cn("a"), unit("b")]),
                rdn(&[cn("z")]),
            ],
        ),
        (
            "twice two",
            vec![rdn(&[cn("a"), unit("b")]), rdn(&[cn("c"), unit("d")])],
        ),
        ("two names", vec![rdn(&[cn("first")]), rdn(&[cn("second")])]),
        ("sixty units", many),
        ("long value", vec![rdn(&[cn(&"long ".repeat(200))])]),
        ("long escaped value", vec![rdn(&[cn(&"ü,".repeat(200))])]),
        ("only unknown", vec![rdn(&[unknown("x")])]),
        (
            "unknown of 300 bytes",
            vec![rdn(&[unknown(&"y".repeat(300))])],
        ),
        (
            "like another attribute",
            vec![rdn(&[cn("a/CN=b,CN=c+CN=d")])],
        ),
        ("backslashes", vec![rdn(&[cn("\\\\ \\0A \\")])]),
        ("quotes", vec![rdn(&[cn("\"quoted\"")])]),
        ("only spaces", vec![rdn(&[cn("   ")])]),
        ("one space", vec![rdn(&[cn(" ")])]),
        (
            "header injection",
            vec![rdn(&[cn("x\r\nX-CERT-VERIFY: SUCCESS\r\n")])],
        ),
    ];
    let mut subjects: Vec<Subject> = shapes
        .into_iter()
        .map(|(what, rdns)| (what.to_owned(), GOOD, name(&rdns)))
        .collect();
    let empty_set = name(&[rdn(&[]), rdn(&[cn("x")])]);
    subjects.push((
        "empty RDN".to_owned(),
        "an RDN without attributes",
        empty_set,
    ));
    for (what, tag, value) in ODD_VALUES {
        let subject = name(&[rdn(&[attribute(CN, tag, value)])]);
        subjects.push((what.to_owned(), "attribute value of another type", subject));
    }
    subjects
}

/// Random names from a fixed seed.
fn mixtures() -> Vec<Subject> {
    let mut random = Random(0x4845_5241_4C44);
    (0..60)
        .map(|number| {
            let rdns: Vec<_> = (0..random.below(6))
                .map(|_| {
                    let count = 1 + random.below(8) / 6;
                    let attributes: Vec<_> = (0..count).map(|_| random.attribute()).collect();
                    rdn(&attributes)
                })
                .collect();
            (format!("mixture {number}"), GOOD, name(&rdns))
        })
        .collect()
}

/// A linear congruential generator (Knuth's MMIX constants): the same names on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit).unwrap()
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64)]
    }

    fn attribute(&mut self) -> Vec<u8> {
        let id = self.pick(&ATTRIBUTES);
        let (_, tag, width) = self.pick(&STRING_TYPES);
        let length = self.below(24);
        let value: Vec<u8> = match width {
            0 => (0..length)
                .map(|_| self.pick(&['a', ',', '/', 'ß', '語', '\n', ' ']))
                .collect::<String>()
                .into_bytes(),
            1 => (0..length)
                .map(|_| u8::try_from(self.below(256)).unwrap())
                .collect(),
            2 => (0..length)
                .flat_map(|_| u16::try_from(self.below(0xD800)).unwrap().to_be_bytes())
                .collect(),
            _ => (0..length)
                .flat_map(|_| u32::try_from(self.below(0xD800)).unwrap().to_be_bytes())
                .collect(),
        };
        attribute(id, tag, &value)
    }
}

/// The class of certificates on which the proxies agree.
pub const GOOD: &str = "good";
const CN: &str = "2.5.4.3";

/// Name, tag, and bytes a character takes (0 is UTF-8).
const STRING_TYPES: [(&str, u8, u8); 7] = [
    ("UTF8String", 0x0C, 0),
    ("NumericString", 0x12, 1),
    ("PrintableString", 0x13, 1),
    ("T61String", 0x14, 1),
    ("IA5String", 0x16, 1),
    ("UniversalString", 0x1C, 4),
    ("BMPString", 0x1E, 2),
];

const CONTENTS: [(&str, &str); 10] = [
    ("plain", "James Royal"),
    ("empty", ""),
    ("special", "a,b+c\"d\\e<f>g;h=i#j /CN=evil"),
    ("leading space and hash", " #lead"),
    ("hash first", "#hash"),
    ("trailing space", "trail "),
    ("control bytes", "a\tb\r\nc\x01\x7f"),
    ("NUL", "admin\0.evil"),
    ("Latin-1", "Jürgen é\u{80}ÿ"),
    ("digits", "0123456789"),
];

const MALFORMED: [(&str, u8, &[u8]); 5] = [
    ("UTF8String that is not UTF-8", 0x0C, b"a\xFFb"),
    ("UTF8String overlong", 0x0C, b"\xC0\x80"),
    ("BMPString of odd length", 0x1E, b"\0a\0"),
    ("BMPString of surrogates", 0x1E, b"\xD8\x3D\xDE\x00"),
    ("UniversalString of five bytes", 0x1C, b"\0\0\0a\0"),
];

const ODD_VALUES: [(&str, u8, &[u8]); 8] = [
    ("value is a VideotexString", 0x15, b"abc"),
    ("value is a VisibleString", 0x1A, b"abc"),
    ("value is a GeneralString", 0x1B, b"abc"),
    ("value is a BIT STRING", 0x03, b"\x00abc"),
    ("value is an OCTET STRING", 0x04, b"abc"),
    ("value is an INTEGER", 0x02, b"\x05"),
    ("value is a SEQUENCE", 0x30, b"\x0C\x01a"),
    ("value is a GeneralizedTime", 0x18, b"20260101000000Z"),
];

/// Attribute types that OpenSSL names, some others it names too, and some nobody names.
const ATTRIBUTES: [&str; 62] = [
    "2.5.4.3",
    "2.5.4.4",
    "2.5.4.5",
    "2.5.4.6",
    "2.5.4.7",
    "2.5.4.8",
    "2.5.4.9",
    "2.5.4.10",
    "2.5.4.11",
    "2.5.4.12",
    "2.5.4.13",
    "2.5.4.14",
    "2.5.4.15",
    "2.5.4.16",
    "2.5.4.17",
    "2.5.4.18",
    "2.5.4.19",
    "2.5.4.20",
    "2.5.4.21",
    "2.5.4.22",
    "2.5.4.23",
    "2.5.4.24",
    "2.5.4.25",
    "2.5.4.26",
    "2.5.4.27",
    "2.5.4.31",
    "2.5.4.34",
    "2.5.4.35",
    "2.5.4.36",
    "2.5.4.41",
    "2.5.4.42",
    "2.5.4.43",
    "2.5.4.44",
    "2.5.4.45",
    "2.5.4.46",
    "2.5.4.49",
    "2.5.4.51",
    "2.5.4.54",
    "2.5.4.65",
    "2.5.4.72",
    "2.5.4.97",
    "2.5.4.98",
    "0.9.2342.19200300.100.1.1",
    "0.9.2342.19200300.100.1.3",
    "0.9.2342.19200300.100.1.25",
    "0.9.2342.19200300.100.1.44",
    "1.2.840.113549.1.9.1",
    "1.2.840.113549.1.9.2",
    "1.2.840.113549.1.9.7",
    "1.2.840.113549.1.9.8",
    "1.2.840.113549.1.9.20",
    "1.3.6.1.4.1.311.60.2.1.1",
    "1.3.6.1.4.1.311.60.2.1.2",
    "1.3.6.1.4.1.311.60.2.1.3",
    "1.2.643.3.131.1.1",
    "1.3.6.1.4.1.311.17.2",
    "2.16.840.1.101.3.4.2.1",
    "1.3.6.1.5.5.7.3.2",
    "1.2.3.4.5",
    "2.999.3",
    "1.3.6.1.4.1.4294967296.1",
    "2.5.4.999",
];
