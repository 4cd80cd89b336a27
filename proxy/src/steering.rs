//! The kernel's help with new connections: three programs, of which each that can be had is
//! attached, and each that can't is told with its reason. Started before any socket is made, since
//! a socket belongs to the control group in which it is made; given the listening sockets when
//! they are bound and when they listen. All of it goes when this value or its process goes.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{HashMap, Map, PerCpuArray, ReusePortSockArray, RingBuf, SkStorage};
use aya::programs::CgroupAttachMode;
use aya::programs::sock_ops::SockOpsLink;
use proxy_common::load::WORKERS_MAX;
use proxy_common::mark::ROLE_CLIENT;
use proxy_common::{Address, Counter, SERVICES_MAX, SocketMark, TcpProfile};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::config::Config;
use crate::config::flags::EbpfMode;
use crate::config::steer::Steer;
use crate::sys::load::{LoadSlot, SharedLoads};
use crate::sys::marks::Marks;
use crate::telemetry::KernelSources;

mod cgroup;
mod events;
mod object;
mod refuse;
mod report;
mod sources;
mod steer;
mod told;
mod wanted;

use cgroup::{OwnCgroup, Place};
pub use events::CloseEvents;
use object::{Loaded, Settings, Which, one_line};
pub use report::{Report, Standing};
use told::Told;
use wanted::{profiles, steers, tells_ends, wanted};

/// A program is required and can't be had.
#[derive(Debug, Error)]
#[error("ebpf is `require`, and {program} is missing: {reason}")]
pub struct Required {
    program: &'static str,
    reason: String,
}

/// What is attached.
#[derive(Debug)]
pub struct Steering {
    report: Report,
    loads: Option<SharedLoads>,
    /// A worker's each, where connections to origins are set up.
    marks: Vec<Marks>,
    /// What the connections of each listener are set to.
    profiles: Vec<TcpProfile>,
    /// What each listener gets besides its own address, and what is told of that.
    steered: Vec<Vec<Steer>>,
    steers: Option<String>,
    // Links and programs go before the group that they are attached to.
    sockops: Option<SockOpsLink>,
    loaded: Option<Loaded>,
    _cgroup: Option<OwnCgroup>,
}

impl Steering {
    /// Loads and attaches what the configuration has a use for and the process may.
    pub fn start(config: &Config) -> Result<Self, Required> {
        let mut steering = Self::load(config);
        steering.attach_sockops();
        steering.attach_lookup(config);
        steering.try_profiles(config);
        steering.demand(config)?;
        Ok(steering)
    }

    /// What `start` would find, without entering a group or attaching anything.
    pub fn probe(config: &Config) -> Report {
        let mut steering = Self::load(config);
        if steering.report.sockops.is_attached() {
            steering.report.sockops = match Place::find() {
                Ok(place) => Standing::Attached(at_group(&place.wanted())),
                Err(error) => Standing::Missing(error.to_string()),
            };
        }
        steering.settle();
        steering.report
    }

    /// Whether each program is in use.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Loads the object with all programs, else the one with sk_reuseport alone, and the programs
    /// that are of use.
    fn load(config: &Config) -> Self {
        let mut steering = Self {
            report: wanted(config),
            loads: None,
            marks: Vec::new(),
            profiles: config.tcp_profiles.clone(),
            steered: steered(config),
            steers: steers(config),
            sockops: None,
            loaded: None,
            _cgroup: None,
        };
        let report = &mut steering.report;
        if !report
            .programs()
            .any(|(_, standing)| standing.is_attached())
        {
            return steering;
        }
        let settings = Settings {
            workers: u32::try_from(config.workers).unwrap_or(0),
            tells_ends: tells_ends(config),
            folder: config.ebpf_objects.as_deref(),
        };
        let loaded = Loaded::new(Which::All, settings).or_else(|reason| {
            report.sockops.miss(&reason);
            report.lookup.miss(&reason);
            match report.reuseport.is_attached() {
                true => Loaded::new(Which::ReuseportAlone, settings),
                false => Err(reason),
            }
        });
        match loaded {
            Ok(loaded) => steering.loaded = Some(loaded),
            Err(reason) => steering.report.reuseport.miss(&reason),
        }
        steering.load_programs();
        steering
    }

    fn load_programs(&mut self) {
        let Some(loaded) = &mut self.loaded else {
            return;
        };
        let report = &mut self.report;
        if report.reuseport.is_attached() {
            let loads = loaded.reuseport().map(|_program| ());
            match loads.and_then(|()| map_loads(loaded)) {
                Ok(loads) => self.loads = Some(loads),
                Err(reason) => report.reuseport.miss(&reason),
            }
        }
        if report.sockops.is_attached()
            && let Err(reason) = loaded.sockops()
        {
            report.sockops.miss(&reason);
        }
        if report.lookup.is_attached()
            && let Err(reason) = loaded.lookup()
        {
            report.lookup.miss(&reason);
        }
    }

    fn attach_sockops(&mut self) {
        let Some(loaded) = &mut self.loaded else {
            return;
        };
        if !self.report.sockops.is_attached() {
            return;
        }
        let attached = loaded.sockops().and_then(|program| {
            let place = Place::find().map_err(|error| error.to_string())?;
            let group = place.enter().map_err(|error| error.to_string())?;
            let folder = group.open().map_err(|error| error.to_string())?;
            // `Single` is what a link takes; in the kernel a link always allows others beside it.
            let link = program.attach(folder, CgroupAttachMode::Single);
            let link = link.and_then(|link| program.take_link(link));
            Ok((group, link.map_err(|error| one_line(&error))?))
        });
        match attached {
            Ok((group, link)) => {
                self.sockops = Some(link);
                self.report.sockops = Standing::Attached(at_group(group.folder()));
                self._cgroup = Some(group);
            }
            Err(reason) => self.report.sockops.miss(&reason),
        }
    }

    fn attach_lookup(&mut self, config: &Config) {
        self.settle();
        let Some(loaded) = &mut self.loaded else {
            return;
        };
        if !self.report.lookup.is_attached() {
            return;
        }
        let limited = match config.refuse.filter(|_| self.report.refusal.is_attached()) {
            Some(refusal) => refuse::limit(loaded, refusal, &config.refuse_exempt),
            None => Ok(()),
        };
        if let Err(reason) = limited.and_then(|()| refuse::attach(loaded)) {
            self.report.lookup.miss(&reason);
            self.settle();
        }
    }

    /// Sees to it that the kernel knows each congestion control, and can mark connections to origins.
    fn try_profiles(&mut self, config: &Config) {
        if !self.report.profiles.is_attached() {
            return;
        }
        let names: HashSet<_> = profiles(config).map(|profile| profile.congestion).collect();
        let tried = names.iter().try_for_each(try_congestion);
        if let Err(reason) = tried.and_then(|()| self.make_marks(config)) {
            self.report.profiles.miss(&reason);
        }
    }

    fn make_marks(&mut self, config: &Config) -> Result<(), String> {
        let Some(loaded) = &mut self.loaded else {
            return Ok(());
        };
        if config.origin_profiles().next().is_none() {
            return Ok(());
        }
        let Map::SkStorage(map) = loaded.raw_map("MARKS")? else {
            return Err("the map MARKS is no socket storage".into());
        };
        for _ in 0..config.workers {
            let marks = Marks::new(map.fd().as_fd()).map_err(|error| one_line(&error))?;
            self.marks.push(marks);
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.report.settle(self.steers.as_deref());
    }

    /// Before it listens: marks the socket of worker `worker` for listening address `service`, so
    /// that its connections are counted.
    pub fn bound(&mut self, socket: BorrowedFd<'_>, service: usize, worker: usize) {
        if !self.report.sockops.is_attached() {
            return;
        }
        if let Err(reason) = self.mark(socket, service, worker) {
            self.report.sockops.miss(&reason);
            self.sockops = None;
            self.settle();
        }
    }

    fn mark(
        &mut self,
        socket: BorrowedFd<'_>,
        service: usize,
        worker: usize,
    ) -> Result<(), String> {
        let Some(loaded) = &mut self.loaded else {
            return Ok(());
        };
        let mut marks: SkStorage<_, SocketMark> = loaded.map("MARKS")?;
        let mark = SocketMark {
            role: ROLE_CLIENT,
            service: index(service)?,
            worker: index(worker)?,
            profile: self.profiles.get(service).copied().unwrap_or_default(),
            ..SocketMark::default()
        };
        marks
            .insert(&socket, mark, 0)
            .map_err(|error| one_line(&error))
    }

    /// When all workers' sockets of listening address `service` listen: from here the programs
    /// choose among them, and refuse.
    pub fn listening(&mut self, address: SocketAddr, sockets: &[BorrowedFd<'_>], service: usize) {
        if let Some(loaded) = &mut self.loaded
            && self.report.refusal.is_attached()
            && let Err(reason) = refuse::guard(loaded, address)
        {
            self.report.refusal.miss(&reason);
            self.settle();
        }
        if !self.report.reuseport.is_attached() {
            return;
        }
        if let Err(reason) = self.choose_among(address, sockets, service) {
            self.report.reuseport.miss(&reason);
        }
    }

    /// Whether the kernel gives listening address `service` connections to other addresses: then it
    /// needs one more socket, marked and listening as the others.
    pub fn needs_anchor(&self, service: usize) -> bool {
        let steered = self.steered.get(service).is_some_and(|all| !all.is_empty());
        steered && self.report.lookup.is_attached()
    }

    /// When all sockets of listening address `service` listen, `anchor` too: from here connections to
    /// the other addresses go there.
    pub fn anchored(&mut self, anchor: BorrowedFd<'_>, service: usize) {
        let (Some(loaded), Some(steered)) = (&mut self.loaded, self.steered.get(service)) else {
            return;
        };
        let led =
            index(service).and_then(|service| steer::lead(loaded, steered.iter(), anchor, service));
        if let Err(reason) = led {
            self.report.lookup.miss(&reason);
            self.settle();
        }
    }

    fn choose_among(
        &mut self,
        address: SocketAddr,
        sockets: &[BorrowedFd<'_>],
        service: usize,
    ) -> Result<(), String> {
        let Some(loaded) = &mut self.loaded else {
            return Ok(());
        };
        let service = index(service)?;
        if service >= SERVICES_MAX {
            return Err(format!("more than {SERVICES_MAX} listening addresses"));
        }
        for (worker, socket) in (0..).zip(sockets) {
            let slot = service * WORKERS_MAX + worker;
            let mut slots: ReusePortSockArray<_> = loaded.map("SOCKETS")?;
            slots
                .set(slot, socket, 0)
                .map_err(|error| one_line(&error))?;
        }
        let mut services: HashMap<_, Address, u32> = loaded.map("SERVICES")?;
        services
            .insert(refuse::key(address), service, 0)
            .map_err(|error| one_line(&error))?;
        match sockets.first() {
            Some(first) => loaded
                .reuseport()?
                .attach(first)
                .map_err(|error| one_line(&error)),
            None => Ok(()),
        }
    }

    /// Where worker `index` tells how busy it is.
    pub fn slot(&self, index: usize) -> LoadSlot {
        match &self.loads {
            Some(loads) if self.report.reuseport.is_attached() => loads.slot(index),
            _ => LoadSlot::default(),
        }
    }

    /// Where worker `index` marks its connections to origins.
    pub fn marks(&self, index: usize) -> Marks {
        let are_read = self.report.sockops.is_attached();
        let marks = self.marks.get(index).filter(|_| are_read);
        marks.cloned().unwrap_or_default()
    }

    /// The kernel's word of how connections end, for whoever asks first; nothing where nobody wants
    /// it, or no program tells it.
    pub fn close_events(&mut self, config: &Config) -> Option<CloseEvents> {
        if !self.report.sockops.is_attached() || !tells_ends(config) {
            return None;
        }
        let ring = self.loaded.as_mut()?.ebpf.take_map("EVENTS")?;
        match RingBuf::try_from(ring) {
            Ok(ring) => Some(CloseEvents::new(ring)),
            Err(error) => {
                let reason = one_line(&error);
                tracing::warn!(reason, "the kernel's word of how connections end is lost");
                None
            }
        }
    }

    /// Begins to log what debug builds of the programs tell; those that are built in tell nothing.
    /// Starts a thread.
    pub fn tell(&mut self) {
        if let Some(told) = self.loaded.as_mut().and_then(|it| Told::new(&mut it.ebpf)) {
            told.forward();
        }
    }

    /// With `require`, what is missing stops the start.
    pub fn demand(&self, config: &Config) -> Result<(), Required> {
        match self.report.missing().next() {
            Some((program, reason)) if config.ebpf == EbpfMode::Require => Err(Required {
                program,
                reason: reason.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// How often each decision was taken; nothing without a program.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let map = self.loaded.as_ref().and_then(|it| it.ebpf.map("COUNTS"));
        let Some(Ok(counts)) = map.map(PerCpuArray::<_, u64>::try_from) else {
            return Vec::new();
        };
        let of = |counter: Counter| {
            let words = counts.get(&counter.index(), 0).ok()?;
            Some((counter.name(), words.iter().sum()))
        };
        Counter::ALL.into_iter().filter_map(of).collect()
    }

    /// Who has live connections; nothing where sockops doesn't count them. A system call or two a
    /// prefix.
    pub fn sources(&self) -> Option<KernelSources> {
        if !self.report.sockops.is_attached() {
            return None;
        }
        sources::live(&self.loaded.as_ref()?.ebpf)
    }
}

fn map_loads(loaded: &mut Loaded) -> Result<SharedLoads, String> {
    match loaded.raw_map("WORKERS")? {
        Map::Array(map) => SharedLoads::new(map.fd().as_fd()).map_err(|error| one_line(&error)),
        _ => Err("the map WORKERS is no array".into()),
    }
}

fn at_group(folder: &std::path::Path) -> String {
    format!("counts connections of {}", folder.display())
}

fn index(number: usize) -> Result<u32, String> {
    u32::try_from(number).map_err(|error| one_line(&error))
}

/// What each listener gets besides its own address.
fn steered(config: &Config) -> Vec<Vec<Steer>> {
    let of = |listener: &SocketAddr| {
        let steers = config.steer.iter();
        let mine = steers.filter(|steer| steer.listener == *listener);
        mine.cloned().collect()
    };
    config.listen.iter().map(of).collect()
}

/// Has the kernel load a congestion control, which a program can't; an empty name is the kernel's own.
fn try_congestion(name: &[u8; 16]) -> Result<(), String> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.is_empty() {
        return Ok(());
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
    let tried = socket.and_then(|socket| socket.set_tcp_congestion(name));
    let name = String::from_utf8_lossy(name);
    tried.map_err(|error| format!("congestion={name}: {error}"))
}
