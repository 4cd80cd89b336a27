//! The kernel's help with new connections: three programs, of which each that can be had is
//! attached, and each that can't is told with its reason. Started before any socket is made, since
//! a socket belongs to the control group in which it is made; given the listening sockets when
//! they are bound and when they listen. All of it goes when this value or its process goes.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{Array, HashMap, Map, PerCpuArray, ReusePortSockArray, SkStorage};
use aya::programs::CgroupAttachMode;
use aya::programs::sock_ops::SockOpsLink;
use proxy_common::load::WORKERS_MAX;
use proxy_common::mark::ROLE_CLIENT;
use proxy_common::{Counter, SERVICES_MAX, SocketMark};
use thiserror::Error;

use crate::config::Config;
use crate::config::flags::EbpfMode;
use crate::sys::load::{LoadSlot, SharedLoads};

mod cgroup;
mod object;
mod report;

use cgroup::{OwnCgroup, Place};
use object::{Loaded, Which, one_line};
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
        let mut steering = match unneeded(config) {
            Some(standing) => Self::without(Report::all(&standing)),
            None => Self::load(config),
        };
        if steering.loaded.is_some() {
            steering.attach_sockops();
        }
        steering.demand(config)?;
        Ok(steering)
    }

    /// What `start` would find, without entering a group or attaching anything.
    pub fn probe(config: &Config) -> Report {
        if let Some(standing) = unneeded(config) {
            return Report::all(&standing);
        }
        let mut steering = Self::load(config);
        if let Some(loaded) = &mut steering.loaded
            && steering.report.sockops.is_attached()
        {
            let place = Place::find().map_err(|error| error.to_string());
            let sockops = loaded.sockops().map(|_program| ());
            steering.report.sockops = match sockops.and(place) {
                Ok(place) => Standing::Attached(at_group(&place.wanted())),
                Err(reason) => Standing::Missing(reason),
            };
        }
        steering.report
    }

    /// Whether each program is in use.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn without(report: Report) -> Self {
        Self {
            report,
            loads: None,
            sockops: None,
            loaded: None,
            _cgroup: None,
        }
    }

    /// Loads the object with all programs, else the one with sk_reuseport alone.
    fn load(config: &Config) -> Self {
        let workers = u32::try_from(config.workers).unwrap_or(u32::MAX);
        let mut report = Report {
            reuseport: Standing::Attached(format!("chooses among {workers} workers")),
            sockops: Standing::Attached(String::new()),
            lookup: Standing::NotNeeded("no source is refused"),
        };
        let all = Loaded::new(Which::All, workers);
        let loaded = all.or_else(|reason| {
            report.sockops = Standing::Missing(reason);
            Loaded::new(Which::ReuseportAlone, workers)
        });
        let prepared = loaded.and_then(|mut loaded| {
            loaded.reuseport()?;
            let loads = match loaded.map("WORKERS")? {
                Map::Array(map) => SharedLoads::new(map.fd().as_fd()),
                _ => return Err("the map WORKERS is no array".into()),
            };
            Ok((loaded, loads.map_err(|error| one_line(&error))?))
        });
        match prepared {
            Ok((loaded, loads)) => Self {
                report,
                loads: Some(loads),
                sockops: None,
                loaded: Some(loaded),
                _cgroup: None,
            },
            // Without a choice there is no use for counts.
            Err(reason) => Self::without(Report {
                reuseport: Standing::Missing(reason.clone()),
                sockops: Standing::Missing(reason),
                ..report
            }),
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
            Err(reason) => self.report.sockops = Standing::Missing(reason),
        }
    }

    /// Before it listens: marks the socket of worker `worker` for listening address `service`, so
    /// that its connections are counted.
    pub fn bound(&mut self, socket: BorrowedFd<'_>, service: usize, worker: usize) {
        if !self.report.sockops.is_attached() {
            return;
        }
        if let Err(reason) = self.mark(socket, service, worker) {
            self.report.sockops = Standing::Missing(reason);
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
        let mut marks: SkStorage<_, SocketMark> = as_map(loaded.map("MARKS")?)?;
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

    /// When all workers' sockets of listening address `service` listen: from here the program
    /// chooses among them.
    pub fn listening(&mut self, sockets: &[BorrowedFd<'_>], service: usize) {
        if !self.report.reuseport.is_attached() {
            return;
        }
        if let Err(reason) = self.choose_among(sockets, service) {
            self.report.reuseport = Standing::Missing(reason);
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
            let mut slots: ReusePortSockArray<_> = as_map(loaded.map("SOCKETS")?)?;
            slots
                .set(slot, socket, 0)
                .map_err(|error| one_line(&error))?;
            let cookie =
                rustix::net::sockopt::socket_cookie(socket).map_err(|error| one_line(&error))?;
            let mut services: HashMap<_, u64, u32> = as_map(loaded.map("SERVICES")?)?;
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
    pub fn counts(&mut self) -> Vec<(&'static str, u64)> {
        let Some(loaded) = &mut self.loaded else {
            return Vec::new();
        };
        let Ok(counts) = loaded.map("COUNTS").and_then(as_map::<PerCpuArray<_, u64>>) else {
            return Vec::new();
        };
        let of = |counter: Counter| {
            let words = counts.get(&counter.index(), 0).ok()?;
            Some((counter.name(), words.iter().sum()))
        };
        Counter::ALL.into_iter().filter_map(of).collect()
    }

    /// Established client connections of each of the first `workers`, as sockops counts them.
    pub fn live(&mut self, workers: usize) -> Vec<u64> {
        let Some(loaded) = &mut self.loaded else {
            return Vec::new();
        };
        let Ok(live) = loaded.map("LIVE").and_then(as_map::<Array<_, u64>>) else {
            return Vec::new();
        };
        live.iter().take(workers).map_while(Result::ok).collect()
    }
}

/// Why nothing is to be loaded.
fn unneeded(config: &Config) -> Option<Standing> {
    match config.ebpf {
        EbpfMode::Off => Some(Standing::NotNeeded("ebpf is off")),
        _ if config.workers < 2 => Some(Standing::NotNeeded("one worker serves all")),
        _ if config.workers > WORKERS_MAX as usize => Some(Standing::Missing(format!(
            "more than {WORKERS_MAX} workers"
        ))),
        EbpfMode::Auto | EbpfMode::Require => None,
    }
}

fn at_group(folder: &std::path::Path) -> String {
    format!("counts connections of {}", folder.display())
}

fn as_map<'a, M: TryFrom<&'a mut Map, Error = aya::maps::MapError>>(
    map: &'a mut Map,
) -> Result<M, String> {
    M::try_from(map).map_err(|error| one_line(&error))
}

fn index(number: usize) -> Result<u32, String> {
    u32::try_from(number).map_err(|error| one_line(&error))
}
