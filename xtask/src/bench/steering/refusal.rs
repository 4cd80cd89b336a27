//! CPU of a connection that is refused in the kernel, beside one that is accepted and closed and one
//! whose handshake is completed.
//!
//! Loopback does the receiver's work in the sender's name, so it is the whole machine's busy time
//! that counts, less what the same generator costs at a port where nobody listens. Where others keep
//! the machine busy, that says little: the time of the generator and whoever answers it, by the
//! scheduler's clock, stands beside it, which lacks interrupts that met others.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::process::{self, Group};
use super::super::record::median;
use super::super::talk::Talk;
use super::Lab;
use super::proxy::{self, Site};
use crate::command::Failure;

/// One cost a run for each kind, above a closed port's of the same run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Costs {
    pub(super) refused: Vec<Cost>,
    pub(super) accepted: Vec<Cost>,
    pub(super) completed: Vec<Cost>,
    /// The closed port's own.
    pub(super) closed: Vec<Cost>,
}

/// Microseconds of CPU per attempt.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    /// Whatever the machine did.
    pub(super) machine: f64,
    /// The generator and whoever answers.
    pub(super) own: f64,
    pub(super) attempts: u64,
    /// Share of a core that others used meanwhile.
    pub(super) foreign: f64,
}

/// What the generator meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Closed,
    Refused,
    Accepted,
    Completed,
}

/// What `knock` counts.
#[derive(Debug, Deserialize)]
struct Told {
    attempts: u64,
    refused: u64,
    closed: u64,
    completed: u64,
}

impl Costs {
    /// Whether others disturbed any window.
    pub(super) fn is_disturbed(&self) -> bool {
        let all = [&self.refused, &self.accepted, &self.completed, &self.closed];
        all.into_iter()
            .flatten()
            .any(|cost| cost.foreign > FOREIGN_MAX)
    }
}

pub(super) fn middle(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    median(costs.iter().map(of))
}

pub(super) fn measure(lab: &Lab) -> Result<Costs, Failure> {
    let mut costs = Costs::default();
    for number in 1..=lab.runs {
        let closed = quietest(lab, Met::Closed)?;
        costs.closed.push(closed);
        for met in [Met::Refused, Met::Accepted, Met::Completed] {
            let cost = quietest(lab, met)?;
            let above = Cost {
                machine: cost.machine - closed.machine,
                own: cost.own - closed.own,
                ..cost
            };
            println!(
                "    {number} {:<9} {:8.2} µs (own {:8.2}), {} attempts, others {:.0} %",
                format!("{met:?}").to_lowercase(),
                above.machine,
                above.own,
                above.attempts,
                above.foreign * 100.0
            );
            match met {
                Met::Refused => costs.refused.push(above),
                Met::Accepted => costs.accepted.push(above),
                Met::Completed => costs.completed.push(above),
                Met::Closed => {}
            }
        }
    }
    Ok(costs)
}

/// The window of several that others disturbed least.
fn quietest(lab: &Lab, met: Met) -> Result<Cost, Failure> {
    let mut best = window(lab, met)?;
    for _ in 1..TRIES {
        if best.foreign <= FOREIGN_MAX {
            break;
        }
        let cost = window(lab, met)?;
        if cost.foreign < best.foreign {
            best = cost;
        }
    }
    Ok(best)
}

/// Each window has what answers to itself: no program looks at the SYNs of another one.
fn window(lab: &Lab, met: Met) -> Result<Cost, Failure> {
    let to = process::free_address()?;
    let answering = answering(lab, met, to)?;
    let mut command = proxy::here(&lab.programs.knock);
    command.args(["--to", &to.to_string()]);
    command.arg("--pki").arg(&lab.programs.pki);
    if met != Met::Accepted {
        command.arg("--handshake");
    }
    let mut knock = Talk::start(command)?;
    // The first answer comes when it is under way.
    let _first: Told = knock.ask()?;
    thread::sleep(WARMUP);
    let own = |knock: &Talk| -> Result<u64, Failure> {
        let peer = answering.as_ref().map_or(Ok(0), Group::cpu)?;
        Ok(knock.group.cpu()? + peer)
    };
    let (own_before, busy_before) = (own(&knock)?, lab.machine.busy()?);
    let before: Told = knock.ask()?;
    let started = Instant::now();
    thread::sleep(WINDOW);
    let after: Told = knock.ask()?;
    let seconds = started.elapsed().as_secs_f64();
    let (own_after, busy_after) = (own(&knock)?, lab.machine.busy()?);
    let _last: Told = knock.finish()?;
    let attempts = after.attempts - before.attempts;
    let as_meant = match met {
        Met::Closed | Met::Refused => after.refused - before.refused,
        Met::Accepted => after.closed - before.closed,
        Met::Completed => after.completed - before.completed,
    };
    if attempts == 0 || as_meant * 1000 < attempts * 995 {
        return Err(Failure::new(format!(
            "{met:?}: {as_meant} of {attempts} attempts"
        )));
    }
    let machine = micros(busy_after.saturating_sub(busy_before));
    let own = micros(own_after.saturating_sub(own_before));
    Ok(Cost {
        machine: machine / float(attempts),
        own: own / float(attempts),
        attempts,
        foreign: (machine - own).max(0.0) / 1e6 / seconds,
    })
}

fn answering(lab: &Lab, met: Met, at: SocketAddr) -> Result<Option<Group>, Failure> {
    let arguments: &[&str] = match met {
        Met::Closed => return Ok(None),
        Met::Accepted => {
            let log = lab.programs.work.join("accepting.log");
            let mut command = proxy::here(&lab.programs.knock);
            command.args(["--listen", &at.to_string()]);
            process::log_to(&mut command, &log)?;
            let mut group = Group::start(command)?;
            proxy::await_port(&mut group, at.port(), &log)?;
            return Ok(Some(group));
        }
        Met::Refused => &["--ebpf=require", "--refuse-rate=1", "--refuse-burst=1"],
        Met::Completed => &["--ebpf=off"],
    };
    let site = Site {
        binary: &lab.programs.herald,
        name: "knocked",
        server: "server",
        listen: &[at],
        // Nobody asks anything.
        origin: ([127, 0, 0, 1], 9).into(),
        workers: 2,
        arguments,
    };
    site.start(lab, proxy::here).map(Some)
}

fn micros(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

const WARMUP: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_secs(3);
/// A window is measured at most so often.
const TRIES: usize = 2;
/// Share of a core that others may use.
const FOREIGN_MAX: f64 = 0.05;
