//! Left-over markers, and `unsafe` outside its fences. Works on tokens, so a macro's body hides
//! nothing and a string or a comment is no false alarm.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

use super::Finding;
use super::layers::Table;
use super::source::Tree;

/// Macros that are fine while one types and wrong in what one commits.
const MACROS: [(&str, &str); 3] = [
    (
        "todo",
        "write it, or return an error that says what is missing",
    ),
    (
        "unimplemented",
        "write it, or return an error that says what is missing",
    ),
    ("dbg", "log through tracing, or take it out"),
];

pub(super) fn check(tree: &Tree, table: &Table, findings: &mut Vec<Finding>) {
    for source in &tree.sources {
        if source.path.file_name().is_some_and(|name| name == "mod.rs") {
            let message = "is a mod.rs: name it after its folder, `foo.rs` beside `foo/`";
            findings.push(Finding::new(&source.path, 1, message));
        }
        let fenced = table.allows_unsafe(&source.path);
        walk(source.tokens.clone(), &source.path, fenced, findings);
    }
}

fn walk(tokens: TokenStream, path: &Path, fenced: bool, findings: &mut Vec<Finding>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => walk(group.stream(), path, fenced, findings),
            TokenTree::Ident(ident) => {
                let line = ident.span().start().line;
                if ident == "unsafe" && !fenced {
                    let message = "`unsafe` here: only the files listed in xtask/layers.toml may have it; ask `sys` for a safe function";
                    findings.push(Finding::new(path, line, message));
                }
                let is_macro =
                    matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == '!');
                for (name, advice) in MACROS {
                    if is_macro && ident == name {
                        findings.push(Finding::new(
                            path,
                            line,
                            format!("`{name}!` is left over: {advice}"),
                        ));
                    }
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
