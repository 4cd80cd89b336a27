//! The ordered policies of one application. They only narrow what the mode lets through: the first
//! policy that matches decides, and what none matches is denied.
//!
//! What a policy asks of the certificate is answered once a verdict ([`Rules::standing`]), what it asks
//! of the request on every request ([`Rules::decide`]). A certificate selector is true only while the
//! certificate verifies; a caller without a good one is never let through by what it is not.

use crate::identity::Attributes;

use super::pattern::Pattern;

mod selector;
mod trace;

pub use selector::{Attribute, Selector};
pub use trace::Trace;

/// What a policy that matches does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// The request may pass.
    Allow,
    /// It may not.
    Block,
    /// It may not, and gets no answer: its connection ends.
    Abort,
    /// It may pass whoever sends it: for preflights and health checks.
    Bypass,
}

impl Action {
    fn lets_pass(self) -> bool {
        match self {
            Self::Allow | Self::Bypass => true,
            Self::Block | Self::Abort => false,
        }
    }
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// For people.
    pub name: String,
    /// What it does if it matches.
    pub action: Action,
    /// Paths it is for; empty for all.
    pub paths: Vec<Pattern>,
    /// Methods it is for; empty for all.
    pub methods: Vec<String>,
    /// Any of these must hold.
    pub include: Vec<Selector>,
    /// All of these must hold.
    pub require: Vec<Selector>,
    /// None of these may hold.
    pub exclude: Vec<Selector>,
}

/// The policies of one application, at least one.
#[derive(Clone, Debug)]
pub struct Rules {
    policies: Box<[Policy]>,
    /// Lets everything through, and tells what would not have been.
    pub shadow: bool,
}

/// Which policies a caller meets as far as its certificate goes, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Met(Box<[bool]>);

/// What was decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision<'a> {
    /// By this policy, which allows or bypasses.
    Pass(&'a Policy),
    /// By this policy, which blocks; by none if no policy matched.
    Deny(Option<&'a Policy>),
}

impl<'a> Decision<'a> {
    /// The policy that decided; none where none matched.
    pub fn policy(&self) -> Option<&'a Policy> {
        match *self {
            Self::Pass(policy) => Some(policy),
            Self::Deny(policy) => policy,
        }
    }
}

impl PartialEq for Policy {
    /// Policies of one application are told apart by their name.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Policy {}

impl Rules {
    /// Takes policies in their order.
    pub fn new(policies: Vec<Policy>, shadow: bool) -> Self {
        Self {
            policies: policies.into(),
            shadow,
        }
    }

    /// Whether any policy is for some paths only.
    pub fn have_paths(&self) -> bool {
        self.policies.iter().any(|policy| !policy.paths.is_empty())
    }

    /// What the certificate's part says; `None` for a caller without a certificate that verifies.
    pub fn standing(&self, attributes: Option<&Attributes>) -> Met {
        let policies = self.policies.iter();
        Met(policies.map(|policy| policy.met(attributes)).collect())
    }

    /// Decides for one request. `path` is in its canonical form.
    pub fn decide(&self, met: &Met, method: &str, path: &[u8]) -> Decision<'_> {
        let candidates = self.policies.iter().zip(&met.0);
        let first = candidates
            .filter(|(_, met)| **met)
            .map(|(policy, _)| policy)
            .find(|policy| policy.is_for(method, path));
        match first {
            Some(policy) if policy.action.lets_pass() => Decision::Pass(policy),
            other => Decision::Deny(other),
        }
    }
}

impl Policy {
    fn met(&self, attributes: Option<&Attributes>) -> bool {
        let holds = |selector: &Selector| selector.holds(attributes);
        // An exclusion of certificates can't be judged without one: it lets nobody through.
        let unjudged = attributes.is_none()
            && self.action.lets_pass()
            && self
                .exclude
                .iter()
                .any(|selector| *selector != Selector::Everyone);
        !unjudged
            && self.include.iter().any(holds)
            && self.require.iter().all(holds)
            && !self.exclude.iter().any(holds)
    }

    fn is_for(&self, method: &str, path: &[u8]) -> bool {
        let by_method = self.methods.is_empty() || self.methods.iter().any(|known| known == method);
        by_method && (self.paths.is_empty() || self.paths.iter().any(|known| known.matches(path)))
    }
}

#[cfg(test)]
mod tests;
