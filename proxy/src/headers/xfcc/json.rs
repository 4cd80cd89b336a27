//! Envoy's JSON format of `x-forwarded-client-cert`: an array of objects with the keys Envoy writes, each
//! at most once and of the kind it is of there. Readers of JSON differ over a key that is there twice, a
//! lone surrogate, a NUL and bytes beyond ASCII, so none of these is taken.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Whether this is such an array, and not an empty one.
pub(super) fn is_sound(value: &[u8]) -> bool {
    let is_visible = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    value.iter().all(is_visible)
        && serde_json::from_slice::<Vec<Element>>(value).is_ok_and(|elements| !elements.is_empty())
}

/// An object whose keys and values are known to be sound. Nothing of them is kept.
struct Element;

/// A string.
struct Text;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    By,
    Hash,
    Cert,
    Chain,
    Subject,
    Uri,
    Dns,
    Issuer,
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of x-forwarded-client-cert")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
        let mut seen = 0_u8;
        while let Some(key) = map.next_key::<Key>()? {
            let bit = 1 << key as u8;
            if seen & bit != 0 {
                return Err(A::Error::custom("a key is there twice"));
            }
            seen |= bit;
            match key {
                Key::Hash | Key::Cert | Key::Subject | Key::Issuer => {
                    map.next_value::<Text>()?;
                }
                Key::By | Key::Chain | Key::Uri | Key::Dns => {
                    map.next_value::<Vec<Text>>()?;
                }
            }
        }
        match seen {
            0 => Err(A::Error::custom("an element says nothing")),
            _ => Ok(Element),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WithoutNul)
    }
}

struct WithoutNul;

impl Visitor<'_> for WithoutNul {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string without a NUL")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        match text.contains('\0') {
            true => Err(E::custom("a NUL")),
            false => Ok(Text),
        }
    }
}
