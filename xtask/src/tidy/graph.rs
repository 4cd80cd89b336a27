//! No module cycles. A parent and its children may name each other: the parent declares them, and
//! what they share lives with it. Any other way round in a circle is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Finding;
use super::imports::{Edge, Modules};
use super::layers::is_within;

pub(super) fn check(modules: &Modules, findings: &mut Vec<Finding>) {
    let mut next: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in &modules.edges {
        let related = is_within(&edge.from, &edge.to) || is_within(&edge.to, &edge.from);
        if !related && !edge.from.is_empty() && !edge.to.is_empty() {
            next.entry(&edge.from).or_default().push(edge);
        }
    }
    let mut seen = BTreeSet::new();
    for start in next.keys().copied() {
        if seen.contains(start) {
            continue;
        }
        if let Some(circle) = shortest_circle(start, &next) {
            let names: Vec<&str> = circle.iter().map(|edge| edge.from.as_str()).collect();
            seen.extend(names.iter().copied());
            if let Some(first) = circle.first() {
                let message = format!(
                    "module cycle: {} -> {start}: move what they share to a module below both",
                    names.join(" -> ")
                );
                findings.push(Finding::new(&modules.path(start), first.line, message));
            }
        }
    }
}

/// The shortest way from `start` back to itself, as the edges taken.
fn shortest_circle<'a>(
    start: &str,
    next: &BTreeMap<&'a str, Vec<&'a Edge>>,
) -> Option<Vec<&'a Edge>> {
    let mut reached_by: BTreeMap<&str, &Edge> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(module) = queue.pop_front() {
        for edge in next.get(module).into_iter().flatten() {
            if reached_by.contains_key(edge.to.as_str()) {
                continue;
            }
            reached_by.insert(&edge.to, edge);
            if edge.to == start {
                return Some(way_back(start, &reached_by));
            }
            queue.push_back(&edge.to);
        }
    }
    None
}

fn way_back<'a>(start: &str, reached_by: &BTreeMap<&'a str, &'a Edge>) -> Vec<&'a Edge> {
    let mut circle = Vec::new();
    let mut module = start;
    while let Some(edge) = reached_by.get(module) {
        circle.push(*edge);
        module = &edge.from;
        if module == start {
            break;
        }
    }
    circle.reverse();
    circle
}
