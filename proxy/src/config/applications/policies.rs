//! `[[application.policy]]` tables.

use crate::config::mistake::{Mistake, quoted};
use crate::config::model::{Placed, PolicyAction, PolicyConfig};
use crate::config::sections::Section;

/// The policies of an application's table, in their order, and whether they are shadows.
pub(super) fn policies(
    section: &Section,
    mistakes: &mut Vec<Mistake>,
) -> (Vec<PolicyConfig>, bool) {
    let mut policies: Vec<PolicyConfig> = Vec::with_capacity(section.policies.len());
    for (number, table) in section.policies.iter().enumerate() {
        mistakes.extend(table.found.mistakes.iter().cloned());
        let given = table.own("name").first().map(|(name, _)| name.clone());
        let name = given.unwrap_or_else(|| (number + 1).to_string());
        if policies.iter().any(|other| other.name == name) {
            let message = format!("{} is the name of two policies", quoted(&name));
            mistakes.push(Mistake::new(table.place("name"), message, "each name once"));
        }
        let Some(action) = action(table, mistakes) else {
            continue;
        };
        let list = |key: &str| table.own(key).to_vec();
        let policy = PolicyConfig {
            name,
            action,
            paths: list("path"),
            methods: list("method"),
            include: list("include"),
            require: list("require"),
            exclude: list("exclude"),
        };
        check(&policy, table, mistakes);
        policies.push(policy);
    }
    let shadow = match section.own("policy_mode").first() {
        None => false,
        Some((mode, _)) if mode == "enforce" => false,
        Some((mode, _)) if mode == "shadow" => true,
        Some((mode, origin)) => {
            let message = format!("{} is not allowed", quoted(mode));
            mistakes.push(Mistake::new(origin.clone(), message, "enforce, shadow"));
            false
        }
    };
    (policies, shadow)
}

fn action(table: &Section, mistakes: &mut Vec<Mistake>) -> Option<PolicyAction> {
    let action = table
        .own("action")
        .first()
        .map(|(action, _)| action.as_str());
    match action {
        Some("allow") => Some(PolicyAction::Allow),
        Some("block") => Some(PolicyAction::Block),
        Some("abort") => Some(PolicyAction::Abort),
        Some("bypass") => Some(PolicyAction::Bypass),
        other => {
            let message = match other {
                Some(other) => format!("{} is not allowed", quoted(other)),
                None => "this policy has no action".to_owned(),
            };
            let place = table.place("action");
            mistakes.push(Mistake::new(place, message, "allow, block, abort, bypass"));
            None
        }
    }
}

fn check(policy: &PolicyConfig, table: &Section, mistakes: &mut Vec<Mistake>) {
    if policy.include.is_empty() {
        let message = "this policy includes nobody";
        let allowed = "include = [\"valid_certificate\"], or \"everyone\"";
        mistakes.push(Mistake::new(table.origin.clone(), message, allowed));
    }
    if policy.action == PolicyAction::Bypass {
        let selectors = policy
            .include
            .iter()
            .chain(&policy.require)
            .chain(&policy.exclude);
        for (text, origin) in selectors.filter(|(text, _)| text != "everyone") {
            let message = format!(
                "{} can't be asked of whom a bypass lets through",
                quoted(text)
            );
            let allowed = "everyone; allow is for callers with a certificate";
            mistakes.push(Mistake::new(origin.clone(), message, allowed));
        }
        if policy.paths.is_empty() && policy.methods.is_empty() {
            let message = "a bypass of everything leaves no policy";
            let allowed = "a path or a method";
            mistakes.push(Mistake::new(table.origin.clone(), message, allowed));
        }
    }
    check_paths(&policy.paths, mistakes);
    for (method, origin) in &policy.methods {
        if method.is_empty()
            || !method
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        {
            let message = format!("{} is no method", quoted(method));
            mistakes.push(Mistake::new(
                origin.clone(),
                message,
                "GET, POST ..., upper case",
            ));
        }
    }
}

/// Patterns of paths in the form that paths have when they are matched.
pub(super) fn check_paths(paths: &[Placed], mistakes: &mut Vec<Mistake>) {
    for (path, origin) in paths {
        if !path.starts_with('/')
            || path.contains("//")
            || path
                .bytes()
                .any(|byte| !byte.is_ascii_graphic() || b"%\\?#".contains(&byte))
        {
            let message = format!("{} is no pattern of canonical paths", quoted(path));
            let allowed = "/..., decoded; `*` for a segment, `**` for any rest";
            mistakes.push(Mistake::new(origin.clone(), message, allowed));
        }
    }
}
