//! `cargo xtask fuzz`: builds the targets of `tests/fuzz` once, with coverage feedback, and runs
//! each for some seconds, as many at a time as there are cores.
//!
//! Every run starts from the corpus of the repository, so it is a regression test as well. What a
//! run finds beyond it stays below `target/fuzz`; `--keep` distils that into the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use clap::Args;
use serde::Deserialize;

use crate::command::{self, Failure};

mod outcome;

use outcome::Outcome;

/// What to fuzz, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Afterwards take what widens the coverage into the corpora of the repository.
    #[arg(long)]
    keep: bool,
    /// Run only targets whose name contains this.
    target: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seconds: SECONDS,
            keep: false,
            target: None,
        }
    }
}

/// Fails if a target fails, or if what looks like fuzzing is none.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    let fuzzer = command::timed("build the fuzz targets", || Fuzzer::build(root))?;
    let targets = fuzzer.targets(options.target.as_deref())?;
    fuzzer.check_guidance()?;
    let started = Instant::now();
    let outcomes = fuzzer.run_all(&targets, options.seconds)?;
    println!("{}", outcome::HEADING);
    for outcome in &outcomes {
        println!("{outcome}");
    }
    println!("fuzzed for {:.1} s", started.elapsed().as_secs_f64());
    let failed: Vec<_> = outcomes.iter().filter_map(Outcome::failure).collect();
    for failure in &failed {
        println!("\n{failure}");
    }
    if !failed.is_empty() {
        return Err(Failure::new(format!(
            "{} fuzz targets failed",
            failed.len()
        )));
    }
    if options.keep {
        for target in &targets {
            fuzzer.keep(target)?;
        }
    }
    Ok(())
}

/// The built targets and where they keep things.
struct Fuzzer {
    executable: PathBuf,
    /// Each target's corpus in the repository.
    corpora: PathBuf,
    /// Below `target`: what runs find.
    work: PathBuf,
}

impl Fuzzer {
    fn build(root: &Path) -> Result<Self, Failure> {
        if !command::succeeds(Command::new("c++").arg("--version")) {
            return Err(Failure::new(
                "libFuzzer is C++ and there is no `c++`: install g++",
            ));
        }
        let folder = root.join("tests/fuzz");
        // Its own configuration has the flags; one from outside would replace them.
        let mut cargo = command::cargo(&folder);
        cargo.env_remove("RUSTFLAGS").args([
            "build",
            "--release",
            "--locked",
            "--message-format=json-render-diagnostics",
        ]);
        let messages = command::read(&mut cargo)?;
        let executable = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
            .next_back()
            .ok_or_else(|| Failure::new("cargo built no fuzz targets"))?;
        Ok(Self {
            executable,
            corpora: folder.join("corpus"),
            work: command::target_directory(&folder)?,
        })
    }

    /// The targets to run, less the canary.
    fn targets(&self, filter: Option<&str>) -> Result<Vec<String>, Failure> {
        let names = command::read(Command::new(&self.executable).env("HERALD_FUZZ_LIST", "1"))?;
        let targets: Vec<_> = names
            .lines()
            .filter(|name| *name != CANARY && filter.is_none_or(|part| name.contains(part)))
            .map(str::to_owned)
            .collect();
        if targets.is_empty() {
            Err(Failure::new("no fuzz target has such a name"))
        } else {
            Ok(targets)
        }
    }

    /// The canary's mistake is out of reach of blind tries: that it is found shows that the build
    /// gives coverage feedback and that a failure is seen.
    fn check_guidance(&self) -> Result<(), Failure> {
        let outcome = self.run_one(CANARY, CANARY_SECONDS_MAX)?;
        if outcome.log().contains("the canary sings") && outcome.failure().is_some() {
            println!("coverage feedback works: the planted mistake was found");
            Ok(())
        } else {
            Err(Failure::new(format!(
                "the planted mistake was not found in {CANARY_SECONDS_MAX} s: no coverage feedback"
            )))
        }
    }

    /// Each target once, as many at a time as there are cores.
    fn run_all(&self, targets: &[String], seconds: u64) -> Result<Vec<Outcome>, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let queue = Mutex::new(targets.iter());
        let worker = || -> Result<Vec<Outcome>, Failure> {
            let mut outcomes = Vec::new();
            loop {
                let next = queue.lock().map_or(None, |mut queue| queue.next());
                let Some(target) = next else {
                    return Ok(outcomes);
                };
                println!("fuzzing {target} for {seconds} s");
                outcomes.push(self.run_one(target, seconds)?);
            }
        };
        let mut outcomes = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
            let results = workers.into_iter().map(|worker| {
                let died = |_panic| Err(Failure::new("a thread that fuzzes died"));
                worker.join().unwrap_or_else(died)
            });
            results.collect::<Result<Vec<_>, _>>()
        })?
        .concat();
        outcomes.sort_by_key(|outcome| targets.iter().position(|target| *target == outcome.target));
        Ok(outcomes)
    }

    fn run_one(&self, target: &str, seconds: u64) -> Result<Outcome, Failure> {
        let found = self.work.join("found");
        let log = self.work.join(format!("{target}.log"));
        let mut command = Command::new(&self.executable);
        command
            .env("HERALD_FUZZ_TARGET", target)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-artifact_prefix={}/{target}-", found.display()))
            .arg("-print_final_stats=1");
        // The canary starts from nothing, every time.
        if target != CANARY {
            let own = self.work.join("corpus").join(target);
            create(&own)?;
            command.arg(own).arg(self.seeds(target)?);
        }
        create(&found)?;
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::new(format!("{target} cannot be run: {error}")))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        fs::write(&log, &text)
            .map_err(|error| Failure::new(format!("{}: {error}", log.display())))?;
        Ok(Outcome::new(target, output.status.success(), text))
    }

    fn seeds(&self, target: &str) -> Result<PathBuf, Failure> {
        let seeds = self.corpora.join(target);
        if seeds.is_dir() {
            Ok(seeds)
        } else {
            let missing = format!("{} is missing: a target has a corpus", seeds.display());
            Err(Failure::new(missing))
        }
    }

    /// The fewest inputs that together reach what all reach. Long ones stay out of the repository.
    fn keep(&self, target: &str) -> Result<(), Failure> {
        let (seeds, found) = (self.seeds(target)?, self.work.join("corpus").join(target));
        let merged = self.work.join("merged").join(target);
        if merged.exists() {
            fs::remove_dir_all(&merged)
                .map_err(|error| Failure::new(format!("{}: {error}", merged.display())))?;
        }
        create(&merged)?;
        let mut merge = Command::new(&self.executable);
        merge
            .env("HERALD_FUZZ_TARGET", target)
            .arg("-set_cover_merge=1")
            .arg(format!("-max_len={KEPT_BYTES_MAX}"))
            .args([&merged, &seeds, &found])
            .stderr(Stdio::null());
        command::run(&mut merge)?;
        let problem = |error| Failure::new(format!("{}: {error}", seeds.display()));
        fs::remove_dir_all(&seeds).map_err(problem)?;
        create(&seeds)?;
        for entry in fs::read_dir(&merged).map_err(problem)? {
            let path = entry.map_err(problem)?.path();
            let name = path.file_name().unwrap_or_default();
            fs::copy(&path, seeds.join(name)).map_err(problem)?;
        }
        Ok(())
    }
}

fn create(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))
}

/// The part of cargo's JSON messages that tells of a built executable.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// The target that must fail.
const CANARY: &str = "canary";
/// It takes about two seconds.
const CANARY_SECONDS_MAX: u64 = 60;
/// What issue-sized runs and CI give each target.
const SECONDS: u64 = 10;
/// Longer than any limit that a parser has of its own but for bodies, which are not parsed.
const INPUT_BYTES_MAX: usize = 8 * 1024;
/// An input that takes longer is a finding.
const INPUT_SECONDS_MAX: u64 = 10;
/// An input that makes the process larger is a finding.
const MEMORY_MIB_MAX: u64 = 1024;
/// Longest input kept in the repository.
const KEPT_BYTES_MAX: usize = 2 * 1024;
