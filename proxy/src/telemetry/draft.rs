//! What a record will say of its request, kept as it is until the record is rendered, as the request's
//! own bytes don't last so long. Entries of a kind, a length and bytes, in the order in which they came.

use std::sync::Arc;

use http::Version;

use super::fields::{Fields, name};

/// Something said of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Kind {
    Http10,
    Http11,
    Http2,
    Method,
    Host,
    Target,
    RequestId,
    Application,
    Rule,
    NoRule,
    ShadowDeny,
    PolicyAllow,
    Upstream,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Draft {
    /// The caller's fields, rendered.
    pub(super) caller: Arc<[u8]>,
    entries: Vec<u8>,
}

impl Draft {
    /// Nothing yet, in a buffer that may have been used before.
    pub(super) fn new(caller: Arc<[u8]>, buffer: Vec<u8>) -> Self {
        Self {
            caller,
            entries: buffer,
        }
    }

    /// What was kept, for [`render`].
    pub(super) fn texts(&self) -> &[u8] {
        &self.entries
    }

    /// The buffer, to be used again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.entries
    }

    /// Keeps a word.
    pub(super) fn say(&mut self, kind: Kind) {
        self.keep(kind, b"");
    }

    /// Keeps a text, as far as it will be shown.
    pub(super) fn keep(&mut self, kind: Kind, text: &[u8]) {
        let whole = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let kept = text.get(..kind.max()).unwrap_or(text);
        let [a, b, c, d] = whole.to_ne_bytes();
        self.entries.extend_from_slice(&[kind as u8, a, b, c, d]);
        self.entries.extend_from_slice(kept);
    }
}

/// Appends all that a draft kept.
pub(super) fn render(texts: &[u8], fields: &mut Fields<'_>) {
    let mut rest = texts;
    while let Some((kind, whole, after)) = entry(rest) {
        let (kept, after) = after.split_at(whole.min(kind.max()).min(after.len()));
        kind.render(fields, kept, whole);
        rest = after;
    }
}

fn entry(bytes: &[u8]) -> Option<(Kind, usize, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (whole, rest) = rest.split_first_chunk()?;
    let kind = *ALL.get(usize::from(*kind))?;
    Some((
        kind,
        usize::try_from(u32::from_ne_bytes(*whole)).ok()?,
        rest,
    ))
}

impl Kind {
    pub(super) fn protocol(version: Version) -> Self {
        match version {
            Version::HTTP_2 => Self::Http2,
            Version::HTTP_10 => Self::Http10,
            _ => Self::Http11,
        }
    }

    fn render(self, fields: &mut Fields<'_>, kept: &[u8], whole: usize) {
        let text = match self {
            Self::Http10 => return fields.word(name!("protocol"), "HTTP/1.0"),
            Self::Http11 => return fields.word(name!("protocol"), "HTTP/1.1"),
            Self::Http2 => return fields.word(name!("protocol"), "HTTP/2"),
            Self::NoRule => return fields.word(name!("rule"), "none"),
            Self::ShadowDeny => return fields.word(name!("shadow"), "deny"),
            Self::PolicyAllow => return fields.word(name!("policy"), "allow"),
            Self::Method => name!("method"),
            Self::RequestId => name!("request_id"),
            Self::Host => name!("host"),
            Self::Target => name!("target"),
            Self::Application => name!("application"),
            Self::Rule => name!("rule"),
            Self::Upstream => name!("upstream"),
        };
        fields.cut(text, kept, whole);
    }

    /// The most that is shown, bytes.
    fn max(self) -> usize {
        match self {
            Self::Target => TARGET_MAX,
            Self::Host | Self::Application | Self::Rule | Self::Upstream => HOST_MAX,
            _ => SHORT_MAX,
        }
    }
}

/// In the order of their numbers.
const ALL: [Kind; 13] = [
    Kind::Http10,
    Kind::Http11,
    Kind::Http2,
    Kind::Method,
    Kind::Host,
    Kind::Target,
    Kind::RequestId,
    Kind::Application,
    Kind::Rule,
    Kind::NoRule,
    Kind::ShadowDeny,
    Kind::PolicyAllow,
    Kind::Upstream,
];
/// Longest target, host name and anything else that is written whole, bytes.
const TARGET_MAX: usize = 8 * 1024;
const HOST_MAX: usize = 256;
const SHORT_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;

    #[test]
    fn kinds_have_their_numbers() {
        for (number, kind) in ALL.into_iter().enumerate() {
            assert_eq!(number, kind as usize);
        }
    }

    #[test]
    fn what_was_kept_is_rendered_in_its_order() {
        let mut draft = Draft::new(Arc::default(), Vec::new());
        draft.say(Kind::Http2);
        draft.keep(Kind::Method, b"GET");
        draft.keep(Kind::Host, &[b'h'; 300]);
        draft.keep(Kind::Target, b"");
        draft.keep(Kind::Rule, b"a \"rule\"");
        draft.say(Kind::PolicyAllow);
        let mut line = Vec::new();
        render(draft.texts(), &mut Fields::new(&mut line, LogFormat::Json));
        assert_eq!(
            String::from_utf8(line).unwrap(),
            format!(
                ",\"protocol\":\"HTTP/2\",\"method\":\"GET\",\"host\":\"{}\",\"cut_from_bytes\":300,\
                 \"target\":\"\",\"rule\":\"a \\\"rule\\\"\",\"policy\":\"allow\"",
                "h".repeat(256)
            )
        );
    }
}
