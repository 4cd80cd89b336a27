//! Builds the binary under test and the test binaries, and finds out where cargo put them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::command::{self, Failure};

/// One test executable, with the folder cargo would run it in.
#[derive(Debug)]
pub(crate) struct TestBinary {
    /// `proxy`, `xtask`, or for a black-box binary `herald-tests::spoofing`.
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    pub(crate) folder: PathBuf,
    /// Drives the real binary from outside.
    pub(crate) is_black_box: bool,
}

/// Builds `herald` as operators run it; returns its path.
pub(crate) fn herald(root: &Path, target: &Path) -> Result<PathBuf, Failure> {
    command::run(command::cargo(root).args([
        "build",
        "--release",
        "--locked",
        "-p",
        "proxy",
        "--bin",
        "herald",
    ]))?;
    let path = target.join("release/herald");
    if path.is_file() {
        Ok(path)
    } else {
        Err(Failure::new(format!("cargo built no {}", path.display())))
    }
}

/// Builds every test of the workspace; unit tests come first in the returned order.
pub(crate) fn tests(root: &Path) -> Result<Vec<TestBinary>, Failure> {
    let messages = command::read(command::cargo(root).args([
        "test",
        "--no-run",
        "--workspace",
        "--locked",
        "--message-format=json-render-diagnostics",
    ]))?;
    let mut binaries = messages
        .lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| {
                Failure::new(format!(
                    "cargo's message is not as expected: {error}: {line}"
                ))
            })
        })
        .filter_map(|message: Result<Message, _>| message.map(Message::into_test).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    binaries.sort_by(|a, b| (a.is_black_box, &a.name).cmp(&(b.is_black_box, &b.name)));
    Ok(binaries)
}

/// The part of cargo's JSON messages that tells of a built executable.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Message {
    fn into_test(self) -> Option<TestBinary> {
        let (target, executable) = (self.target?, self.executable?);
        if !self.profile?.test {
            return None;
        }
        let folder = self.manifest_path?.parent()?.to_owned();
        let package = folder.file_name()?.to_str()?.to_owned();
        let is_integration = target.kind.iter().any(|kind| kind == "test");
        let is_binary = target.kind.iter().any(|kind| kind == "bin");
        let name = if is_integration || (is_binary && target.name != package) {
            format!("{package}::{}", target.name)
        } else {
            package.clone()
        };
        Some(TestBinary {
            name,
            executable,
            folder,
            is_black_box: is_integration && package == "tests",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, name: &str, manifest: &str, test: bool) -> Option<TestBinary> {
        let text = format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","target":{{"name":"{name}","kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":"/x"}}"#
        );
        serde_json::from_str::<Message>(&text).unwrap().into_test()
    }

    #[test]
    fn an_integration_test_of_the_tests_package_is_black_box() {
        let binary = message("test", "spoofing", "/a/tests/Cargo.toml", true).unwrap();
        assert!(binary.is_black_box);
        assert_eq!(binary.name, "tests::spoofing");
        assert!(
            !message("test", "alloc", "/a/proxy/Cargo.toml", true)
                .unwrap()
                .is_black_box
        );
        assert!(
            !message("lib", "herald_tests", "/a/tests/Cargo.toml", true)
                .unwrap()
                .is_black_box
        );
    }

    #[test]
    fn what_is_no_test_is_left_out() {
        assert!(message("bin", "herald", "/a/proxy/Cargo.toml", false).is_none());
        let other: Message =
            serde_json::from_str(r#"{"reason":"build-finished","success":true}"#).unwrap();
        assert!(other.into_test().is_none());
    }
}
