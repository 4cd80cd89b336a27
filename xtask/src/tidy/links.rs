//! Links between our own pages lead somewhere.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Finding;
use super::source::Tree;

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let known: BTreeSet<&Path> = tree
        .texts
        .iter()
        .flat_map(|text| text.path.ancestors())
        .collect();
    for text in &tree.texts {
        if text
            .path
            .extension()
            .is_none_or(|extension| extension != "md")
        {
            continue;
        }
        for (number, line) in text.content.lines().enumerate() {
            for target in targets(line) {
                if !known.contains(resolve(&text.path, target).as_path()) {
                    let message =
                        format!("the link to `{target}` leads nowhere: mend it, or add the page");
                    findings.push(Finding::new(&text.path, number + 1, message));
                }
            }
        }
    }
}

/// The relative paths that a Markdown line links to, without fragments.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .filter_map(|(target, _)| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains(':') && !target.contains(' '))
}

fn resolve(page: &Path, target: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path
}
