//! Runs one test binary: shows its progress, keeps its whole output in a log, reads what it says.
//!
//! The output of tests that passed goes only to the log, except that their `SKIPPED` lines are
//! collected: a test that returned early is not one that passed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use super::build::TestBinary;
use super::report::Row;
use crate::command;

/// What every suite is given.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) herald: PathBuf,
    pub(crate) python: Option<PathBuf>,
    pub(crate) require_all: bool,
    pub(crate) long: bool,
    pub(crate) filter: Option<String>,
    pub(crate) logs: PathBuf,
    /// How long one suite may take.
    pub(crate) deadline: Duration,
    /// A line without which the suite did not come to its end, whatever its exit status.
    pub(crate) closing: Option<&'static str>,
    /// Stands before each line that is shown, where suites run side by side.
    pub(crate) mark: String,
}

/// Runs a built test binary in its package's folder, as cargo would.
pub(crate) fn run(binary: &TestBinary, environment: &Environment) -> Row {
    let mut command = Command::new(&binary.executable);
    command
        .current_dir(&binary.folder)
        .env("CARGO_MANIFEST_DIR", &binary.folder)
        .env("HERALD_BIN", &environment.herald)
        .args(&environment.filter)
        .arg("--show-output");
    environment.apply(&mut command);
    execute(&binary.name, binary.is_black_box, &mut command, environment)
}

/// Runs the examples in documentation comments, which only cargo can build.
pub(crate) fn run_doc_tests(root: &Path, environment: &Environment) -> Row {
    let mut command = command::cargo(root);
    command.args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]);
    environment.apply(&mut command);
    execute("documentation examples", false, &mut command, environment)
}

impl Environment {
    fn apply(&self, command: &mut Command) {
        for (name, wanted) in [
            ("HERALD_REQUIRE_ALL", self.require_all),
            ("HERALD_LONG", self.long),
        ] {
            if wanted {
                command.env(name, "1");
            } else {
                command.env_remove(name);
            }
        }
        if let Some(python) = &self.python {
            command.env("HERALD_PYTHON", python);
        }
    }
}

/// Runs a command that speaks as libtest does.
pub(crate) fn execute(
    name: &str,
    is_black_box: bool,
    command: &mut Command,
    environment: &Environment,
) -> Row {
    println!("==> {name}");
    let started = Instant::now();
    let mut reading = Reading {
        row: Row::new(name, is_black_box),
        ..Reading::default()
    };
    if let Err(error) = follow(name, command, environment, &mut reading) {
        reading.row.failures.push(format!("{name}: {error}"));
    }
    let mut row = reading.into_row();
    row.took = started.elapsed();
    println!(
        "<== {name}: {} passed, {} failed, {} skipped in {:.1} s",
        row.passed,
        row.failures.len(),
        row.skips.len(),
        row.took.as_secs_f64()
    );
    row
}

fn follow(
    name: &str,
    command: &mut Command,
    environment: &Environment,
    reading: &mut Reading,
) -> io::Result<()> {
    fs::create_dir_all(&environment.logs)?;
    let mut log = File::create(
        environment
            .logs
            .join(format!("{}.log", name.replace([':', ' '], "-"))),
    )?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (sender, lines) = mpsc::channel();
    forward(child.stdout.take(), sender.clone());
    forward(child.stderr.take(), sender);

    let deadline = Instant::now() + environment.deadline;
    let mut is_closed = environment.closing.is_none();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                writeln!(log, "{line}")?;
                is_closed |= environment.closing == Some(line.as_str());
                if reading.take(&line) {
                    println!("{}{line}", environment.mark);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return give_up(&mut child, environment.deadline),
        }
    }
    let status = child.wait()?;
    if !is_closed && reading.row.failures.is_empty() {
        return Err(io::Error::other("stopped before its end"));
    }
    if !status.success() && reading.row.failures.is_empty() {
        return Err(io::Error::other(format!(
            "ended with {status} and named no failed test"
        )));
    }
    Ok(())
}

fn give_up(child: &mut Child, after: Duration) -> io::Result<()> {
    child.kill()?;
    child.wait()?;
    Err(io::Error::other(format!(
        "still ran after {} s and was killed",
        after.as_secs()
    )))
}

/// Sends each line of a pipe on, until its last writer is gone.
fn forward(pipe: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&line);
            if lines
                .send(text.trim_end_matches(['\n', '\r']).to_owned())
                .is_err()
            {
                return;
            }
            line.clear();
        }
    });
}

/// What has been read so far of libtest's output.
#[derive(Debug, Default)]
struct Reading {
    row: Row,
    ignored: Vec<String>,
    /// Inside the part that repeats the output of passed tests.
    is_quiet: bool,
}

impl Reading {
    /// Takes one line; true if it is worth showing.
    fn take(&mut self, line: &str) -> bool {
        if let Some(skip) = line.strip_prefix("SKIPPED ") {
            self.row.skips.insert(skip.to_owned());
            return true;
        }
        if let Some(name) = line.strip_prefix("NOT RUN ") {
            self.row.not_run.insert(name.to_owned());
            return true;
        }
        if line.starts_with("COUNT ") {
            self.row.said.push(line.to_owned());
            return true;
        }
        match line {
            "successes:" => self.is_quiet = true,
            "failures:" => self.is_quiet = false,
            _ => {}
        }
        if line.starts_with("test result: ") {
            self.is_quiet = false;
            self.row.passed += count(line, "passed");
            return true;
        }
        if let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        {
            if outcome == "FAILED" {
                self.row.failures.push(format!("{}: {name}", self.row.name));
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                self.ignored.push(format!("{name}: ignored{reason}"));
            }
        }
        !self.is_quiet && !line.is_empty()
    }

    /// A test that skipped itself was counted as passed by libtest; here it counts once.
    fn into_row(mut self) -> Row {
        let absent = self.row.skips.len() + self.row.not_run.len();
        self.row.passed = self.row.passed.saturating_sub(absent);
        self.row.skips.extend(self.ignored);
        self.row
    }
}

/// The number before `word` in `test result: ok. 3 passed; 0 failed; ...`.
fn count(line: &str, word: &str) -> usize {
    line.split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> (Row, Vec<&str>) {
        let mut reading = Reading {
            row: Row::new("suite", true),
            ..Reading::default()
        };
        let shown = output.lines().filter(|line| reading.take(line)).collect();
        (reading.into_row(), shown)
    }

    #[test]
    fn a_test_that_skipped_itself_did_not_pass() {
        let (row, shown) = read(
            "running 3 tests\ntest a ... ok\ntest b ... ok\ntest c ... ok\n\nsuccesses:\n\n---- b stdout ----\n\
             SKIPPED b: nginx is not here\nchatter\n\nsuccesses:\n    a\n    b\n\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        assert_eq!(row.passed, 2);
        assert_eq!(
            row.skips.iter().collect::<Vec<_>>(),
            ["b: nginx is not here"]
        );
        assert!(row.failures.is_empty());
        assert!(!shown.contains(&"chatter"));
        assert!(shown.contains(&"SKIPPED b: nginx is not here"));
    }

    #[test]
    fn failed_and_ignored_tests_are_named_and_failure_output_is_shown() {
        let (row, shown) = read(
            "test a ... FAILED\ntest m::b ... ignored, needs a kernel\nfailures:\n---- a stdout ----\nleft: 1\n\
             test result: FAILED. 0 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!(row.passed, 0);
        assert_eq!(row.failures, ["suite: a"]);
        assert_eq!(
            row.skips.iter().collect::<Vec<_>>(),
            ["m::b: ignored, needs a kernel"]
        );
        assert!(shown.contains(&"left: 1"));
    }

    #[test]
    fn a_long_test_left_out_is_neither_passed_nor_skipped() {
        let (row, _) =
            read("NOT RUN soak (needs --long)\ntest result: ok. 1 passed; 0 failed; 0 ignored");
        assert_eq!((row.passed, row.skips.len(), row.not_run.len()), (0, 0, 1));
    }

    fn environment(folder: &Path, deadline: Duration) -> Environment {
        Environment {
            herald: PathBuf::new(),
            python: None,
            require_all: false,
            long: false,
            filter: None,
            logs: folder.to_owned(),
            deadline,
            closing: None,
            mark: String::new(),
        }
    }

    fn shell(script: &str, deadline: Duration) -> Row {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        execute(
            "script",
            true,
            &mut command,
            &environment(folder.path(), deadline),
        )
    }

    #[test]
    fn a_suite_that_dies_without_a_word_failed() {
        let row = shell("echo 'test a ... ok'; kill -9 $$", Duration::from_secs(60));
        assert_eq!(row.failures.len(), 1, "{row:?}");
    }

    #[test]
    fn a_suite_that_hangs_is_killed_and_failed() {
        let row = shell("exec sleep 600", Duration::from_millis(200));
        assert!(
            row.failures.first().unwrap().contains("was killed"),
            "{row:?}"
        );
    }
}
