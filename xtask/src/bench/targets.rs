//! Which targets hold: Herald against the best peer of the same run, or against a number.

use serde::{Deserialize, Serialize};

use super::peers::Kind;
use super::record::{Record, median};
use super::scenario::EXTRAS;

/// A target, and where Herald stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Target {
    pub(super) title: String,
    /// Herald's share of the best peer's figure, or its own figure; `None` if not measured.
    pub(super) is: Option<f64>,
    pub(super) must: f64,
    pub(super) aim: f64,
    pub(super) at_least: bool,
    /// Who or what it is relative to.
    pub(super) against: String,
}

/// What a target says.
struct Rule {
    scenario: &'static str,
    against: Against,
    must: f64,
    aim: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Against {
    BestPeer,
    Floor,
    Nothing,
}

/// All targets.
pub(super) fn judge(record: &Record) -> Vec<Target> {
    let mut targets: Vec<Target> = RULES.iter().map(|rule| rule.judge(record)).collect();
    targets.push(headers(record));
    targets.push(access_log(record));
    let peak = record
        .peaks
        .iter()
        .find(|(name, _)| name == Kind::Herald.name());
    targets.push(Target {
        title: "peak RSS after all loads, MiB".to_owned(),
        is: peak.map(|(_, kib)| f64::from(u32::try_from(*kib).unwrap_or(u32::MAX)) / 1024.0),
        must: 64.0,
        aim: 32.0,
        at_least: false,
        against: "MiB".to_owned(),
    });
    targets
}

impl Target {
    pub(super) fn verdict(&self) -> &'static str {
        let holds = |bound: f64, is: f64| {
            if self.at_least {
                is >= bound
            } else {
                is <= bound
            }
        };
        match self.is {
            None => "not measured",
            Some(is) if holds(self.aim, is) => "aim",
            Some(is) if holds(self.must, is) => "must",
            Some(_) => "MISSED",
        }
    }
}

impl Rule {
    fn judge(&self, record: &Record) -> Target {
        let row = record.row(self.scenario, Kind::Herald.name());
        let at_least = row.is_some_and(|row| row.more_is_better)
            || super::scenario::by_name(self.scenario)
                .is_some_and(|scenario| scenario.figure.more_is_better());
        let own = row.map(super::record::Row::median);
        let (is, against) = match self.against {
            Against::Nothing => (own, "KiB".to_owned()),
            Against::Floor => match record.row(self.scenario, Kind::Floor.name()) {
                Some(floor) => (own.map(|own| own / floor.median()), "floor".to_owned()),
                None => (None, "floor".to_owned()),
            },
            Against::BestPeer => match best(record, self.scenario, at_least) {
                Some((name, figure)) => (own.map(|own| own / figure), name),
                None => (None, "no peer".to_owned()),
            },
        };
        let title = super::scenario::by_name(self.scenario).map_or(self.scenario, |row| row.title);
        Target {
            title: title.to_owned(),
            is: is.filter(|is| is.is_finite()),
            must: self.must,
            aim: self.aim,
            at_least,
            against,
        }
    }
}

/// What nine more headers cost a request. (That they cost no allocation is a test's to show.)
fn headers(record: &Record) -> Target {
    Target {
        title: "ten headers, µs more a request".to_owned(),
        is: difference(record, Kind::Bare, Kind::Herald),
        must: 0.5,
        aim: 0.5,
        at_least: false,
        against: "one header".to_owned(),
    }
}

/// What a record of each request costs, the writing thread and its system calls included.
fn access_log(record: &Record) -> Target {
    Target {
        title: "access log on, µs more".to_owned(),
        is: difference(record, Kind::Herald, Kind::Logged),
        must: 1.0,
        aim: 0.5,
        at_least: false,
        against: "log off".to_owned(),
    }
}

/// How much more a small request takes of `to` than of `from`: the median over rounds, within which the
/// machine is the same for both.
fn difference(record: &Record, from: Kind, to: Kind) -> Option<f64> {
    let samples = |kind: Kind| Some(&record.row(EXTRAS, kind.name())?.samples);
    let pairs = samples(from)?.iter().zip(samples(to)?);
    Some(median(pairs.map(|(from, to)| to.value - from.value)))
}

/// The best of the peers in a scenario. The floor is none of them.
fn best(record: &Record, scenario: &str, most: bool) -> Option<(String, f64)> {
    record
        .rows
        .iter()
        .filter(|row| row.scenario == scenario)
        .filter(|row| Kind::by_name(&row.peer).is_some_and(Kind::is_rival))
        .map(|row| (row.peer.clone(), row.median()))
        .min_by(
            |(_, a), (_, b)| {
                if most { b.total_cmp(a) } else { a.total_cmp(b) }
            },
        )
}

const fn rule(scenario: &'static str, against: Against, must: f64, aim: f64) -> Rule {
    Rule {
        scenario,
        against,
        must,
        aim,
    }
}

const RULES: [Rule; 13] = [
    rule("small", Against::BestPeer, 0.55, 0.42),
    rule("small", Against::Floor, 1.5, 1.2),
    rule("10k", Against::BestPeer, 0.60, 0.45),
    rule("h2", Against::BestPeer, 0.70, 0.50),
    rule("full", Against::BestPeer, 0.70, 0.50),
    rule("full-new", Against::BestPeer, 0.80, 0.70),
    rule("resumed", Against::BestPeer, 0.70, 0.55),
    rule("1m", Against::BestPeer, 1.0, 1.15),
    rule("down", Against::BestPeer, 1.0, 1.15),
    rule("up", Against::BestPeer, 1.1, 1.25),
    rule("idle", Against::Nothing, 16.0, 8.0),
    rule("latency", Against::BestPeer, 1.2, 0.8),
    rule("slow", Against::BestPeer, 0.60, 0.45),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Sample;
    use crate::bench::scenario::Figure;

    fn record(figures: &[(&str, &str, f64)]) -> Record {
        let mut record: Record = serde_json::from_value(serde_json::json!({
            "started": "", "quick": false, "processor": "", "kernel": "", "cores": 2,
            "workers": 1, "peers": [], "skipped": [], "rows": [], "rate": null, "peaks": [],
            "targets": [], "remarks": [],
        }))
        .unwrap();
        for (scenario, peer, value) in figures {
            let figure = super::super::scenario::by_name(scenario).unwrap().figure;
            let sample = Sample {
                value: *value,
                ..Sample::default()
            };
            record.add((scenario, ""), figure, peer, sample);
        }
        record
    }

    #[test]
    fn herald_is_set_against_the_best_peer_and_never_against_the_floor() {
        let record = record(&[
            ("small", "herald", 15.0),
            ("small", "nginx", 30.0),
            ("small", "haproxy", 25.0),
            ("small", "floor", 10.0),
        ]);
        let targets = judge(&record);
        assert_eq!(
            (targets[0].is, targets[0].against.as_str()),
            (Some(0.6), "haproxy")
        );
        assert_eq!(targets[0].verdict(), "MISSED");
        assert_eq!((targets[1].is, targets[1].verdict()), (Some(1.5), "must"));
    }

    #[test]
    fn where_more_is_better_the_best_peer_is_the_one_with_most() {
        assert!(Figure::Bytes.more_is_better());
        let record = record(&[
            ("up", "herald", 1300.0),
            ("up", "nginx", 1000.0),
            ("up", "envoy", 500.0),
        ]);
        let targets = judge(&record);
        let up = targets
            .iter()
            .find(|target| target.at_least && target.is.is_some())
            .unwrap();
        assert_eq!((up.against.as_str(), up.verdict()), ("nginx", "aim"));
    }

    /// Between rounds the machine may become another; within one it does not.
    #[test]
    fn a_difference_is_taken_within_rounds() {
        let record = record(&[
            ("extras", "herald", 15.0),
            ("extras", "herald-logged", 15.8),
            ("extras", "herald", 20.0),
            ("extras", "herald-logged", 21.1),
            ("extras", "herald", 15.1),
            ("extras", "herald-logged", 15.9),
        ]);
        let target = access_log(&record);
        assert!((target.is.unwrap() - 0.8).abs() < 1e-9);
        assert_eq!(target.verdict(), "must");
    }

    #[test]
    fn what_was_not_measured_holds_nothing() {
        let targets = judge(&record(&[("small", "herald", 15.0)]));
        assert!(
            targets
                .iter()
                .all(|target| target.verdict() == "not measured")
        );
    }
}
