//! Patterns of rules: exact text with `*`. In a path `*` stays within a segment and `**` does not; in
//! other texts `*` is any run. Matching takes at most pattern times text steps, whatever both hold.

use std::fmt;

/// A compiled pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    tokens: Box<[Token]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    Byte(u8),
    /// Any run without `/`.
    Segment,
    /// Any run.
    Run,
}

impl Pattern {
    /// A pattern of paths.
    pub fn path(text: &str) -> Self {
        Self::compile(text, Token::Segment)
    }

    /// A pattern of other texts.
    pub fn text(text: &str) -> Self {
        Self::compile(text, Token::Run)
    }

    fn compile(text: &str, star: Token) -> Self {
        let mut tokens: Vec<Token> = Vec::with_capacity(text.len());
        for byte in text.bytes() {
            match (byte, tokens.last()) {
                (b'*', Some(Token::Segment | Token::Run)) => {
                    tokens.pop();
                    tokens.push(Token::Run);
                }
                (b'*', _) => tokens.push(star),
                _ => tokens.push(Token::Byte(byte)),
            }
        }
        Self {
            tokens: tokens.into(),
        }
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        // Which prefixes of the pattern match what was read so far.
        let length = self.tokens.len() + 1;
        let (mut small, mut large);
        let states: &mut [bool] = if length <= SMALL {
            small = [false; 2 * SMALL];
            small.get_mut(..2 * length).unwrap_or_default()
        } else {
            large = vec![false; 2 * length];
            &mut large
        };
        let (mut states, mut next) = states.split_at_mut(length);
        if let Some(first) = states.first_mut() {
            *first = true;
        }
        self.spread(states);
        for byte in text {
            next.fill(false);
            for ((token, from), at) in self.tokens.iter().zip(&*states).zip(0..) {
                if !from {
                    continue;
                }
                let (stays, moves) = match token {
                    Token::Byte(wanted) => (false, wanted == byte),
                    Token::Segment => (*byte != b'/', false),
                    Token::Run => (true, false),
                };
                let target = if moves { at + 1 } else { at };
                if stays || moves {
                    next.get_mut(target)
                        .into_iter()
                        .for_each(|state| *state = true);
                }
            }
            self.spread(next);
            std::mem::swap(&mut states, &mut next);
        }
        states.last() == Some(&true)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.tokens.contains(&Token::Segment)
            || self.tokens.first() == Some(&Token::Byte(b'/'));
        let mut text = Vec::with_capacity(self.tokens.len());
        for token in &self.tokens {
            match token {
                Token::Byte(byte) => text.push(*byte),
                Token::Segment => text.push(b'*'),
                Token::Run if path => text.extend_from_slice(b"**"),
                Token::Run => text.push(b'*'),
            }
        }
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Pattern {
    /// A star may also match nothing.
    fn spread(&self, states: &mut [bool]) {
        let mut before = false;
        let tokens = std::iter::once(None).chain(self.tokens.iter().map(Some));
        for (state, token) in states.iter_mut().zip(tokens) {
            let is_star = matches!(token, Some(Token::Segment | Token::Run));
            *state |= before && is_star;
            before = *state;
        }
    }
}

/// Patterns with fewer tokens are matched without allocating: nearly all.
const SMALL: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_in_paths_and_in_texts() {
        for (pattern, text, matches) in [
            ("/api", "/api", true),
            ("/api", "/api/", false),
            ("/api/*", "/api/x", true),
            ("/api/*", "/api/", true),
            ("/api/*", "/api/x/y", false),
            ("/api/**", "/api/x/y", true),
            ("/api/**", "/api", false),
            ("/*/x", "/a/x", true),
            ("/*/x", "/a/b/x", false),
            ("/**/x", "/a/b/x", true),
            ("/a*c", "/abc", true),
            ("/a*c", "/ab", false),
            ("*", "/", false),
            ("**", "/", true),
        ] {
            let found = Pattern::path(pattern).matches(text.as_bytes());
            assert_eq!(found, matches, "{pattern} {text}");
        }
        for (pattern, text, matches) in [
            ("device-*", "device-42", true),
            ("device-*", "my-device-42", false),
            ("*", "", true),
            ("spiffe://a/*", "spiffe://a/b/c", true),
            ("a", "", false),
            ("", "", true),
        ] {
            let found = Pattern::text(pattern).matches(text.as_bytes());
            assert_eq!(found, matches, "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_texts_cost_little() {
        let pattern = Pattern::text(&"*a".repeat(200));
        assert!(!pattern.matches(&b"a".repeat(199)));
        assert!(pattern.matches(&b"ba".repeat(4000)));
    }
}
