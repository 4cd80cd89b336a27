//! The kernel's help with new connections: three programs, of which each that can be had is
//! attached, and each that can't is told with its reason. Started before any socket is made, since
//! a socket belongs to the control group in which it is made; given the listening sockets when
//! they are bound and when they listen. All of it goes when this value or its process goes.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{HashMap, Map, PerCpuArray, ReusePortSockArray, RingBuf, SkStorage};
use aya::programs::CgroupAttachMode;
use aya::programs::sock_ops::SockOpsLink;
use proxy_common::load::WORKERS_MAX;
use proxy_common::mark::ROLE_CLIENT;
use proxy_common::{Counter, SERVICES_MAX, SocketMark};
use thiserror::Error;

use crate::config::flags::EbpfMode;
use crate::config::{Config, LogTarget, Refusal};
use crate::sys::load::{LoadSlot, SharedLoads};

mod cgroup;
mod events;
mod object;
mod refuse;
mod report;

use cgroup::{OwnCgroup, Place};
pub use events::CloseEvents;
use object::{Loaded, Settings, Which, one_line};
pub use report::{Report, Standing};

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
            sockops: None,
            loaded: None,
            _cgroup: None,
        };
        let report = &mut steering.report;
        if !report.programs().into_iter().any(|(_, s)| s.is_attached()) {
            return steering;
        }
        let settings = Settings {
            workers: u32::try_from(config.workers).unwrap_or(0),
            tells_ends: tells_ends(config),
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
        let (Some(loaded), Some(refusal)) = (&mut self.loaded, config.refuse) else {
            return;
        };
        if !self.report.lookup.is_attached() {
            return;
        }
        if !self.report.sockops.is_attached() {
            return self.report.lookup.miss("sockops is missing, and it counts");
        }
        if let Err(reason) = refuse::start(loaded, refusal, &config.refuse_exempt) {
            self.report.lookup.miss(&reason);
        }
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
            && self.report.lookup.is_attached()
            && let Err(reason) = refuse::guard(loaded, address)
        {
            self.report.lookup.miss(&reason);
        }
        if !self.report.reuseport.is_attached() {
            return;
        }
        if let Err(reason) = self.choose_among(sockets, service) {
            self.report.reuseport.miss(&reason);
        }
    }

    fn choose_among(&mut self, sockets: &[BorrowedFd<'_>], service: usize) -> Result<(), String> {
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
            let cookie =
                rustix::net::sockopt::socket_cookie(socket).map_err(|error| one_line(&error))?;
            let mut services: HashMap<_, u64, u32> = loaded.map("SERVICES")?;
            services
                .insert(cookie, service, 0)
                .map_err(|error| one_line(&error))?;
        }
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
}

/// What the configuration has a use for.
fn wanted(config: &Config) -> Report {
    if config.ebpf == EbpfMode::Off {
        return Report::all(&Standing::NotNeeded("ebpf is off"));
    }
    let workers = config.workers;
    let reuseport = match workers {
        0..=1 => Standing::NotNeeded("one worker serves all"),
        _ if workers > WORKERS_MAX as usize => {
            Standing::Missing(format!("more than {WORKERS_MAX} workers"))
        }
        _ => Standing::Attached(format!("chooses among {workers} workers")),
    };
    let lookup = match config.refuse {
        Some(Refusal { rate, .. }) => {
            Standing::Attached(format!("refuses sources over {rate} connections a second"))
        }
        None => Standing::NotNeeded("no refuse_rate"),
    };
    let counts = reuseport.is_attached() || lookup.is_attached();
    let sockops = match counts || tells_ends(config) {
        true => Standing::Attached(String::new()),
        false => Standing::NotNeeded("nobody asks for its counts"),
    };
    Report {
        reuseport,
        sockops,
        lookup,
    }
}

/// Whether ends of connections are written down.
fn tells_ends(config: &Config) -> bool {
    !matches!(config.observe.connection_log, LogTarget::Off)
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
