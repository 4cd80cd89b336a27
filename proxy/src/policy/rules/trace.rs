//! How policies came to their decision, for people: every policy, every selector, true or not.

use super::{Attributes, Policy, Rules, Selector};

/// One policy as one request met it.
#[derive(Debug)]
pub struct Trace<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Whether it is for the request's method and path.
    pub is_for: bool,
    /// Whether the caller meets it.
    pub met: bool,
    /// Its selectors: in which list they stand, as they are written, whether they hold.
    pub selectors: Vec<(&'static str, String, bool)>,
}

impl Rules {
    /// All policies in their order. `attributes` as for [`Rules::standing`], `path` as for
    /// [`Rules::decide`].
    pub fn trace(
        &self,
        attributes: Option<&Attributes>,
        method: &str,
        path: &[u8],
    ) -> Vec<Trace<'_>> {
        let policies = self.policies.iter();
        policies
            .map(|policy| Trace {
                policy,
                is_for: policy.is_for(method, path),
                met: policy.met(attributes),
                selectors: [
                    ("include", &policy.include),
                    ("require", &policy.require),
                    ("exclude", &policy.exclude),
                ]
                .into_iter()
                .flat_map(|(list, selectors)| {
                    let told = move |selector: &Selector| {
                        (list, selector.to_string(), selector.holds(attributes))
                    };
                    selectors.iter().map(told)
                })
                .collect(),
            })
            .collect()
    }
}
