//! Policies as `policy` knows them.

use super::super::application::{Application, Worker};
use crate::config::model::Placed;
use crate::config::{ApplicationConfig, Config, Mistake, PolicyAction, PolicyConfig};
use crate::headers::Mapping;
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

/// Whose callers' word about their own clients is sent on.
pub(super) fn forwarders(config: &Config, mistakes: &mut Vec<Mistake>) -> Box<[Selector]> {
    let texts = config.client.trusted_forwarder.iter().enumerate();
    let read = |(index, text): (usize, &String)| match Selector::parse(text) {
        Ok(selector) if selector != Selector::Everyone => Some(selector),
        refused => {
            let message = format!("`{}` names no forwarder", text.escape_debug());
            let allowed = refused
                .err()
                .unwrap_or_else(|| "a certificate's selector".into());
            let origin = config.origin("trusted_forwarder", index);
            mistakes.push(Mistake::new(origin, message, allowed));
            None
        }
    };
    texts.filter_map(read).collect()
}

/// Forwarders are of no use to an application that sends nothing to append to.
pub(super) fn forward_something(
    config: &Config,
    (application, workers): (&Application, &[Worker]),
    mistakes: &mut Vec<Mistake>,
) {
    let mut mappings = workers.iter().map(|worker| &worker.mapping);
    let appends = application.mapping.has_elements() || mappings.any(Mapping::has_elements);
    if !application.forwarders.is_empty() && !appends {
        let message = "a forwarder is trusted, but no X-Forwarded-Client-Cert is sent";
        let origin = config.origin("trusted_forwarder", 0);
        mistakes.push(Mistake::new(
            origin,
            message,
            "preset envoy-xfcc, or another that begins so",
        ));
    }
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
            PolicyAction::Abort => Action::Abort,
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
