//! What is measured: the load of each scenario, and the unit its figure is per.

use std::time::Duration;

use super::peers::Kind;
use crate::command::Failure;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Arguments of `load`; the rate of `Figure::Latency` is added.
    pub(super) load: &'static str,
    pub(super) figure: Figure,
    pub(super) peers: Peers,
    /// Whether `--quick` has it.
    pub(super) quick: bool,
}

/// What a scenario's figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// Microseconds of CPU per request that the origin counted.
    Request,
    /// Microseconds of CPU per connection that came to its orderly end.
    Connection,
    /// Megabytes of bodies per second of CPU: more is better.
    Bytes,
    /// Kibibytes of PSS per idle connection.
    Memory,
    /// Percentiles at a fixed rate.
    Latency,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peers {
    All,
    /// Not the floor, which knows no HTTP and resumes nothing.
    NoFloor,
    HeraldOnly,
    /// Herald as it is, with fewer headers, and with its access log on.
    Heralds,
}

/// What a run does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) scenarios: Vec<Scenario>,
    pub(super) rounds: usize,
    pub(super) latency_rounds: usize,
    /// Seconds of warm-up, and of the window.
    pub(super) warmup: f64,
    pub(super) window: f64,
    /// What may be lost to a machine that is slow for a while.
    pub(super) patience: Duration,
}

/// The plan of a run.
pub(super) fn plan(quick: bool, rounds: Option<usize>, names: &[String]) -> Result<Plan, Failure> {
    if let Some(unknown) = names.iter().find(|name| by_name(name).is_none()) {
        let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        let known = known.join(", ");
        return Err(Failure::new(format!(
            "no scenario is called {unknown}; there are {known}"
        )));
    }
    let chosen = |scenario: &&Scenario| {
        if names.is_empty() {
            !quick || scenario.quick
        } else {
            names.iter().any(|name| name == scenario.name)
        }
    };
    Ok(Plan {
        scenarios: ALL.iter().filter(chosen).copied().collect(),
        rounds: rounds.unwrap_or(if quick { 2 } else { 3 }).max(1),
        latency_rounds: rounds.unwrap_or(if quick { 1 } else { 5 }).max(1),
        warmup: if quick { 0.7 } else { 1.5 },
        window: if quick { 1.5 } else { 3.0 },
        patience: Duration::from_secs(if quick { 15 } else { 300 }),
    })
}

pub(super) fn by_name(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    pub(super) fn admits(&self, kind: Kind) -> bool {
        match self.peers {
            _ if kind == Kind::Plain => self.name == SMALL,
            Peers::Heralds => kind.is_guided(),
            _ if matches!(kind, Kind::Bare | Kind::Logged) => false,
            Peers::All => true,
            Peers::NoFloor => kind != Kind::Floor,
            Peers::HeraldOnly => kind == Kind::Herald,
        }
    }

    /// Whether it is there for small differences between one Herald and another.
    pub(super) fn is_of_differences(&self) -> bool {
        self.peers == Peers::Heralds
    }

    /// How often it is measured in a run by `plan`.
    pub(super) fn rounds(&self, plan: &Plan) -> usize {
        match self.figure {
            Figure::Latency => plan.latency_rounds,
            // What a connection holds does not vary with the time of day.
            Figure::Memory => 1,
            _ if self.is_of_differences() => plan.rounds * DIFFERENCE_ROUNDS,
            _ => plan.rounds,
        }
    }

    /// Seconds of warm-up, and of the window. Small differences show in many short windows, between
    /// which the machine has no time to change.
    pub(super) fn times(&self, plan: &Plan) -> (f64, f64) {
        match self.is_of_differences() {
            true => (plan.warmup / 2.0, plan.window / 3.0),
            false => (plan.warmup, plan.window),
        }
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        self.load
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect()
    }
}

impl Figure {
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Request => "µs/request",
            Self::Connection => "µs/connection",
            Self::Bytes => "MB/CPU-s",
            Self::Memory => "KiB/connection",
            Self::Latency => "µs p99",
        }
    }

    /// Whether a higher figure is the better one.
    pub(super) fn more_is_better(self) -> bool {
        self == Self::Bytes
    }
}

const fn row(
    name: &'static str,
    title: &'static str,
    load: &'static str,
    figure: Figure,
) -> Scenario {
    Scenario {
        name,
        title,
        load,
        figure,
        peers: Peers::All,
        quick: false,
    }
}

const fn quick(scenario: Scenario) -> Scenario {
    Scenario {
        quick: true,
        ..scenario
    }
}

const fn of(peers: Peers, scenario: Scenario) -> Scenario {
    Scenario { peers, ..scenario }
}

/// The load that latency's rate is found by: `SMALL` comes before `latency`.
pub(super) const SMALL: &str = "small";
/// What is found as differences within its rounds.
pub(super) const EXTRAS: &str = "extras";
/// So many rounds of it for one of the others.
const DIFFERENCE_ROUNDS: usize = 7;

const ALL: [Scenario; 17] = [
    quick(row(
        SMALL,
        "GET 256 B, h1, 64 connections",
        "--path /b/256",
        Figure::Request,
    )),
    of(
        Peers::Heralds,
        row(
            EXTRAS,
            "the same, for small differences",
            "--path /b/256",
            Figure::Request,
        ),
    ),
    quick(row(
        "10k",
        "GET 10 KiB, h1",
        "--path /b/10240",
        Figure::Request,
    )),
    row(
        "1m",
        "GET 1 MiB, h1, 16 connections",
        "--path /b/1048576 --connections 16",
        Figure::Bytes,
    ),
    quick(of(
        Peers::NoFloor,
        row(
            "h2",
            "GET 256 B, h2, 8 x 10 streams",
            "--connections 8 --streams 10",
            Figure::Request,
        ),
    )),
    row("post", "POST 10 KiB, h1", "--post 10240", Figure::Request),
    row(
        "slow",
        "GET 256 B at 1,600/s, h1",
        "--rate 1600",
        Figure::Request,
    ),
    row(
        "many",
        "GET 256 B, 1,000 callers connected",
        "--connections 1000 --identities 1000",
        Figure::Request,
    ),
    quick(row(
        "full",
        "full handshake, certificate seen before",
        "--kind handshakes --connections 16",
        Figure::Connection,
    )),
    row(
        "full-new",
        "full handshake, certificate never seen",
        "--kind handshakes --connections 16 --identities 30000",
        Figure::Connection,
    ),
    quick(of(
        Peers::NoFloor,
        row(
            "resumed",
            "resumed handshake",
            "--kind handshakes --connections 16 --resume",
            Figure::Connection,
        ),
    )),
    of(
        Peers::HeraldOnly,
        row(
            "hybrid",
            "full handshake, X25519MLKEM768",
            "--kind handshakes --connections 16 --exchange hybrid",
            Figure::Connection,
        ),
    ),
    of(
        Peers::NoFloor,
        row(
            "churn",
            "connection of one request, resumed",
            "--kind churn --connections 16 --resume",
            Figure::Connection,
        ),
    ),
    quick(row(
        "down",
        "64 MiB down, h1, 4 connections",
        "--path /b/67108864 --connections 4",
        Figure::Bytes,
    )),
    row(
        "up",
        "64 MiB up, h1, 4 connections",
        "--post 67108864 --connections 4",
        Figure::Bytes,
    ),
    quick(row(
        "latency",
        "p99 at 70 % of the slowest peer's peak",
        "--connections 64",
        Figure::Latency,
    )),
    // The floor holds an origin connection for each: twice the open files.
    of(
        Peers::NoFloor,
        row(
            "idle",
            "10,000 idle connections",
            "--kind idle --connections 10000",
            Figure::Memory,
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_an_unknown_one_lists_them() {
        for scenario in ALL {
            assert_eq!(
                ALL.iter()
                    .filter(|other| other.name == scenario.name)
                    .count(),
                1
            );
        }
        let problem = plan(true, None, &["nope".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(problem.contains("resumed"), "{problem}");
    }

    #[test]
    fn latency_comes_after_the_scenario_that_finds_its_rate() {
        let place = |name| {
            ALL.iter()
                .position(|scenario| scenario.name == name)
                .unwrap()
        };
        assert!(place("latency") > place(SMALL));
    }
}
