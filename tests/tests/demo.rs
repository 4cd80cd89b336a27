//! `herald demo --once`, as a newcomer would run it: no root, no files, no configuration.

use std::process::{Command, Output};

use herald_tests::herald::binary;

fn demo(arguments: &[&str]) -> Output {
    Command::new(binary())
        .arg("demo")
        .args(arguments)
        .output()
        .expect("the binary starts")
}

#[test]
fn every_row_of_the_demonstration_is_right() {
    let output = demo(&["--once"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.trim_start().starts_with('✓'))
        .collect();
    for (who, told) in [
        ("no certificate", "NONE"),
        ("good certificate", "SUCCESS"),
        ("expired", "FAILED:certificate has expired"),
        ("not yet valid", "FAILED:certificate is not yet valid"),
        ("self-signed", "FAILED:self signed certificate"),
        ("wrong CA", "FAILED:unable to verify the first certificate"),
        ("forged X_CERT_VERIFY", "NONE"),
        ("forged in a trailer", "NONE"),
        ("forged over HTTP/2", "NONE"),
    ] {
        assert!(
            rows.iter()
                .any(|row| row.contains(who) && row.contains(told)),
            "no row `{who}` with `{told}` in:\n{text}"
        );
    }
    assert!(!text.contains('✗'), "{text}");
    assert!(
        text.contains(&format!("{0} of {0} rows are right.", rows.len())),
        "{text}"
    );
}

#[test]
fn the_demonstration_cleans_up_after_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(binary())
        .args(["demo", "--once"])
        .env("TMPDIR", folder.path())
        .output()
        .expect("the binary starts");
    assert!(output.status.success());
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
