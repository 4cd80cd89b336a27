//! Each rule is shown to bite on a small tree that breaks it, and to let the mended one pass.

use super::*;

const TABLE: &str = r#"
[package]
folder = "proxy"
library = "herald"

[[row]]
name = "leaves"
chains = [["net", "config"], ["sys"]]

[[row]]
name = "stages"
chains = [["tls", "identity"], ["log"]]

[[row]]
name = "driver"
chains = [["connection"]]

[[row]]
name = "binary"
chains = [["main"]]

[[unsafe]]
path = "proxy/src/sys"
reason = "system calls"
"#;

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()))
        .collect();
    files.push((PathBuf::from("proxy/src/lib.rs"), b"pub mod net;".to_vec()));
    let tree = source::Tree::from_files(files);
    let table = layers::Table::parse(TABLE).unwrap();
    check(&tree, &table)
        .iter()
        .map(Finding::to_string)
        .collect()
}

fn only(files: &[(&str, &str)]) -> String {
    let found = findings(files);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

fn none(files: &[(&str, &str)]) {
    let found = findings(files);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_downward_import_passes() {
    none(&[
        ("proxy/src/net.rs", "pub struct A;"),
        ("proxy/src/tls.rs", "use crate::net::A; fn f(_: A) {}"),
        ("proxy/src/identity.rs", "use crate::{net::A, tls};"),
        ("proxy/src/main.rs", "fn main() { herald::identity::f(); }"),
    ]);
}

#[test]
fn an_upward_import_names_its_line_and_both_layers() {
    let found = only(&[
        ("proxy/src/connection.rs", ""),
        ("proxy/src/tls.rs", "\n\nuse crate::connection::Connection;"),
    ]);
    assert!(
        found.starts_with("proxy/src/tls.rs:3: `tls` imports `connection`"),
        "{found}"
    );
    assert!(
        found.contains("from layer `stages` to layer `driver`"),
        "{found}"
    );
}

#[test]
fn an_inline_path_is_an_import() {
    let found = only(&[
        ("proxy/src/connection.rs", ""),
        (
            "proxy/src/tls.rs",
            "fn f() -> u8 {\n    crate::connection::g()\n}",
        ),
    ]);
    assert!(found.starts_with("proxy/src/tls.rs:2:"), "{found}");
}

#[test]
fn a_path_inside_a_macro_is_an_import() {
    let found = only(&[
        ("proxy/src/connection.rs", ""),
        (
            "proxy/src/tls.rs",
            "fn f() {\n    info!(a = [1], b = (crate::connection::NAME));\n}",
        ),
    ]);
    assert!(found.starts_with("proxy/src/tls.rs:2:"), "{found}");
}

#[test]
fn super_reaches_a_neighbour_of_the_parent() {
    let found = only(&[
        ("proxy/src/connection.rs", ""),
        ("proxy/src/tls.rs", "mod verdict;"),
        (
            "proxy/src/tls/verdict.rs",
            "use super::super::connection::X;",
        ),
    ]);
    assert!(
        found.contains("`tls::verdict` imports `connection`"),
        "{found}"
    );
}

#[test]
fn a_chain_is_read_leftward_only() {
    let found = only(&[
        ("proxy/src/identity.rs", ""),
        ("proxy/src/tls.rs", "use crate::identity as who;"),
    ]);
    assert!(
        found.contains("which comes later in layer `stages`"),
        "{found}"
    );
}

#[test]
fn chains_of_one_row_do_not_know_each_other() {
    let found = only(&[
        ("proxy/src/tls.rs", ""),
        ("proxy/src/log.rs", "use crate::tls::*;"),
    ]);
    assert!(found.contains("beside it in layer `stages`"), "{found}");
}

#[test]
fn a_module_without_a_place_is_refused() {
    let found = only(&[("proxy/src/util.rs", "")]);
    assert!(found.contains("`util` has no place"), "{found}");
}

#[test]
fn a_cycle_of_siblings_is_refused() {
    let found = only(&[
        ("proxy/src/tls.rs", "mod a; mod b; mod c;"),
        ("proxy/src/tls/a.rs", "use super::b::B;"),
        ("proxy/src/tls/b.rs", "fn f() { super::c::g() }"),
        ("proxy/src/tls/c.rs", "use crate::tls::a::A;"),
    ]);
    assert!(
        found.contains("module cycle: tls::a -> tls::b -> tls::c -> tls::a"),
        "{found}"
    );
}

#[test]
fn a_cycle_through_a_re_export_is_refused() {
    let found = only(&[
        ("proxy/src/tls.rs", "mod a; mod b; pub use a::A;"),
        ("proxy/src/tls/a.rs", "use super::b::B; pub struct A;"),
        ("proxy/src/tls/b.rs", "use crate::tls::A; pub struct B;"),
    ]);
    assert!(
        found.contains("module cycle: tls::a -> tls::b -> tls::a"),
        "{found}"
    );
}

#[test]
fn parent_and_child_may_name_each_other() {
    none(&[
        ("proxy/src/tls.rs", "mod a; use a::A; pub struct T(A);"),
        ("proxy/src/tls/a.rs", "use super::T; pub struct A;"),
    ]);
}

#[test]
fn test_code_may_know_more() {
    none(&[
        ("proxy/src/connection.rs", ""),
        (
            "proxy/src/tls.rs",
            "#[cfg(test)] mod tests;\n#[cfg(test)]\nmod inline { use crate::connection::X; }",
        ),
        ("proxy/src/tls/tests.rs", "use crate::connection::X;"),
    ]);
}

#[test]
fn unsafe_stays_in_its_fence_and_is_found_inside_macros() {
    none(&[
        ("proxy/src/sys.rs", "unsafe fn f() {}"),
        ("proxy/src/sys/fd.rs", "unsafe fn f() {}"),
        ("proxy/src/tls.rs", "// unsafe\nconst S: &str = \"unsafe\";"),
    ]);
    let found = only(&[("proxy/src/tls.rs", "fn f() {\n    m! { unsafe { g() } }\n}")]);
    assert!(
        found.starts_with("proxy/src/tls.rs:2: `unsafe` here"),
        "{found}"
    );
    let found = only(&[("proxy/src/log.rs", "unsafe impl Send for X {}")]);
    assert!(found.contains("`unsafe` here"), "{found}");
}

#[test]
fn left_over_macros_are_refused() {
    for name in ["todo", "unimplemented", "dbg"] {
        let found = only(&[("proxy/src/tls.rs", &format!("fn f() {{ {name}!() }}"))]);
        assert!(
            found.contains(&format!("`{name}!` is left over")),
            "{found}"
        );
    }
}

#[test]
fn a_dead_link_between_pages_is_refused() {
    let page = "[a](../README.md#top), [b](ARCHITECTURE.md), [c](../proxy/src), [d](https://example.org/x)";
    none(&[
        ("README.md", ""),
        ("docs/ARCHITECTURE.md", page),
        ("proxy/src/net.rs", ""),
    ]);
    let found = only(&[("docs/a.md", "\nsee [b](b.md)")]);
    assert!(
        found.starts_with("docs/a.md:2: the link to `b.md` leads nowhere"),
        "{found}"
    );
}

#[test]
fn a_mod_rs_is_refused() {
    let found = only(&[("tests/src/world/mod.rs", "")]);
    assert!(found.contains("is a mod.rs"), "{found}");
}

#[test]
fn a_file_is_measured_without_its_inline_tests() {
    let production = "const A: u8 = 0;\n".repeat(500);
    let tests = format!(
        "#[cfg(test)]\nmod tests {{\n{}}}\n",
        "const B: u8 = 0;\n".repeat(100)
    );
    none(&[("proxy/src/tls.rs", &format!("{production}{tests}"))]);
    let found = only(&[(
        "proxy/src/tls.rs",
        &format!("{production}const C: u8 = 0;\n{tests}"),
    )]);
    assert!(
        found.contains("501 production lines, 500 are allowed"),
        "{found}"
    );
}

#[test]
fn a_test_file_may_have_800_lines() {
    none(&[("tests/tests/a.rs", &"// x\n".repeat(800))]);
    let found = only(&[("tests/tests/a.rs", &"// x\n".repeat(801))]);
    assert!(found.contains("801 test lines, 800 are allowed"), "{found}");
}

#[test]
fn a_function_may_have_70_lines_wherever_it_stands() {
    let function = |lines: usize| format!("fn f() {{\n{}}}", "    g();\n".repeat(lines - 2));
    none(&[("proxy/src/tls.rs", &function(70))]);
    for text in [
        function(71),
        format!("impl A {{ {} }}", function(71)),
        format!("trait A {{ {} }}", function(71)),
    ] {
        let found = only(&[("proxy/src/tls.rs", &text)]);
        assert!(
            found.contains("function `f` has 71 lines, 70 are allowed"),
            "{found}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_parsed_is_a_finding() {
    let found = only(&[("benches/src/lib.rs", "fn f( {")]);
    assert!(found.contains("cannot be parsed"), "{found}");
}

#[test]
fn a_missing_package_is_a_finding_and_not_a_pass() {
    let tree = source::Tree::from_files(vec![]);
    let table = layers::Table::parse(TABLE).unwrap();
    assert_eq!(check(&tree, &table).len(), 1);
}

#[test]
fn the_table_refuses_unknown_keys_and_fences_without_a_reason() {
    layers::Table::parse(&TABLE.replace("name =", "nmae =")).unwrap_err();
    layers::Table::parse(&TABLE.replace("system calls", " ")).unwrap_err();
}
