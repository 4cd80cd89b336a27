//! The kernel objects: embedded or from a folder, loaded with the maps they share, their programs
//! taken out one by one. Refuses an object of another layout; an error becomes one line that a
//! person can act on, with the name of the file if there is one.

use std::borrow::Cow;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aya::maps::{Map, MapError};
use aya::programs::{SkLookup, SkReuseport, SockOps};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use proxy_common::{LAYOUT_GLOBAL, LAYOUT_VERSION};

/// An object in the kernel, its programs not yet attached.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
}

/// The object with all programs, or the one for who may not touch the network's configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Which {
    All,
    ReuseportAlone,
}

/// What the programs know from the load on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings<'a> {
    /// Where the objects are, if not in here.
    pub(super) folder: Option<&'a Path>,
    /// How many workers there are.
    pub(super) workers: u32,
    /// Whether somebody reads the events of connections that end.
    pub(super) tells_ends: bool,
}

impl Which {
    fn object(self, folder: Option<&Path>) -> Result<Cow<'static, [u8]>, String> {
        match (folder, self) {
            (Some(folder), _) => read(&folder.join(self.file())).map(Cow::Owned),
            (None, Self::All) => Ok(Cow::Borrowed(STEERING)),
            (None, Self::ReuseportAlone) => Ok(Cow::Borrowed(BALANCE)),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::All => "steering.bpf.o",
            Self::ReuseportAlone => "balance.bpf.o",
        }
    }
}

impl Loaded {
    /// Makes the maps.
    pub(super) fn new(which: Which, settings: Settings<'_>) -> Result<Self, String> {
        let mut loader = EbpfLoader::new();
        // No program reads a structure of the kernel, so its types need not be parsed.
        loader
            .btf(None)
            .verifier_log_level(VerifierLogLevel::DISABLE);
        loader.override_global(LAYOUT_GLOBAL, &LAYOUT_VERSION, true);
        loader.override_global("WORKER_COUNT", &settings.workers, true);
        let wants_events = u32::from(settings.tells_ends);
        loader.override_global("WANTS_EVENTS", &wants_events, which == Which::All);
        let bytes = which.object(settings.folder)?;
        let ebpf = loader.load(&bytes).map_err(|error| {
            let reason = one_line(&error);
            match settings.folder {
                Some(folder) => format!("{}: {reason}", folder.join(which.file()).display()),
                None => reason,
            }
        })?;
        Ok(Self { ebpf })
    }

    pub(super) fn reuseport(&mut self) -> Result<&mut SkReuseport, String> {
        let program = self.ebpf.program_mut("herald_balance").ok_or(NO_PROGRAM)?;
        let program: &mut SkReuseport = program.try_into().map_err(|error| one_line(&error))?;
        if program.fd().is_err() {
            program.load().map_err(|error| one_line(&error))?;
        }
        Ok(program)
    }

    pub(super) fn sockops(&mut self) -> Result<&mut SockOps, String> {
        let program = self.ebpf.program_mut("herald_sockops").ok_or(NO_PROGRAM)?;
        let program: &mut SockOps = program.try_into().map_err(|error| one_line(&error))?;
        if program.fd().is_err() {
            program.load().map_err(|error| one_line(&error))?;
        }
        Ok(program)
    }

    pub(super) fn lookup(&mut self) -> Result<&mut SkLookup, String> {
        let program = self.ebpf.program_mut("herald_lookup").ok_or(NO_PROGRAM)?;
        let program: &mut SkLookup = program.try_into().map_err(|error| one_line(&error))?;
        if program.fd().is_err() {
            program.load().map_err(|error| one_line(&error))?;
        }
        Ok(program)
    }

    /// The map `name`, which the programs know as an `M`.
    pub(super) fn map<'a, M>(&'a mut self, name: &str) -> Result<M, String>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        M::try_from(self.raw_map(name)?).map_err(|error| one_line(&error))
    }

    pub(super) fn raw_map(&mut self, name: &str) -> Result<&mut Map, String> {
        self.ebpf
            .map_mut(name)
            .ok_or_else(|| format!("the kernel object has no map {name}"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        file.take(OBJECT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        match u64::try_from(bytes.len()) {
            Ok(length) if length <= OBJECT_BYTES_MAX => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        }
    });
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes)
}

/// An error with all its causes, without a verifier's log.
pub(super) fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    let line = text.lines().next().unwrap_or_default();
    let mut line: String = line.chars().take(LINE_MAX).collect();
    if text.contains("os error 1)") {
        line.push_str("; needs CAP_BPF, and all but sk_reuseport CAP_NET_ADMIN");
    }
    line
}

static STEERING: &[u8] = aya::include_bytes_aligned!("../../ebpf/steering.bpf.o");
static BALANCE: &[u8] = aya::include_bytes_aligned!("../../ebpf/balance.bpf.o");

const NO_PROGRAM: &str = "the kernel object has no such program";
/// Those of a debug build have 90 kilobytes.
const OBJECT_BYTES_MAX: u64 = 4 * 1024 * 1024;
const LINE_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("loading failed")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_missing_right_is_named() {
        let error = Outer(io::Error::from_raw_os_error(1));
        let line = one_line(&error);
        assert!(
            line.starts_with("loading failed: Operation not permitted"),
            "{line}"
        );
        assert!(line.contains("CAP_BPF"), "{line}");
        let other = one_line(&Outer(io::Error::from_raw_os_error(22)));
        assert!(!other.contains("CAP_BPF"), "{other}");
    }
}
