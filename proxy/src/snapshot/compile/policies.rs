//! Policies as `policy` knows them.

use crate::config::model::Placed;
use crate::config::{ApplicationConfig, Mistake, PolicyAction, PolicyConfig};
use crate::policy::Rules;
use crate::policy::pattern::Pattern;
use crate::policy::rules::{Action, Policy, Selector};

/// The policies of an application; `None` without any.
pub(super) fn rules(config: &ApplicationConfig, mistakes: &mut Vec<Mistake>) -> Option<Rules> {
    let policies: Vec<Policy> = config
        .policies
        .iter()
        .map(|policy| compile(policy, mistakes))
        .collect();
    (!policies.is_empty()).then(|| Rules::new(policies, config.shadow))
}

fn compile(config: &PolicyConfig, mistakes: &mut Vec<Mistake>) -> Policy {
    let mut selectors = |texts: &[Placed]| {
        let mut selectors = Vec::with_capacity(texts.len());
        for (text, origin) in texts {
            match Selector::parse(text) {
                Ok(selector) => selectors.push(selector),
                Err(allowed) => {
                    let message = format!("`{}` is no selector", text.escape_debug());
                    mistakes.push(Mistake::new(origin.clone(), message, allowed));
                }
            }
        }
        selectors
    };
    Policy {
        name: config.name.clone(),
        action: match config.action {
            PolicyAction::Allow => Action::Allow,
            PolicyAction::Block => Action::Block,
            PolicyAction::Bypass => Action::Bypass,
        },
        include: selectors(&config.include),
        require: selectors(&config.require),
        exclude: selectors(&config.exclude),
        paths: config
            .paths
            .iter()
            .map(|(path, _)| Pattern::path(path))
            .collect(),
        methods: config
            .methods
            .iter()
            .map(|(method, _)| method.clone())
            .collect(),
    }
}
