//! The kernel objects: embedded, loaded with the maps they share, their programs taken out one by
//! one. Refuses an object of another layout; an error becomes one line that a person can act on.

use std::error::Error;

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
pub(super) struct Settings {
    /// How many workers there are.
    pub(super) workers: u32,
    /// Whether somebody reads the events of connections that end.
    pub(super) tells_ends: bool,
}

impl Loaded {
    /// Makes the maps.
    pub(super) fn new(which: Which, settings: Settings) -> Result<Self, String> {
        let mut loader = EbpfLoader::new();
        // No program reads a structure of the kernel, so its types need not be parsed.
        loader
            .btf(None)
            .verifier_log_level(VerifierLogLevel::DISABLE);
        loader.override_global(LAYOUT_GLOBAL, &LAYOUT_VERSION, true);
        loader.override_global("WORKER_COUNT", &settings.workers, true);
        let wants_events = u32::from(settings.tells_ends);
        loader.override_global("WANTS_EVENTS", &wants_events, which == Which::All);
        let bytes = match which {
            Which::All => STEERING,
            Which::ReuseportAlone => BALANCE,
        };
        let ebpf = loader.load(bytes).map_err(|error| one_line(&error))?;
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
const LINE_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("loading failed")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_missing_right_is_named() {
        let error = Outer(std::io::Error::from_raw_os_error(1));
        let line = one_line(&error);
        assert!(
            line.starts_with("loading failed: Operation not permitted"),
            "{line}"
        );
        assert!(line.contains("CAP_BPF"), "{line}");
        let other = one_line(&Outer(std::io::Error::from_raw_os_error(22)));
        assert!(!other.contains("CAP_BPF"), "{other}");
    }
}
