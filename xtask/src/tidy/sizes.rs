//! Nothing outgrows a reader: files by their production lines, functions by their whole span.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Finding;
use super::source::{Source, Tree, attributes, is_test_only, line_span};

const FILE_LINES_MAX: usize = 500;
const TEST_FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in &tree.sources {
        check_file(source, findings);
        let mut functions = Functions { source, findings };
        functions.visit_file(&source.syntax);
    }
}

fn check_file(source: &Source, findings: &mut Vec<Finding>) {
    let (lines, limit, kind) = if source.is_test {
        (source.lines, TEST_FILE_LINES_MAX, "test")
    } else {
        (production_lines(source), FILE_LINES_MAX, "production")
    };
    if lines > limit {
        let message = format!(
            "{lines} {kind} lines, {limit} are allowed: move what has a name of its own to a file of that name"
        );
        findings.push(Finding::new(&source.path, 1, message));
    }
}

/// All lines less those of inline `#[cfg(test)]` items.
fn production_lines(source: &Source) -> usize {
    let tests: usize = source
        .syntax
        .items
        .iter()
        .filter(|item| is_test_only(attributes(item)))
        .map(|item| {
            let (first, last) = line_span(item);
            last - first + 1
        })
        .sum();
    source.lines.saturating_sub(tests)
}

struct Functions<'a> {
    source: &'a Source,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line - first + 1;
        if lines > FUNCTION_LINES_MAX {
            let message = format!(
                "function `{}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed: keep the control flow here and move its leaves out",
                signature.ident
            );
            self.findings
                .push(Finding::new(&self.source.path, first, message));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
