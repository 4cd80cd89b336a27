//! Whether a committed object is what the source says.

use object::{Object as _, ObjectSection as _};

use super::objects::Object;
use crate::command::Failure;

/// Byte for byte where the same toolchain made both; else the sections that the kernel gets:
/// programs, maps and globals.
pub(super) fn same(
    committed: &Object,
    built: &Object,
    same_toolchain: bool,
) -> Result<(), Failure> {
    let name = committed.name;
    if same_toolchain {
        if committed.bytes == built.bytes {
            println!("{name}: the same bytes as from the source");
            return Ok(());
        }
        return Err(Failure::new(format!(
            "{name}: the committed object differs from the source's: {}; `cargo xtask ebpf build` and commit",
            difference(committed, built)?.unwrap_or_else(|| "outside of programs and maps".into())
        )));
    }
    match difference(committed, built)? {
        None => {
            println!(
                "{name}: made by another toolchain (see TOOLCHAIN); programs and maps are the same"
            );
            Ok(())
        }
        Some(difference) => Err(Failure::new(format!(
            "{name}: made by another toolchain, and differs in {difference}: `cargo xtask ebpf build` and commit"
        ))),
    }
}

/// The first section that differs, of those that decide what the kernel runs.
fn difference(one: &Object, other: &Object) -> Result<Option<String>, Failure> {
    let (one, other) = (sections(one)?, sections(other)?);
    if one.len() != other.len() {
        return Ok(Some("the list of sections".into()));
    }
    let mut pairs = one.into_iter().zip(other);
    Ok(pairs
        .find(|(one, other)| one != other)
        .map(|(one, _)| one.0))
}

fn sections(object: &Object) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let at = |error| Failure::new(format!("{}: {error}", object.name));
    let file = object::File::parse(&*object.bytes).map_err(at)?;
    let mut sections = Vec::new();
    for section in file.sections() {
        let name = section.name().map_err(at)?;
        if !name.starts_with(".BTF") && !name.starts_with(".rel.BTF") && !TABLES.contains(&name) {
            sections.push((name.to_owned(), section.data().map_err(at)?.to_vec()));
        }
    }
    Ok(sections)
}

/// Symbols and names follow the order in which a compiler meets them.
const TABLES: [&str; 3] = [".strtab", ".symtab", ""];
