//! Herald's own kernel programs, loaded and attached by a test, whose tables the test fills by itself.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapError, PerCpuArray, ReusePortSockArray, SkStorage};
use aya::programs::{CgroupAttachMode, Program, ProgramError, SkLookup, SkReuseport, SockOps};
use aya::{Ebpf, EbpfLoader};
use proxy_common::load::WORKERS_MAX;
use proxy_common::rate::PREFIXES_MAX;
use proxy_common::{
    Address, Counter, LAYOUT_GLOBAL, LAYOUT_VERSION, Prefix, SocketMark, SourceLive, WorkerLoad,
};

use crate::lookup::prefix_of;
use crate::wait;

/// The object; what is attached is gone when it is dropped, but for a reuseport group, which keeps its program.
#[derive(Debug)]
pub struct Programs(Ebpf);

impl Programs {
    /// With its maps, empty.
    pub fn load(workers: u32) -> Self {
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        loader.override_global(LAYOUT_GLOBAL, &LAYOUT_VERSION, true);
        loader.override_global("WORKER_COUNT", &workers, true);
        loader.override_global("WANTS_EVENTS", &0_u32, true);
        Self(loader.load(OBJECT).unwrap())
    }

    /// sockops, on a control group.
    #[must_use]
    pub fn on(mut self, group: &Path) -> Self {
        let program: &mut SockOps = self.program("herald_sockops");
        program.load().unwrap();
        let group = File::open(group).unwrap();
        program.attach(group, CgroupAttachMode::Single).unwrap();
        self
    }

    /// sk_lookup, on this network namespace; may be called again, and then it is asked so often.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub fn look_up(&mut self) -> Result<(), ProgramError> {
        let program: &mut SkLookup = self.program("herald_lookup");
        if program.fd().is_err() {
            program.load()?;
        }
        // The thread's, which is in one of its own; `self` has the first thread's.
        let namespace = File::open("/proc/thread-self/ns/net").unwrap();
        program.attach(namespace).map(drop)
    }

    /// sk_reuseport, among the sockets of a worker each that listen on the address of `service`.
    pub fn balance(&mut self, service: u32, address: Address, sockets: &[impl AsFd + AsRawFd]) {
        let mut slots: ReusePortSockArray<_> = self.map("SOCKETS");
        for (worker, socket) in (0..).zip(sockets) {
            slots
                .set(service * WORKERS_MAX + worker, socket, 0)
                .unwrap();
        }
        let mut services: HashMap<_, Address, u32> = self.map("SERVICES");
        services.insert(address, service, 0).unwrap();
        let program: &mut SkReuseport = self.program("herald_balance");
        if program.fd().is_err() {
            program.load().unwrap();
        }
        program.attach(sockets.first().unwrap()).unwrap();
    }

    /// What a worker would have published.
    pub fn publish(&mut self, worker: u32, load: WorkerLoad) {
        let mut workers: Array<_, WorkerLoad> = self.map("WORKERS");
        workers.set(worker, load, 0).unwrap();
    }

    /// Makes a socket one of the service's own.
    pub fn mark(&mut self, socket: &impl AsRawFd, mark: SocketMark) {
        let mut marks: SkStorage<_, SocketMark> = self.map("MARKS");
        marks.insert(socket, mark, 0).unwrap();
    }

    /// How often this was decided.
    pub fn count(&self, counter: Counter) -> u64 {
        let counts = PerCpuArray::<_, u64>::try_from(self.0.map("COUNTS").unwrap()).unwrap();
        counts.get(&counter.index(), 0).unwrap().iter().sum()
    }

    /// Who has live connections, and how many.
    pub fn sources(&mut self) -> Vec<(Prefix, u32)> {
        let table: HashMap<_, Prefix, SourceLive> = self.map("SOURCES");
        let entries = table.iter().take(2 * PREFIXES_MAX as usize);
        let entries = entries.map(Result::unwrap);
        entries
            .map(|(prefix, value)| (prefix, value.live))
            .collect()
    }

    /// Waits until these sources have so many, and nobody else has an entry.
    pub fn await_sources(&mut self, expected: &[(&str, u32)]) {
        let of = |source: &str| prefix_of(source.parse().unwrap());
        let expected = expected.iter().map(|(source, live)| (of(source), *live));
        let expected: Vec<_> = expected.collect();
        wait::until(&format!("{expected:?} to be the sources"), || {
            let all = self.sources();
            let are_there = expected.iter().all(|entry| all.contains(entry));
            (are_there && all.len() == expected.len()).then_some(())
        });
    }

    /// A table by its name.
    pub fn map<'a, M>(&'a mut self, name: &str) -> M
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        M::try_from(self.0.map_mut(name).unwrap()).unwrap()
    }

    fn program<'a, P>(&'a mut self, name: &str) -> &'a mut P
    where
        &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        self.0.program_mut(name).unwrap().try_into().unwrap()
    }
}

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../proxy/ebpf/steering.bpf.o");
