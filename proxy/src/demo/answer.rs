//! What a caller of the demonstration got back.

use crate::headers::names::canonical_key;
use crate::trial;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The headers the origin says it saw; `None` if Herald answered by itself.
    pub(super) seen: Option<Vec<(String, String)>>,
}

impl Answer {
    /// Reads what came back.
    pub(super) fn of(answer: &trial::Answer) -> Self {
        let body = &answer.body;
        let seen = body.starts_with("The origin saw:").then(|| {
            let pair = |line: &str| {
                line.split_once(": ")
                    .map(|(n, v)| (n.to_owned(), v.to_owned()))
            };
            body.lines().skip(3).filter_map(pair).collect()
        });
        Self {
            status: answer.status,
            seen,
        }
    }

    /// All values the origin saw under a name in any spelling.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let wanted = canonical_key(name.as_bytes());
        self.seen
            .iter()
            .flatten()
            .filter(move |(seen, _)| canonical_key(seen.as_bytes()) == wanted)
            .map(|(_, value)| value.as_str())
    }
}
