//! Rounds: each scenario over each peer, one at a time and interleaved; windows and their samples.

use std::thread;
use std::time::{Duration, Instant};

use super::load::{Load, Totals};
use super::machine::Machine;
use super::origin::Origin;
use super::pace::{Pace, SLOW_MAX};
use super::peers::{Kind, Peer};
use super::programs::Programs;
use super::record::{Record, Sample};
use super::scenario::{Figure, Plan, SMALL, Scenario};
use crate::command::Failure;

/// What a run works with.
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    pub(super) peers: &'a [Peer],
    pub(super) origin: &'a Origin,
    pub(super) programs: &'a Programs,
    pub(super) machine: &'a Machine,
    pub(super) pace: &'a Pace,
}

/// Counters at one end of a window.
struct Reading {
    at: Instant,
    peer: u64,
    load: u64,
    busy: u64,
    requests: u64,
    totals: Totals,
}

impl Bench<'_> {
    /// Measures everything into `record`. A peer that fails in a scenario is remarked upon and
    /// misses there; the run goes on.
    pub(super) fn run(&self, record: &mut Record) -> Result<(), Failure> {
        for scenario in &self.plan.scenarios {
            println!("==> {}: {}", scenario.name, scenario.title);
            if scenario.figure == Figure::Memory && record.peaks.is_empty() {
                // Memory of connections has a row of its own, and would hide what the loads took.
                record.peaks = self.peaks();
            }
            let rate = self.rate(scenario, record)?;
            record.rate = rate.or(record.rate);
            for round in 0..scenario.rounds(self.plan) {
                for peer in self.peers.iter().filter(|peer| scenario.admits(peer.kind)) {
                    let name = peer.name();
                    match self.sample(scenario, peer, rate) {
                        Ok(sample) => {
                            tell(round, name, scenario, &sample);
                            let title = (scenario.name, scenario.title);
                            record.add(title, scenario.figure, name, sample);
                        }
                        Err(problem) => {
                            let remark = format!("{}, {name}: {problem}", scenario.name);
                            println!("    {remark}");
                            record.remarks.push(remark);
                        }
                    }
                }
            }
        }
        record.peaks_idle = self.peaks();
        if record.peaks.is_empty() {
            record.peaks = std::mem::take(&mut record.peaks_idle);
        }
        Ok(())
    }

    /// The most memory that each peer had resident so far, KiB.
    fn peaks(&self) -> Vec<(String, u64)> {
        let loaded = |peer: &&Peer| !matches!(peer.kind, Kind::Bare | Kind::Logged);
        let peak = |peer: &Peer| (peer.name().to_owned(), peer.group.peak());
        self.peers.iter().filter(loaded).map(peak).collect()
    }

    /// The latency scenario's rate: 70 % of the peak of the slowest peer.
    fn rate(&self, scenario: &Scenario, record: &Record) -> Result<Option<f64>, Failure> {
        if scenario.figure != Figure::Latency {
            return Ok(None);
        }
        let peaks = self
            .peers
            .iter()
            .filter_map(|peer| record.row(SMALL, peer.name()));
        let slowest = peaks
            .map(super::record::Row::throughput)
            .fold(f64::INFINITY, f64::min);
        if slowest.is_finite() {
            Ok(Some((slowest * 0.7 / 100.0).round() * 100.0))
        } else {
            Err(Failure::new(
                "`latency` needs `small` in the same run, to find its rate",
            ))
        }
    }

    /// A sample; of a process of its own where small differences are looked for: where a process' memory
    /// lies makes more of one than they are.
    fn sample(
        &self,
        scenario: &Scenario,
        peer: &Peer,
        rate: Option<f64>,
    ) -> Result<Sample, Failure> {
        if scenario.is_of_differences() {
            let fresh = peer.another(self.origin, self.programs, self.machine)?;
            return self.least_disturbed(scenario, &fresh, rate);
        }
        self.least_disturbed(scenario, peer, rate)
    }

    fn least_disturbed(
        &self,
        scenario: &Scenario,
        peer: &Peer,
        rate: Option<f64>,
    ) -> Result<Sample, Failure> {
        if scenario.figure == Figure::Memory {
            return self.idle(scenario, peer);
        }
        let mut best: Option<Sample> = None;
        for _ in 0..TRIES {
            let sample = self.once(scenario, peer, rate)?;
            let better = best
                .as_ref()
                .is_none_or(|best| sample.trouble() < best.trouble());
            let again = self.repeats(scenario, &sample);
            if better {
                best = Some(sample);
            }
            if !again {
                break;
            }
        }
        best.ok_or_else(|| Failure::new("not measured"))
    }

    /// Whether a window is measured again; if the machine was slow in it, its time comes off the run's patience.
    fn repeats(&self, scenario: &Scenario, sample: &Sample) -> bool {
        if sample.slow > SLOW_MAX && self.pace.has_patience() {
            let (warmup, window) = scenario.times(self.plan);
            self.pace.spend(Duration::from_secs_f64(warmup + window));
            return true;
        }
        sample.foreign > FOREIGN_MAX
    }

    /// One load: warm-up, then a window.
    fn once(&self, scenario: &Scenario, peer: &Peer, rate: Option<f64>) -> Result<Sample, Failure> {
        let mut arguments = scenario.arguments();
        let (warmup, window) = scenario.times(self.plan);
        arguments.extend(["--warmup".to_owned(), warmup.to_string()]);
        if let Some(rate) = rate {
            arguments.extend(["--rate".to_owned(), rate.to_string()]);
        }
        peer.empty_log()?;
        let slow_before = self.pace.settled();
        let mut load = self.load(peer, &arguments)?;
        // The first answer comes when certificates are made and connections under way.
        let _ready = load.totals()?;
        thread::sleep(Duration::from_secs_f64(warmup));
        let before = self.read(peer, &mut load)?;
        thread::sleep(Duration::from_secs_f64(window));
        let after = self.read(peer, &mut load)?;
        load.finish()?;
        let slow = self.pace.slowness().max(slow_before);
        self.judge(scenario, slow, &before, &after)
    }

    fn load(&self, peer: &Peer, arguments: &[String]) -> Result<Load, Failure> {
        Load::start(self.programs, self.machine, peer.address, arguments)
    }

    fn read(&self, peer: &Peer, load: &mut Load) -> Result<Reading, Failure> {
        Ok(Reading {
            totals: load.totals()?,
            requests: self.origin.count()?,
            peer: peer.group.cpu()?,
            load: load.group().cpu()? + self.origin.group.cpu()?,
            busy: self.machine.busy()?,
            at: Instant::now(),
        })
    }

    fn judge(
        &self,
        scenario: &Scenario,
        slow: f64,
        before: &Reading,
        after: &Reading,
    ) -> Result<Sample, Failure> {
        let seconds = (after.at - before.at).as_secs_f64();
        let peer = nanos(after.peer - before.peer);
        let load = nanos(after.load - before.load);
        let busy = nanos(after.busy.saturating_sub(before.busy));
        let (old, new) = (&before.totals, &after.totals);
        let units = match scenario.figure {
            Figure::Request | Figure::Latency => float(after.requests - before.requests),
            Figure::Connection => float(new.connections - old.connections),
            Figure::Bytes => {
                float(new.bytes_down + new.bytes_up - old.bytes_down - old.bytes_up) / 1e6
            }
            Figure::Memory => 0.0,
        };
        if units < 1.0 {
            return Err(Failure::new("nothing came through in the window"));
        }
        self.honest(scenario, old, new)?;
        let foreign = (busy - peer - load).max(0.0) / seconds;
        Ok(Sample {
            value: match scenario.figure {
                Figure::Bytes => units / peer,
                Figure::Latency => percentile(new, 99.0)?,
                _ => peer * 1e6 / units,
            },
            throughput: units / seconds,
            peer_busy: peer / seconds,
            load_busy: load / seconds,
            foreign,
            slow,
            disturbed: foreign > FOREIGN_MAX || slow > SLOW_MAX,
            latency: new.latency.clone(),
        })
    }

    /// A figure that is not of what its title says is no figure.
    fn honest(&self, scenario: &Scenario, old: &Totals, new: &Totals) -> Result<(), Failure> {
        let connections = new.connections - old.connections;
        let resumed = new.resumed - old.resumed;
        let resumes = scenario.load.contains("--resume");
        if scenario.figure == Figure::Connection && resumes && resumed * 100 < connections * 95 {
            return Err(Failure::new(format!(
                "resumed {resumed} of {connections} sessions"
            )));
        }
        if scenario
            .load
            .contains("--kind handshakes --connections 16 --identities")
            && new.repeats > 0
        {
            return Err(Failure::new(format!(
                "{} certificates shown again",
                new.repeats
            )));
        }
        if scenario.figure == Figure::Latency && new.late > new.samples / 10 {
            return Err(Failure::new(format!(
                "does not keep up: {} requests late",
                new.late
            )));
        }
        Ok(())
    }

    /// Opens connections that answer once and stay; what they hold.
    fn idle(&self, scenario: &Scenario, peer: &Peer) -> Result<Sample, Failure> {
        let before = peer.group.pss();
        let mut load = self.load(peer, &scenario.arguments())?;
        let patience = Instant::now() + IDLE_TIME_MAX;
        let mut seen = (0, Instant::now());
        let totals = loop {
            let totals = load.totals()?;
            if totals.requests != seen.0 {
                seen = (totals.requests, Instant::now());
            }
            if totals.requests >= IDLE_CONNECTIONS {
                break totals;
            }
            if Instant::now() > patience || seen.1.elapsed() > IDLE_STALL_MAX {
                return Err(Failure::new(format!(
                    "stopped at {} connections",
                    totals.requests
                )));
            }
            thread::sleep(Duration::from_millis(100));
        };
        // What is given back when idle has been given back.
        thread::sleep(IDLE_SETTLE);
        let held = peer.group.pss().saturating_sub(before);
        load.finish()?;
        Ok(Sample {
            value: float(held) / float(totals.requests),
            throughput: float(totals.requests) / totals.seconds,
            ..Sample::default()
        })
    }
}

fn tell(round: usize, name: &str, scenario: &Scenario, sample: &Sample) {
    println!(
        "    {} {name:<8} {:>9.1} {:<14} {:>9.0}/s, peer {:>3.0} %, load {:>3.0} %{}",
        round + 1,
        sample.value,
        scenario.figure.unit(),
        sample.throughput,
        sample.peer_busy * 100.0,
        sample.load_busy * 100.0,
        if sample.disturbed {
            let (foreign, slow) = (sample.foreign * 100.0, sample.slow * 100.0);
            format!(", DISTURBED: others {foreign:.0} %, the machine {slow:.0} % slower")
        } else {
            String::new()
        }
    );
}

pub(super) fn percentile(totals: &Totals, wanted: f64) -> Result<f64, Failure> {
    let mut points = totals.latency.iter();
    let found = points.find(|(percent, _)| (percent - wanted).abs() < 1e-9);
    found
        .map(|(_, micros)| *micros)
        .ok_or_else(|| Failure::new("the load tells no such percentile"))
}

fn nanos(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// A window is measured at most so often.
const TRIES: usize = 3;
/// Share of a core that others may use; the kernel's own threads and ticks need about one percent.
const FOREIGN_MAX: f64 = 0.05;
const IDLE_CONNECTIONS: u64 = 10_000;
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
const IDLE_STALL_MAX: Duration = Duration::from_secs(8);
const IDLE_SETTLE: Duration = Duration::from_secs(5);
