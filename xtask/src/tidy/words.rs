//! Words that have no place in a published tree: forgotten markers, paths of one machine, hosts of
//! package registries, names of the workshop.

use std::ffi::OsStr;

use super::Finding;
use super::source::Tree;

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for text in &tree.texts {
        // Cargo writes the registry's address into its lock file, and nobody else edits it.
        if text.path.file_name() == Some(OsStr::new("Cargo.lock")) {
            continue;
        }
        for (number, line) in text.content.lines().enumerate() {
            if let Some(message) = objection(line) {
                findings.push(Finding::new(&text.path, number + 1, message));
            }
        }
    }
}

fn objection(line: &str) -> Option<String> {
    let found = FRAGMENTS.iter().find(|(head, tail, _)| {
        line.match_indices(head).any(|(at, _)| {
            line.get(at + head.len()..)
                .is_some_and(|rest| rest.starts_with(tail))
                && stands_alone(line, at)
        })
    });
    if let Some((head, tail, advice)) = found {
        return Some(format!("`{head}{tail}` here: {advice}"));
    }
    let is_separator = |c: char| !c.is_ascii_alphanumeric();
    line.split(is_separator)
        .find(|word| DIGESTS.contains(&digest(word)))
        .map(|word| {
            format!(
                "`{word}` here: this tree is about the product, not about who made it with what"
            )
        })
}

/// A machine's path starts where it is found; `target/..` before it makes it something else.
fn stands_alone(line: &str, at: usize) -> bool {
    let before = line.get(..at).and_then(|text| text.chars().next_back());
    !before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '}'))
}

/// FNV-1a, 64 bit, of the lower-cased word: enough to know a word again without spelling it.
fn digest(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Each text in two pieces, so that this list does not break its own rule; then what to do.
const FRAGMENTS: [(&str, &str, &str); 15] = [
    (
        "FIX",
        "ME",
        "mend it, or file an issue and write TODO(#number)",
    ),
    ("/wo", "rk/", MACHINE),
    ("/ro", "ot/", MACHINE),
    ("/ho", "me/", MACHINE),
    ("../sh", "ared", OUTSIDE),
    ("shared/ref", "erence", OUTSIDE),
    ("shared/gol", "den", OUTSIDE),
    ("DES", "IGN.md", OUTSIDE),
    ("DES", "IGN §", OUTSIDE),
    ("COM", "MON.md", OUTSIDE),
    ("deb.deb", "ian.org", REGISTRY),
    ("py", "pi.org", REGISTRY),
    ("pythonho", "sted.org", REGISTRY),
    ("npm", "js.org", REGISTRY),
    ("crates", ".io", REGISTRY),
];

const MACHINE: &str =
    "a path of one machine; use one relative to the workspace, or a temporary directory";
const OUTSIDE: &str = "a file that readers do not have; say it here, or link to a page under docs/";
const REGISTRY: &str = "a registry's host; package managers know where their packages are";

/// Names of tools and people's roles of the workshop.
const DIGESTS: [u64; 7] = [
    0x2391_9480_3edf_98f7,
    0x2524_b426_1996_11b3,
    0x7f7a_7547_86a6_64b8,
    0x8a1b_8f4a_0a91_3503,
    0xa113_d274_5d70_6ce3,
    0xf5f1_1019_0cf0_efce,
    0xa7c7_b542_b1ac_cb08,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_path_is_refused_where_it_starts_and_only_there() {
        let path = ["/wo", "rk/main/x"].concat();
        assert!(objection(&format!("see {path}")).is_some());
        assert!(objection(&path).is_some());
        assert!(objection(&format!("see target{path}")).is_none());
        assert!(objection("how this works/what it does").is_none());
    }

    #[test]
    fn a_marker_and_a_registry_are_refused() {
        assert!(objection(&["// FIX", "ME later"].concat()).is_some());
        assert!(objection(&["https://py", "pi.org/simple"].concat()).is_some());
        assert!(objection("// TODO(#12): later").is_none());
    }

    #[test]
    fn the_digest_ignores_case() {
        assert_eq!(digest("Word"), digest("wORD"));
        assert_ne!(digest("word"), digest("words"));
        assert_eq!(digest(""), 0xcbf2_9ce4_8422_2325);
    }
}
