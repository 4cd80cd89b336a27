//! `cargo xtask vm`: the tests that need a kernel of their own, on real Debian kernels in QEMU.
//!
//! For each series the newest kernel of Debian's signed indexes is fetched (`kernel.rs`), an
//! initramfs is made of `herald`, the test binaries and the modules they need (`image.rs`,
//! `modules.rs`, `archive.rs`), and QEMU boots it without KVM: any machine will do. The guests run
//! side by side (`side.rs`), each line of theirs behind its series. The tests' output is read as
//! that of a native suite. Kernel messages go to `target/vm/console-*.log`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::command::{self, Failure};
use crate::ebpf;
use crate::test::{self, Environment, Report, Row, TestBinary};

mod archive;
mod counts;
mod image;
mod kernel;
mod modules;
mod side;

/// Which kernels, which tests.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Only this series; may be given more than once. Without it all of them.
    #[arg(long, value_parser = SERIES)]
    pub(crate) kernel: Vec<String>,
    /// Also run the tests that take minutes.
    #[arg(long)]
    pub(crate) long: bool,
    /// Run only tests whose name contains this.
    #[arg(last = true)]
    pub(crate) filter: Option<String>,
}

/// The oldest kernel that Debian still serves, the stable one, and the newest that it packages.
const SERIES: [&str; 3] = ["6.1", "6.12", "7.x"];

/// The suites that have something to show in a guest: a test binary, and what its tests' names
/// must contain. A guest has no nginx, curl, openssl or Python.
const SUITES: [(&str, &str); 9] = [
    ("tests::kernel", ""),
    ("tests::kernel_counts", ""),
    ("tests::kernel_ends", ""),
    ("tests::kernel_lookup", ""),
    ("tests::kernel_programs", ""),
    ("tests::kernel_refusals", ""),
    ("tests::kernel_sources", ""),
    ("tests::kernel_steering", ""),
    ("tests::steering_log", "each_decision_is_told"),
];

/// What is carried into a guest.
#[derive(Debug)]
struct Load<'a> {
    herald: &'a Path,
    /// The kernel programs that tell each decision: one suite gives them to Herald.
    objects: Vec<PathBuf>,
    suites: Vec<Suite<'a>>,
    long: bool,
    /// The guest's clock counts instructions, and only what reads it runs.
    counts: bool,
}

/// One binary and the tests of it that a guest runs.
#[derive(Debug)]
struct Suite<'a> {
    binary: &'a TestBinary,
    tests: Vec<String>,
}

/// Boots each kernel and runs the tests; fails on a failed or skipped test.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    let target = command::target_directory(root)?;
    let missing = command::timed("set-up", || Ok(test::prepare(&target).missing))?;
    let herald = command::timed("build herald (release)", || test::herald(root, &target))?;
    let built = command::timed("build the tests", || test::tests(root))?;
    command::timed("build the kernel programs that tell", || {
        ebpf::build_telling(root)
    })?;
    let mut report = Report::default();
    for row in rows(&target, &herald, &built, options)? {
        report.add(row);
    }
    report.print(&missing, started.elapsed());
    report.verdict(&test::Options {
        require_all: true,
        filter: Some(String::new()),
        ..test::Options::default()
    })
}

/// `cargo xtask bench ktls`: instructions a request for each level, a table a kernel.
pub(crate) fn count(root: &Path, kernels: &[String]) -> Result<(), Failure> {
    let target = command::target_directory(root)?;
    command::timed("set-up", || Ok(test::prepare(&target)))?;
    let herald = command::timed("build herald (release)", || test::herald(root, &target))?;
    let built = command::timed("build the tests", || test::tests(root))?;
    let load = Load {
        herald: &herald,
        objects: Vec::new(),
        suites: suites(&built, counts::TEST)?,
        long: false,
        counts: true,
    };
    let (mut tables, mut problems) = (String::new(), Vec::new());
    for mut row in boot_all(kernels, &load, &target)? {
        problems.append(&mut row.failures);
        match counts::table(&row.name, &row.said) {
            Ok(table) => tables.push_str(&table),
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    println!("\n{tables}");
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(problems.join("\n"))),
    }
}

/// One row for each kernel; a kernel that cannot be had or booted is a failure in its row.
pub(crate) fn rows(
    target: &Path,
    herald: &Path,
    built: &[TestBinary],
    options: &Options,
) -> Result<Vec<Row>, Failure> {
    let load = Load {
        herald,
        objects: ebpf::telling(target),
        suites: suites(built, options.filter.as_deref().unwrap_or_default())?,
        long: options.long,
        counts: false,
    };
    boot_all(&options.kernel, &load, target)
}

/// Fetches the kernels of these series, or of all, and boots them side by side.
fn boot_all(series: &[String], load: &Load<'_>, target: &Path) -> Result<Vec<Row>, Failure> {
    let store = command::timed("kernels", || kernel::Store::open(&target.join("vm")))?;
    let wanted =
        |one: &&&str| series.is_empty() || series.iter().any(|wanted| wanted.as_str() == **one);
    // apt works for one at a time.
    let fetched: Vec<_> = SERIES
        .iter()
        .filter(wanted)
        .map(|series| {
            let kernel = command::timed(&format!("kernel {series}"), || store.get(series));
            (*series, kernel)
        })
        .collect();
    let programs = command::timed("strip what guests run", || {
        image::Programs::of(load, store.busybox(), &target.join("vm"))
    })?;
    // All of them: a guest's client waits for its server and the other way round, for which another guest has the
    // processor. Counts are taken by as many as have a processor each.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let at_once = if load.counts {
        processors
    } else {
        SERIES.len()
    };
    Ok(side::by_side(fetched, at_once, |(series, kernel)| {
        let booted = kernel.and_then(|kernel| boot(series, &kernel, &programs, load, target));
        booted.unwrap_or_else(|problem| {
            println!("{problem}");
            let mut row = Row::new(&format!("kernel {series}"), true);
            row.failures.push(format!("kernel {series}: {problem}"));
            row
        })
    }))
}

fn boot(
    series: &str,
    kernel: &kernel::Kernel,
    programs: &image::Programs,
    load: &Load<'_>,
    target: &Path,
) -> Result<Row, Failure> {
    let folder = target.join("vm");
    println!("kernel {series} is {} ({})", kernel.release, kernel.version);
    let image = folder.join(format!("initramfs-{series}.cpio"));
    let console = folder.join(format!("console-{series}.log"));
    image::build(&image, kernel, programs)?;
    let name = format!("kernel {}", kernel.release);
    let environment = Environment {
        herald: PathBuf::new(),
        python: None,
        require_all: true,
        long: load.long,
        filter: None,
        logs: target.join("test-logs"),
        deadline: if load.long {
            LONG_GUEST_TIME_MAX
        } else {
            GUEST_TIME_MAX
        },
        closing: Some(CLOSING),
        mark: format!("{series}: "),
    };
    let row = test::execute(
        &name,
        true,
        &mut qemu(kernel, &image, &console, load.counts),
        &environment,
    );
    if !row.failures.is_empty() {
        let text = fs::read(&console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        println!("{series}: --- the end of {}", console.display());
        for line in lines
            .iter()
            .skip(lines.len().saturating_sub(CONSOLE_LINES_SHOWN))
        {
            println!("{series}: {line}");
        }
    }
    Ok(row)
}

/// The first serial line is the kernel's, the second the tests'. No network: the guest's loopback
/// is all there is.
fn qemu(kernel: &kernel::Kernel, image: &Path, console: &Path, counts: bool) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .args(if counts { COUNTING } else { RUNNING })
        .args(["-m", "2048"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        // A panic reboots at once, and -no-reboot makes that the end.
        .args(["-append", "console=ttyS0 panic=-1 quiet loglevel=6"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"]);
    command
}

/// Picks the tests of [`SUITES`] whose names contain `filter`.
fn suites<'a>(built: &'a [TestBinary], filter: &str) -> Result<Vec<Suite<'a>>, Failure> {
    let mut suites = Vec::new();
    for (name, contained) in SUITES {
        let binary = built.iter().find(|binary| binary.name == name);
        let binary = binary.ok_or_else(|| Failure::new(format!("cargo built no {name}")))?;
        let names =
            command::read(Command::new(&binary.executable).args(["--list", "--format", "terse"]))?;
        let tests: Vec<_> = names
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .filter(|test| test.contains(contained) && test.contains(filter))
            .map(str::to_owned)
            .collect();
        if !tests.is_empty() {
            suites.push(Suite { binary, tests });
        }
    }
    if suites.is_empty() {
        return Err(Failure::new(format!(
            "no test for a guest has {filter:?} in its name"
        )));
    }
    Ok(suites)
}

/// Two processors, as fast as they go. Told that `rep movsb` is fast, kernel and C library copy with it, a byte at a time
/// in emulation: without it bodies took a quarter less.
const RUNNING: [&str; 6] = [
    "-accel",
    "tcg,thread=multi",
    "-smp",
    "2",
    "-cpu",
    "max,-erms",
];
/// One processor whose clock ticks a nanosecond an instruction.
const COUNTING: [&str; 6] = ["-icount", "shift=0", "-smp", "1", "-cpu", "max"];
/// What `init.sh` says when every suite ended well.
const CLOSING: &str = "every suite ended well";
const GUEST_TIME_MAX: Duration = Duration::from_secs(15 * 60);
const LONG_GUEST_TIME_MAX: Duration = Duration::from_secs(60 * 60);
const CONSOLE_LINES_SHOWN: usize = 25;
