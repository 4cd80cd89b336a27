//! The tree under inspection: tracked texts, and the Rust among them parsed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use proc_macro2::TokenStream;
use syn::spanned::Spanned;

use super::Finding;
use crate::command::{self, Failure};

/// Everything that git tracks or would track, less binary files.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) texts: Vec<Text>,
    pub(super) sources: Vec<Source>,
    /// Files that cannot be read or parsed: no rule may be passed by being illegible.
    pub(super) unreadable: Vec<Finding>,
}

/// A text file; the path is relative to the root.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) content: String,
}

/// A Rust file: its syntax for imports and functions, its tokens for what hides inside macros.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) lines: usize,
    pub(super) syntax: syn::File,
    pub(super) tokens: TokenStream,
    /// The whole file is test code: an integration test, or a module declared `#[cfg(test)]`.
    pub(super) is_test: bool,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let listed = command::read(Command::new("git").current_dir(root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files = Vec::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            match fs::read(root.join(path)) {
                Ok(bytes) => files.push((PathBuf::from(path), bytes)),
                // Deleted but not yet staged.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::new(format!("{path}: {error}"))),
            }
        }
        Ok(Self::from_files(files))
    }

    pub(super) fn from_files(files: Vec<(PathBuf, Vec<u8>)>) -> Self {
        let mut tree = Self::default();
        for (path, bytes) in files {
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            match String::from_utf8(bytes) {
                Ok(content) => {
                    if is_rust {
                        tree.parse(&path, &content);
                    }
                    tree.texts.push(Text { path, content });
                }
                Err(_) if is_rust => {
                    tree.unreadable
                        .push(Finding::new(&path, 1, "is no UTF-8: save it as UTF-8"));
                }
                Err(_) => {}
            }
        }
        tree.mark_tests();
        tree
    }

    fn parse(&mut self, path: &Path, content: &str) {
        let parsed = content
            .parse::<TokenStream>()
            .map_err(|error| (error.span().start().line, error.to_string()))
            .and_then(|tokens| {
                syn::parse_file(content)
                    .map(|syntax| (tokens, syntax))
                    .map_err(|error| (error.span().start().line, error.to_string()))
            });
        match parsed {
            Ok((tokens, syntax)) => self.sources.push(Source {
                path: path.to_owned(),
                lines: content.lines().count(),
                syntax,
                tokens,
                is_test: false,
            }),
            Err((line, error)) => {
                let message =
                    format!("cannot be parsed ({error}): tidy checks only what it can read");
                self.unreadable.push(Finding::new(path, line, message));
            }
        }
    }

    /// Files are tests by their place (`tests/` of a package) or by the `#[cfg(test)]` on the
    /// declaration that brings them in, and then so is everything below them.
    fn mark_tests(&mut self) {
        let mut declared = BTreeSet::new();
        for source in &self.sources {
            for item in &source.syntax.items {
                if let syn::Item::Mod(module) = item
                    && module.content.is_none()
                    && is_test_only(&module.attrs)
                {
                    declared.insert(child_stem(&source.path).join(module.ident.to_string()));
                }
            }
        }
        for source in &mut self.sources {
            let stem = source.path.with_extension("");
            source.is_test = source
                .path
                .components()
                .any(|part| part.as_os_str() == "tests")
                || declared.iter().any(|test| stem.starts_with(test));
        }
    }
}

/// The folder that holds a file's child modules: `a/b.rs` → `a/b`, `src/lib.rs` → `src`.
fn child_stem(path: &Path) -> PathBuf {
    let stem = path.with_extension("");
    match stem.file_name().and_then(|name| name.to_str()) {
        Some("lib" | "main" | "mod") => stem.parent().map(Path::to_owned).unwrap_or_default(),
        _ => stem,
    }
}

/// True when the attributes say `#[cfg(test)]`, alone or inside `all(..)`.
pub(super) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        list.path.is_ident("cfg")
            && syn::parse2::<syn::Meta>(list.tokens.clone()).is_ok_and(|meta| requires_test(&meta))
    })
}

fn requires_test(meta: &syn::Meta) -> bool {
    match meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(
                syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated,
            )
            .is_ok_and(|parts| parts.iter().any(requires_test)),
        _ => false,
    }
}

/// First and last line of a piece of syntax, its attributes included.
pub(super) fn line_span(node: &impl Spanned) -> (usize, usize) {
    let span = node.span();
    (span.start().line, span.end().line)
}

/// The attributes of an item, of every kind that can carry `#[cfg(test)]`.
pub(super) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::ForeignMod(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
