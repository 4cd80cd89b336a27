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
    /// Gives connections to a listener, and refuses sources over their rate.
    pub lookup: Standing,
    /// What `refuse_rate` asks for, which takes two programs.
    pub refusal: Standing,
    /// What `tcp_profile` and `upstream_tcp_profile` ask for.
    pub profiles: Standing,
}

impl Report {
    /// The same for all.
    pub fn all(standing: &Standing) -> Self {
        Self {
            reuseport: standing.clone(),
            sockops: standing.clone(),
            lookup: standing.clone(),
            refusal: standing.clone(),
            profiles: standing.clone(),
        }
    }

    /// Name and standing of each program, and of the settings that some of them keep.
    pub fn programs(&self) -> impl Iterator<Item = (&'static str, &Standing)> {
        let programs = [
            ("sk_reuseport", &self.reuseport),
            ("sockops", &self.sockops),
            ("sk_lookup", &self.lookup),
        ];
        let settings = [
            ("refuse_rate", &self.refusal),
            ("tcp_profile", &self.profiles),
        ];
        let asked = settings
            .into_iter()
            .filter(|(_, standing)| standing.is_wanted());
        programs.into_iter().chain(asked)
    }

    /// What goes with a program that is missing. `steers` is what sk_lookup does besides refusing.
    pub(super) fn settle(&mut self, steers: Option<&str>) {
        if self.sockops.is_missing() {
            self.refusal.miss("sockops is missing, and it counts");
            self.profiles.miss("sockops is missing, and it sets them");
        }
        if self.lookup.is_missing() {
            self.refusal.miss("sk_lookup is missing, and it refuses");
        }
        if self.refusal.is_missing() && self.lookup.is_attached() {
            match steers {
                Some(steers) => self.lookup = Standing::Attached(steers.to_owned()),
                None => self.lookup.miss("sockops is missing, and it counts"),
            }
        }
    }

    /// The programs that would have been of use.
    pub fn missing(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.programs()
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

    /// Whether it would have been of use.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    fn is_wanted(&self) -> bool {
        !matches!(self, Self::NotNeeded(_))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Report {
        Report::all(&Standing::Attached("in use".into()))
    }

    #[test]
    fn nobody_is_refused_in_silence() {
        for steers in [None, Some("gives 3 ports to listeners")] {
            let mut report = all();
            report.sockops.miss("a reason");
            report.settle(steers);
            let missing: Vec<_> = report.missing().map(|(name, _)| name).collect();
            assert_eq!(
                missing.contains(&"sk_lookup"),
                steers.is_none(),
                "{missing:?}"
            );
            assert!(missing.contains(&"refuse_rate") && missing.contains(&"tcp_profile"));
            let told = report.lookup.to_string();
            assert!(!told.contains("refuses"), "{told}");
        }
        let mut report = all();
        report.lookup.miss("a reason");
        report.settle(Some("gives 3 ports to listeners"));
        let missing: Vec<_> = report.missing().collect();
        let expected = ("refuse_rate", "sk_lookup is missing, and it refuses");
        assert_eq!(missing, [("sk_lookup", "a reason"), expected]);
    }

    #[test]
    fn settings_that_nobody_made_are_not_told() {
        let report = Report {
            refusal: Standing::NotNeeded("no refuse_rate"),
            ..all()
        };
        let names: Vec<_> = report.programs().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["sk_reuseport", "sockops", "sk_lookup", "tcp_profile"]
        );
    }
}
