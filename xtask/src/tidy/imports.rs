//! Which module of a crate names which other: `use` trees, paths in code, paths inside macros.
//!
//! Works on files, follows `pub use` to the module where a name really lives, and leaves test code
//! out: a test may know more than the code it tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::Finding;
use super::layers::Package;
use super::source::{Source, Tree, attributes, is_test_only};

/// The modules of one crate and what each imports, in file order.
#[derive(Debug, Default)]
pub(super) struct Modules {
    pub(super) files: BTreeMap<String, PathBuf>,
    pub(super) edges: Vec<Edge>,
    pub(super) findings: Vec<Finding>,
}

/// `from` names something that lives in `to`; both are module paths like `tls::verdict`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
}

impl Modules {
    pub(super) fn of_crate(tree: &Tree, package: &Package) -> Self {
        let folder = Path::new(&package.package).join("src");
        let sources: Vec<(Vec<String>, &Source)> = tree
            .sources
            .iter()
            .filter(|source| !source.is_test)
            .filter_map(|source| {
                Some((
                    module_path(source.path.strip_prefix(&folder).ok()?)?,
                    source,
                ))
            })
            .collect();
        let mut modules = Self::default();
        if sources.is_empty() {
            let message = format!(
                "package `{}` of xtask/layers.toml has no source",
                package.package
            );
            modules.findings.push(Finding::new(&folder, 1, message));
        }
        for (module, source) in &sources {
            modules.files.insert(module.join("::"), source.path.clone());
        }
        let mut names = Names {
            modules: modules.files.keys().cloned().collect(),
            exports: BTreeMap::new(),
        };
        let mut raw = Vec::new();
        for (module, source) in &sources {
            raw.extend(read_file(module, source, &package.library, &mut names));
        }
        let mut edges = BTreeSet::new();
        for Mention { from, to, line } in raw {
            let to = names.home(to);
            if !to.is_empty() && to != from {
                edges.insert(Edge { from, to, line });
            }
        }
        modules.edges = edges.into_iter().collect();
        modules
    }
}

/// `tls/verdict.rs` → `[tls, verdict]`; the library's root is the empty path.
fn module_path(relative: &Path) -> Option<Vec<String>> {
    let stem = relative.with_extension("");
    let parts: Option<Vec<String>> = stem
        .components()
        .map(|part| Some(part.as_os_str().to_str()?.to_owned()))
        .collect();
    parts.map(|parts| if parts == ["lib"] { Vec::new() } else { parts })
}

/// A path as written, made absolute but not yet followed through re-exports.
struct Mention {
    from: String,
    to: Vec<String>,
    line: usize,
}

/// What is known of the crate's names: which modules exist, and what each passes on.
struct Names {
    modules: BTreeSet<String>,
    exports: BTreeMap<(String, String), Vec<String>>,
}

impl Names {
    /// The module that an absolute path leads to, through at most `HOPS_MAX` re-exports.
    fn home(&self, mut path: Vec<String>) -> String {
        for _ in 0..HOPS_MAX {
            let depth = self.depth(&path);
            let (module, rest) = path.split_at(depth);
            let module = module.join("::");
            let Some((name, rest)) = rest.split_first() else {
                return module;
            };
            match self.exports.get(&(module.clone(), name.clone())) {
                Some(target) => path = target.iter().chain(rest).cloned().collect(),
                None => return module,
            }
        }
        path.truncate(self.depth(&path));
        path.join("::")
    }

    fn depth(&self, path: &[String]) -> usize {
        (1..=path.len())
            .take_while(|&depth| {
                path.get(..depth)
                    .is_some_and(|p| self.modules.contains(&p.join("::")))
            })
            .last()
            .unwrap_or(0)
    }
}

fn read_file(module: &[String], source: &Source, library: &str, names: &mut Names) -> Vec<Mention> {
    let mut reader = Reader {
        module: module.join("::"),
        scope: module.to_vec(),
        library,
        names,
        aliases: BTreeMap::new(),
        mentions: Vec::new(),
    };
    // A binary root is a module of its own here, and its `crate::` is not the library's.
    reader.collect_uses(&source.syntax.items);
    reader.visit_file(&source.syntax);
    reader.mentions
}

struct Reader<'a> {
    module: String,
    /// The file's module, longer inside an inline `mod`.
    scope: Vec<String>,
    library: &'a str,
    names: &'a mut Names,
    /// Names that a `use` brought in, with the absolute path each stands for.
    aliases: BTreeMap<String, Vec<String>>,
    mentions: Vec<Mention>,
}

impl Reader<'_> {
    fn collect_uses(&mut self, items: &[syn::Item]) {
        for item in items {
            if let syn::Item::Use(import) = item
                && !is_test_only(&import.attrs)
            {
                let is_exported = !matches!(import.vis, syn::Visibility::Inherited);
                self.read_use(&import.tree, Vec::new(), is_exported);
            }
        }
    }

    fn read_use(&mut self, tree: &syn::UseTree, mut path: Vec<(String, usize)>, is_exported: bool) {
        match tree {
            syn::UseTree::Path(part) => {
                path.push((part.ident.to_string(), part.ident.span().start().line));
                self.read_use(&part.tree, path, is_exported);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(tree, path.clone(), is_exported);
                }
            }
            syn::UseTree::Name(last) if last.ident == "self" => {
                let name = path
                    .last()
                    .map(|(name, _)| name.clone())
                    .unwrap_or_default();
                self.bind(&path, name, is_exported);
            }
            syn::UseTree::Name(last) => {
                path.push((last.ident.to_string(), last.ident.span().start().line));
                self.bind(&path, last.ident.to_string(), is_exported);
            }
            syn::UseTree::Rename(last) => {
                if last.ident != "self" {
                    path.push((last.ident.to_string(), last.ident.span().start().line));
                }
                self.bind(&path, last.rename.to_string(), is_exported);
            }
            syn::UseTree::Glob(_) => self.bind(&path, String::new(), false),
        }
    }

    /// Records a finished `use` path: a mention, a local name, and perhaps a re-export.
    fn bind(&mut self, path: &[(String, usize)], name: String, is_exported: bool) {
        let segments: Vec<String> = path.iter().map(|(segment, _)| segment.clone()).collect();
        let Some(absolute) = self.absolute(&segments) else {
            return;
        };
        let line = path.last().map_or(1, |(_, line)| *line);
        if is_exported {
            self.names
                .exports
                .insert((self.module.clone(), name.clone()), absolute.clone());
        }
        if !name.is_empty() && name != "_" {
            self.aliases.insert(name, absolute.clone());
        }
        self.mention(absolute, line);
    }

    fn mention(&mut self, to: Vec<String>, line: usize) {
        self.mentions.push(Mention {
            from: self.module.clone(),
            to,
            line,
        });
    }

    /// The path from the crate's root, or `None` where it leads out of the crate.
    fn absolute(&self, segments: &[String]) -> Option<Vec<String>> {
        let (first, rest) = segments.split_first()?;
        let mut base = match first.as_str() {
            "crate" if self.module == "main" => vec!["main".to_owned()],
            "crate" => Vec::new(),
            name if name == self.library => Vec::new(),
            "self" => self.scope.clone(),
            "super" => {
                let mut scope = self.scope.clone();
                scope.pop();
                scope
            }
            name => {
                let mut child = self.scope.clone();
                child.push(name.to_owned());
                if self.names.modules.contains(&child.join("::")) {
                    child
                } else {
                    self.aliases.get(name)?.clone()
                }
            }
        };
        let mut rest = rest;
        while let Some((next, further)) = rest.split_first()
            && next == "super"
        {
            base.pop();
            rest = further;
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// Finds `a::b::c` in the tokens of a macro, which syn leaves unparsed.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<(String, usize)> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.finish(&mut path);
                    }
                    path.push((ident.to_string(), ident.span().start().line));
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.finish(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.scan_group(&group, &mut path);
                    }
                }
            }
        }
        self.finish(&mut path);
    }

    fn scan_group(&mut self, group: &proc_macro2::Group, path: &mut Vec<(String, usize)>) {
        path.clear();
        self.scan(group.stream());
    }

    fn finish(&mut self, path: &mut Vec<(String, usize)>) {
        if path.len() > 1 {
            let line = path.first().map_or(1, |(_, line)| *line);
            let segments: Vec<String> = path.iter().map(|(segment, _)| segment.clone()).collect();
            if let Some(absolute) = self.absolute(&segments) {
                self.mention(absolute, line);
            }
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test_only(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if let Some((_, items)) = &module.content {
            self.scope.push(module.ident.to_string());
            let outer = self.aliases.clone();
            self.collect_uses(items);
            visit::visit_item_mod(self, module);
            self.aliases = outer;
            self.scope.pop();
        }
    }

    /// A block's own `use`; those of the file were read first, and reading twice adds nothing.
    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        self.read_use(&import.tree, Vec::new(), false);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let mut segments: Vec<_> = path
                .segments
                .iter()
                .map(|segment| (segment.ident.to_string(), segment.ident.span().start().line))
                .collect();
            if path.leading_colon.is_none() {
                self.finish(&mut segments);
            }
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.scan(invocation.tokens.clone());
        visit::visit_macro(self, invocation);
    }
}

/// A chain of re-exports longer than this is a cycle of re-exports.
const HOPS_MAX: usize = 16;
