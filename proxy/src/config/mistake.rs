//! What is wrong with a configuration, told so that an operator can mend it: where, what, and
//! what is allowed.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a setting came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// A command-line flag, with its dashes.
    Flag(String),
    /// A key of the file.
    File {
        /// The file, as the operator named it.
        path: PathBuf,
        /// From 1; 0 where the file as a whole is meant.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The key, or empty.
        key: String,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File {
                path,
                line,
                column,
                key,
            } => {
                write!(f, "{}:{line}:{column}", path.display())?;
                if key.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {}", printable(key))
                }
            }
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Where.
    pub origin: Origin,
    /// What.
    pub message: String,
    /// What is allowed or what to do; may be empty.
    pub allowed: String,
}

impl Mistake {
    /// A mistake at `origin`.
    pub fn new(origin: Origin, message: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            origin,
            message: message.into(),
            allowed: allowed.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)?;
        if !self.allowed.is_empty() {
            write!(f, "\n    allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

/// Everything that is wrong.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// In the order of the file; what has no place in it comes last.
    pub fn in_order(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| match mistake.origin {
            Origin::File { line, column, .. } => (line, column),
            Origin::Flag(_) | Origin::Default => (usize::MAX, 0),
        });
        Self(mistakes)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(mistakes) = self;
        match mistakes.len() {
            1 => f.write_str("1 mistake in the configuration:")?,
            count => write!(f, "{count} mistakes in the configuration:")?,
        }
        for mistake in mistakes.iter().take(SHOWN_MAX) {
            write!(f, "\n  {mistake}")?;
        }
        match mistakes.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// An operator's text in a message: control characters escaped, cut to fit a line, and not shown
/// at all where it may be a secret (a URL with a password, a private key in place of its path).
pub(super) fn quoted(text: &str) -> String {
    if text.contains('@') || text.contains("-----BEGIN") {
        return "this value (not shown, it may hold a secret)".into();
    }
    format!("`{}`", printable(text))
}

/// An unknown key is text like any other: it may hold what a terminal obeys.
fn printable(text: &str) -> String {
    let shown = text.chars().take(QUOTED_MAX).flat_map(char::escape_debug);
    let mut shown: String = shown.collect();
    if text.chars().nth(QUOTED_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Mistakes shown one by one; the rest is counted.
const SHOWN_MAX: usize = 50;
/// Longest quotation, in characters before escaping.
const QUOTED_MAX: usize = 60;
