//! One source floods Herald with handshakes, another asks at a fixed rate within what Herald can do:
//! how much of what the second offers is served, with `refuse_rate` and without.
//!
//! Herald has one core and one worker, both sources and the origin another. Its key is RSA's, with
//! which a handshake costs the server more than the client: else the flood would be short of CPU
//! before Herald is. Capacity is what the second source gets alone, connection after connection, in a
//! closed loop.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::super::load::{Load, Totals};
use super::super::machine::Machine;
use super::super::process::{self, Group};
use super::super::record::median;
use super::Lab;
use super::namespaces::{NETWORKS, Namespaces, Side};
use super::proxy::{self, Site};
use crate::command::Failure;

#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// Connections a second, with a request each, that the second source gets alone.
    pub(super) capacity: f64,
    /// What it offers beside the flood, a second.
    pub(super) offered: u32,
    /// What one source may complete, a second, with refusal on.
    pub(super) refuse_rate: u32,
    pub(super) refusing: Vec<Share>,
    pub(super) without: Vec<Share>,
}

/// A run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Share {
    /// Percent of what the second source offered that was answered within a second.
    pub(super) kept: f64,
    /// Connections a second that the flood attempted and completed.
    pub(super) attempted: f64,
    pub(super) completed: f64,
}

pub(super) fn kept(runs: &[Share]) -> f64 {
    median(runs.iter().map(|share| share.kept))
}

pub(super) fn completed(runs: &[Share]) -> f64 {
    median(runs.iter().map(|share| share.completed))
}

pub(super) fn measure(lab: &Lab) -> Result<Outcome, Failure> {
    let capacity = capacity(lab)?;
    let offered = whole(capacity * SHARE_OF_CAPACITY);
    let refuse_rate = whole(capacity * SHARE_OF_CAPACITY * ROOM);
    println!("    capacity {capacity:.0}/s, offered {offered}/s, refuse_rate {refuse_rate}");
    let mut outcome = Outcome {
        capacity,
        offered,
        refuse_rate,
        refusing: Vec::new(),
        without: Vec::new(),
    };
    for number in 1..=lab.runs {
        for refuses in [true, false] {
            let share = beside_flood(lab, &outcome, refuses)?;
            let Share {
                kept,
                attempted,
                completed,
            } = share;
            let (name, side) = match refuses {
                true => ("refusing", &mut outcome.refusing),
                false => ("without", &mut outcome.without),
            };
            side.push(share);
            println!(
                "    {number} {name:<8} kept {kept:5.1} %, flood {attempted:.0}/s attempted, \
                 {completed:.0}/s completed"
            );
        }
    }
    Ok(outcome)
}

/// Each run has namespaces of its own: no connection of an earlier one is remembered.
struct Scene<'a> {
    lab: &'a Lab,
    machine: Machine,
    // Before the namespaces: dropped first.
    _herald: Group,
    _origin: Group,
    _namespaces: Namespaces,
}

impl<'a> Scene<'a> {
    fn new(lab: &'a Lab, arguments: &[&str]) -> Result<Self, Failure> {
        let machine = Machine::look(false)?;
        let namespaces = Namespaces::make()?;
        let origin: SocketAddr = ([127, 0, 0, 1], ORIGIN_PORT).into();
        let log = lab.programs.work.join("origin.log");
        let mut command = Side::Server.command(&lab.programs.origin, machine.load_cores);
        command.args(["--listen", &origin.to_string()]);
        process::log_to(&mut command, &log)?;
        let mut group = Group::start(command)?;
        proxy::await_port(&mut group, ORIGIN_PORT, &log)?;
        // One listener, whose queue both sources share.
        let listen = [([0, 0, 0, 0], HERALD_PORT).into()];
        let site = Site {
            binary: &lab.programs.herald,
            name: "flooded",
            server: "server-rsa",
            listen: &listen,
            origin,
            workers: machine.workers,
            arguments,
        };
        let herald = site.start(lab, |program: &Path| {
            Side::Server.command(program, machine.peer_cores)
        })?;
        Ok(Self {
            lab,
            machine,
            _herald: herald,
            _origin: group,
            _namespaces: namespaces,
        })
    }

    /// A load from the first or the second source.
    fn load(&self, source: usize, arguments: &str) -> Result<Load, Failure> {
        let mut command = Side::Clients.command(&self.lab.programs.load, self.machine.load_cores);
        command.args(["--to", &address(source)?.to_string()]);
        command.arg("--pki").arg(&self.lab.programs.pki);
        command.args(arguments.split(' '));
        // Most of what the flood gets is errors.
        Load::of(command, u64::MAX)
    }
}

fn capacity(lab: &Lab) -> Result<f64, Failure> {
    let scene = Scene::new(lab, &["--ebpf=off"])?;
    let mut load = scene.load(1, "--kind churn --connections 32")?;
    load.totals()?;
    let (before, after) = window(&mut load)?;
    let seconds = after.seconds - before.seconds;
    let answered = per_second(after.requests - before.requests, seconds);
    if answered < 1.0 {
        let first = after.first_error.unwrap_or_default();
        return Err(Failure::new(format!("nothing was answered: {first}")));
    }
    Ok(answered)
}

fn beside_flood(lab: &Lab, plan: &Outcome, refuses: bool) -> Result<Share, Failure> {
    let rate = format!("--refuse-rate={}", plan.refuse_rate);
    let scene = match refuses {
        true => Scene::new(lab, &["--ebpf=require", &rate])?,
        false => Scene::new(lab, &["--ebpf=require"])?,
    };
    let mut flood = scene.load(
        0,
        &format!("--kind handshakes --rate {FLOOD} --patience 2 --connections 8192"),
    )?;
    let mut second = scene.load(
        1,
        &format!(
            "--kind churn --rate {} --patience 1 --connections 8192",
            plan.offered
        ),
    )?;
    flood.totals()?;
    second.totals()?;
    thread::sleep(WARMUP);
    let flood_before = flood.totals()?;
    let (before, after) = window(&mut second)?;
    let flood_after = flood.totals()?;
    let seconds = flood_after.seconds - flood_before.seconds;
    let offered = after.offered - before.offered;
    Ok(Share {
        kept: per_second(after.requests - before.requests, per_second(offered, 100.0)),
        attempted: per_second(flood_after.offered - flood_before.offered, seconds),
        completed: per_second(flood_after.connections - flood_before.connections, seconds),
    })
}

fn window(load: &mut Load) -> Result<(Totals, Totals), Failure> {
    let before = load.totals()?;
    thread::sleep(WINDOW);
    Ok((before, load.totals()?))
}

fn address(source: usize) -> Result<SocketAddr, Failure> {
    let network = NETWORKS.get(source);
    network
        .and_then(|network| format!("{network}.1:{HERALD_PORT}").parse().ok())
        .ok_or_else(|| Failure::new("no such source"))
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate above zero and far below 2^32; `as` saturates"
)]
fn whole(rate: f64) -> u32 {
    rate.ceil() as u32
}

/// Handshakes a second that the first source begins.
const FLOOD: u32 = 2000;
/// What the second source offers, of what Herald can do; a third and less leaves room for what the
/// first may complete.
const SHARE_OF_CAPACITY: f64 = 0.25;
/// How far the limit is above what the second source offers.
const ROOM: f64 = 1.2;
const WARMUP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(6);
const HERALD_PORT: u16 = 8443;
const ORIGIN_PORT: u16 = 18_080;
