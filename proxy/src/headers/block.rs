//! The headers of one caller, ready to be written: rendered once, kept as long as its standing, and
//! sent with every request.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::xfcc;

/// The headers of one caller. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct HeaderBlock {
    /// Whole lines, `X-CERT-VERIFY: SUCCESS\r\n`, names in the spelling of the operator or preset.
    pub http1: Bytes,
    /// The value of `x-forwarded-client-cert`, if it is there in one of Envoy's formats and may come
    /// behind a trusted forwarder's.
    pub element: Option<xfcc::Element>,
    /// Unix seconds at which the block must be rendered anew (first second it may be wrong).
    pub holds_until: u64,
    /// The names that lines may have, in the lines' order; those of a mapping, which its blocks share.
    names: Arc<[HeaderName]>,
    /// Made when first asked for: no origin that speaks HTTP/1.1 needs them, and they are larger than
    /// the lines.
    pairs: OnceLock<Box<[Pair]>>,
}

type Pair = (HeaderName, HeaderValue);

impl HeaderBlock {
    /// Whole lines whose names are some of `names`, in their order.
    pub fn new(http1: Bytes, names: Arc<[HeaderName]>) -> Self {
        Self {
            http1,
            element: None,
            holds_until: u64::MAX,
            names,
            pairs: OnceLock::new(),
        }
    }

    /// The same headers for HTTP/2: names in lower case, values without outer spaces (RFC 9113
    /// §8.2.1 forbids them; HTTP/1.1 receivers drop them), never indexed (RFC 7541 §7.1.3).
    pub fn pairs(&self) -> &[(HeaderName, HeaderValue)] {
        self.pairs.get_or_init(|| {
            let mut names = self.names.iter();
            let lines = self.http1.split(|byte| *byte == b'\n');
            lines
                .filter_map(|line| self.pair(line, &mut names))
                .collect()
        })
    }

    /// The next pair, its name the next of `names` that the line has, its value cut from the lines.
    fn pair<'a>(
        &self,
        line: &[u8],
        names: &mut impl Iterator<Item = &'a HeaderName>,
    ) -> Option<Pair> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (spelling, value) = line.split_at_checked(colon)?;
        let name = names.find(|name| name.as_str().as_bytes().eq_ignore_ascii_case(spelling))?;
        let value = value.strip_prefix(b":")?.trim_ascii();
        let mut value = HeaderValue::from_maybe_shared(self.http1.slice_ref(value)).ok()?;
        value.set_sensitive(true);
        Some((name.clone(), value))
    }

    /// How much memory its bytes take.
    pub fn bytes(&self) -> usize {
        self.http1.len() + self.element.as_ref().map_or(0, xfcc::Element::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_the_lines_that_are_there() {
        let names = ["x-a", "x-b", "x-ab"].map(HeaderName::from_static);
        let lines = Bytes::from_static(b"X-A:  a:b \r\nX-AB: c\r\n");
        let block = HeaderBlock::new(lines, names.into());
        let shown: Vec<_> = block
            .pairs()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes(), value.is_sensitive()))
            .collect();
        assert_eq!(
            shown,
            [("x-a", &b"a:b"[..], true), ("x-ab", &b"c"[..], true)]
        );
    }

    #[test]
    fn nothing_is_the_pairs_of_nothing() {
        let names = [HeaderName::from_static("x-a")];
        assert!(
            HeaderBlock::new(Bytes::new(), names.into())
                .pairs()
                .is_empty()
        );
    }
}
