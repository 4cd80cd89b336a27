//! `cargo xtask package`: the Debian package of the release binary, with the manual page and the
//! completions that the binary itself prints, and a look into what came out.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::guided;
use crate::command::{self, Failure};

/// Builds the package below `target/package` and checks it.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    // The list of assets in proxy/Cargo.toml names this folder.
    let folder = root.join("target/package");
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
    command::have_subcommand(root, "deb", CARGO_DEB)?;
    let herald = command::timed("build herald by a profile of its work", || {
        guided::build(root)
    })?;
    for (file, arguments) in GENERATED {
        let text = command::read(Command::new(&herald).args(*arguments))?;
        let path = folder.join(file);
        fs::write(&path, text)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    }
    let package = folder.join("herald.deb");
    command::timed("build the package", || {
        let mut deb = command::cargo(root);
        deb.args(["deb", "--package", "proxy", "--no-build", "--output"]);
        // Of the assets only what cargo built is looked for there.
        if let Some(built) = herald.parent().and_then(Path::parent) {
            deb.env("CARGO_TARGET_DIR", built);
        }
        command::run(deb.arg(&package))
    })?;
    check(&package)?;
    println!("{}", package.display());
    Ok(())
}

/// What the package must hold, in a place where it is found, and what its scripts must do.
fn check(package: &Path) -> Result<(), Failure> {
    let contents = command::read(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    let control =
        |field: &str| command::read(Command::new("dpkg-deb").arg("-f").arg(package).arg(field));
    let postinst = command::read(
        Command::new("dpkg-deb")
            .arg("--info")
            .arg(package)
            .arg("postinst"),
    )?;
    let files: Vec<(&str, &str)> = contents
        .lines()
        .filter_map(|line| {
            Some((
                line.split_whitespace().next()?,
                line.split_whitespace().nth(5)?,
            ))
        })
        .collect();
    let mut missing: Vec<String> = FILES
        .iter()
        .filter(|wanted| !files.contains(wanted))
        .map(|(mode, path)| format!("{mode} {path}"))
        .collect();
    for wanted in ["adduser --system", "deb-systemd-helper"] {
        if !postinst.contains(wanted) {
            missing.push(format!("`{wanted}` in postinst"));
        }
    }
    if control("Package")?.trim() != "herald" || !control("Depends")?.contains("libc6") {
        missing.push("its name, or libc6 among what it depends on".to_owned());
    }
    if missing.is_empty() {
        println!("the package holds {} files and folders", files.len());
        lint(package)
    } else {
        let found = missing.join("\n  ");
        Err(Failure::new(format!(
            "the package lacks\n  {found}\n{contents}"
        )))
    }
}

/// Debian's own judge, where it is installed.
fn lint(package: &Path) -> Result<(), Failure> {
    if !command::succeeds(Command::new("lintian").arg("--version")) {
        println!("SKIPPED lintian: it is not here");
        return Ok(());
    }
    command::run(
        Command::new("lintian")
            .args(["--fail-on", "error", "--suppress-tags", ACCEPTED])
            .arg(package),
    )
}

/// What `herald` prints, and into which file.
const GENERATED: &[(&str, &[&str])] = &[
    ("herald.1", &["man"]),
    ("herald.bash", &["completions", "bash"]),
    ("_herald", &["completions", "zsh"]),
    ("herald.fish", &["completions", "fish"]),
];

const FILES: [(&str, &str); 11] = [
    ("-rwxr-xr-x", "./usr/bin/herald"),
    ("-rw-r--r--", "./etc/herald/herald.toml"),
    ("-rw-r--r--", "./usr/lib/systemd/system/herald.service"),
    ("-rw-r--r--", "./usr/share/man/man1/herald.1.gz"),
    (
        "-rw-r--r--",
        "./usr/share/bash-completion/completions/herald",
    ),
    ("-rw-r--r--", "./usr/share/zsh/vendor-completions/_herald"),
    (
        "-rw-r--r--",
        "./usr/share/fish/vendor_completions.d/herald.fish",
    ),
    ("-rw-r--r--", "./usr/share/doc/herald/examples/worker.toml"),
    ("-rw-r--r--", "./usr/share/doc/herald/copyright"),
    ("-rw-r--r--", "./usr/share/doc/herald/changelog.Debian.gz"),
    ("-rw-r--r--", "./usr/share/doc/herald/config.md"),
];

/// The package closes no bug of Debian's, for it is not part of Debian.
const ACCEPTED: &str = "initial-upload-closes-no-bugs";

const CARGO_DEB: &str = "3.8.0";
