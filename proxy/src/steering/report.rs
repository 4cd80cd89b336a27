//! Which of the kernel programs are in use, and why not the others.

use std::fmt;

/// What became of a program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// In use; how.
    Attached(String),
    /// The configuration has no use for it.
    NotNeeded(&'static str),
    /// It would have been of use.
    Missing(String),
}

/// All programs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Gives a new connection to the least loaded worker.
    pub reuseport: Standing,
    /// Counts connections, and tells of their end.
    pub sockops: Standing,
    /// Refuses sources over their rate.
    pub lookup: Standing,
}

impl Report {
    /// The same for all.
    pub fn all(standing: &Standing) -> Self {
        Self {
            reuseport: standing.clone(),
            sockops: standing.clone(),
            lookup: standing.clone(),
        }
    }

    /// Name and standing of each.
    pub fn programs(&self) -> [(&'static str, &Standing); 3] {
        [
            ("sk_reuseport", &self.reuseport),
            ("sockops", &self.sockops),
            ("sk_lookup", &self.lookup),
        ]
    }

    /// The programs that would have been of use.
    pub fn missing(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.programs()
            .into_iter()
            .filter_map(|(name, standing)| match standing {
                Standing::Missing(reason) => Some((name, reason.as_str())),
                Standing::Attached(_) | Standing::NotNeeded(_) => None,
            })
    }
}

impl Standing {
    /// Whether it is in use.
    pub fn is_attached(&self) -> bool {
        matches!(self, Self::Attached(_))
    }

    /// It can't be had, and would have been of use.
    pub(super) fn miss(&mut self, reason: &str) {
        if self.is_attached() {
            *self = Self::Missing(reason.to_owned());
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached(how) => write!(f, "{how}"),
            Self::NotNeeded(why) => write!(f, "not needed: {why}"),
            Self::Missing(why) => write!(f, "missing: {why}"),
        }
    }
}
