//! The command line: subcommands, what they print, and the exit codes.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::admin::client::AskError;
use crate::admin::status::Status;
use crate::admin::{client, table};
use crate::app::{App, StartError, Stopped};
use crate::config::file::{definition, lenient};
use crate::config::flags::LogLevel;
use crate::config::{AdminAddr, Config, Flags, Mistakes, reference};
use crate::files::Files;
use crate::headers::{self, Preset};
use crate::reload::{CALL_MAX, Source};
use crate::selftest::{self, SelftestError};
use crate::snapshot::Snapshot;
use crate::steering::Steering;
use crate::{demo, telemetry};

mod explain;

/// Herald stands in front of HTTP origins, terminates mutual TLS, and tells the origin on every
/// request, in headers it can trust, who is calling.
#[derive(Debug, Parser)]
#[command(name = "herald", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serves.
    Run(Flags),
    /// Checks flags, file and all files they name, and prints what would run.
    Check(Flags),
    /// Shows in a minute what Herald does: no root, no files, no configuration.
    Demo(Demo),
    /// Shows what a running Herald does, asked at its --admin address.
    Status(Ask),
    /// Tells why a caller is served or refused, check by check, and what the origin gets.
    Explain(explain::Ask),
    /// Has a running Herald read its configuration again, at its --admin address (a Unix socket).
    ///
    /// Exit code 0: it is in force. 2: it is refused, and the old one stays.
    Reload(Reload),
    /// Attacks a configuration: starts it on loopback, with throw-away client CAs and an origin that notes what it sees.
    ///
    /// Exit code 0 only if every attack was withstood.
    Selftest(Selftest),
    /// Lists the sets of headers --preset knows, each with what an origin gets of a sample caller.
    Presets,
    /// Prints the manual page (roff).
    Man,
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the reference of all settings (Markdown).
    Reference,
}

#[derive(Args, Debug)]
struct Demo {
    /// Ends after the table; exit code 0 only if every row was right.
    #[arg(long)]
    once: bool,
}

#[derive(Args, Debug)]
struct Selftest {
    #[command(flatten)]
    _settings: Flags,

    /// Attacks the application of this name; all, if left out. Repeatable.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Args, Debug)]
struct Ask {
    /// The --admin address of the Herald to ask.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "unix:/run/herald/admin.sock"
    )]
    admin: AdminAddr,

    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Reload {
    /// The --admin address of the Herald to reload.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "unix:/run/herald/admin.sock"
    )]
    admin: AdminAddr,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done; stopped, and every connection finished
  1  failed while running (or a demonstration with a wrong row, an attack not withstood)
  2  the flags, the file, or a file they name is wrong
  3  stopped, with connections still open at the drain timeout";

/// Longest line of a sample, in bytes.
const LINE_MAX: usize = 160;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const FORCED: u8 = 3;

/// Does what the arguments ask.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) if is_about_a_value(&error) => return with_all_mistakes(&error),
        Err(error) => return tell(&error),
    };
    let action = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.action,
        Err(error) => return told(USAGE, &error),
    };
    let given = matches.subcommand().map(|(_, given)| given);
    match (action, given) {
        (Action::Run(_), Some(given)) => run(given),
        (Action::Check(_), Some(given)) => check(given),
        (Action::Selftest(Selftest { only, .. }), Some(given)) => attack(given, &only),
        (Action::Demo(Demo { once }), _) => demonstrate(once),
        (Action::Status(ask), _) => show_status(&ask),
        (Action::Explain(ask), _) => explain::run(&ask),
        (Action::Reload(Reload { admin }), _) => reload(&admin),
        (Action::Presets, _) => presets(),
        (Action::Man, _) => man(),
        (Action::Completions { shell }, _) => {
            let mut page = Vec::new();
            clap_complete::generate(shell, &mut command(), "herald", &mut page);
            print(&page)
        }
        (Action::Reference, _) => print(reference::page().as_bytes()),
        (Action::Run(_) | Action::Check(_) | Action::Selftest(_), None) => ExitCode::from(USAGE),
    }
}

fn is_about_a_value(error: &clap::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8
    )
}

/// Clap stopped at the first wrong value; an operator wants to hear of all, and of the file's.
fn with_all_mistakes(first: &clap::Error) -> ExitCode {
    match all_mistakes(std::env::args_os()) {
        Ok(Some(mistakes)) => told(USAGE, &mistakes),
        Ok(None) => tell(first),
        Err(error) => tell(&error),
    }
}

fn all_mistakes(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Mistakes>, clap::Error> {
    let command = ["run", "check", "selftest"]
        .into_iter()
        .fold(command(), |command, name| {
            command.mut_subcommand(name, lenient)
        });
    let mut matches = command.try_get_matches_from(arguments)?;
    let given = matches.remove_subcommand();
    Ok(given.and_then(|(_, given)| Config::load(&given, &Files::default()).err()))
}

fn tell(error: &clap::Error) -> ExitCode {
    // Help and version go to standard output, mistakes to standard error; if neither can be
    // written there is nobody to tell.
    drop(error.print());
    if error.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// The whole command, for the manual page and completions too.
fn command() -> Command {
    Cli::command()
}

fn run(given: &ArgMatches) -> ExitCode {
    let files = Files::default();
    let config = match Config::load(given, &files) {
        Ok(config) => config,
        Err(mistakes) => return told(USAGE, &mistakes),
    };
    telemetry::log::install(level(config.log_level));
    let given = given.clone();
    let source = Source {
        files,
        load: Some(Arc::new(move |files| Config::load(&given, files))),
    };
    match App::start(&config, source) {
        Ok(app) => match app.run() {
            Ok(Stopped::Drained) => ExitCode::SUCCESS,
            Ok(Stopped::Forced) => ExitCode::from(FORCED),
            Err(error) => told(FAILED, &error),
        },
        Err(error @ StartError::Config(_)) => told(USAGE, &error),
        Err(error) => told(FAILED, &error),
    }
}

fn check(given: &ArgMatches) -> ExitCode {
    let files = Files::default();
    let compiled = Config::load(given, &files).and_then(|config| {
        Snapshot::compile(&config, &files, None).map(|snapshot| (config, snapshot))
    });
    match compiled {
        Ok((config, snapshot)) => print(
            format!(
                "Sound. This would run:\n\n{}\n{}\n{}",
                config.plan(),
                snapshot.summary(),
                kernel_programs(&config)
            )
            .as_bytes(),
        ),
        Err(mistakes) => told(USAGE, &mistakes),
    }
}

/// Which kernel programs this process could use here.
fn kernel_programs(config: &Config) -> String {
    let report = Steering::probe(config);
    let line = |(program, standing)| format!("  {program:12}  {standing}\n");
    let lines: String = report.programs().map(line).collect();
    format!("Kernel programs (ebpf):\n{lines}")
}

fn demonstrate(once: bool) -> ExitCode {
    // What the demonstration's callers do wrong is in its table.
    telemetry::log::install(LevelFilter::ERROR);
    match demo::run(once, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => told(FAILED, &error),
    }
}

fn attack(given: &ArgMatches, only: &[String]) -> ExitCode {
    let config = match Config::load(given, &Files::default()) {
        Ok(config) => config,
        Err(mistakes) => return told(USAGE, &mistakes),
    };
    // What the attackers do wrong is in the table.
    telemetry::log::install(LevelFilter::ERROR);
    match selftest::run(&config, only, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error @ SelftestError::Config(_)) => told(USAGE, &error),
        Err(error) => told(FAILED, &error),
    }
}

fn show_status(ask: &Ask) -> ExitCode {
    let body = match client::ask(&ask.admin, "/status") {
        Ok(body) => body,
        Err(error) => return told(FAILED, &error),
    };
    if ask.json {
        return print(&body);
    }
    match serde_json::from_slice::<Status>(&body) {
        Ok(status) => print(table::draw(&status, io::stdout().is_terminal()).as_bytes()),
        Err(error) => {
            let message = format!("the Herald there is of another version, try --json: {error}");
            told(FAILED, &message)
        }
    }
}

fn reload(address: &AdminAddr) -> ExitCode {
    match client::reload(address, CALL_MAX) {
        Ok(answer) => print(&answer),
        Err(AskError::Refused(why)) => told(
            USAGE,
            &format!("not reloaded, the old configuration stays: {why}"),
        ),
        Err(error) => told(FAILED, &error),
    }
}

fn presets() -> ExitCode {
    let mut page = String::new();
    for preset in Preset::all() {
        let lines = match headers::sample(preset) {
            Ok(lines) => lines,
            Err(error) => return told(FAILED, &error),
        };
        page.push_str(&format!("{preset}\n  {}\n\n", preset.description()));
        for line in String::from_utf8_lossy(&lines).lines() {
            let start = line.get(..LINE_MAX).unwrap_or(line);
            let cut = line.len() - start.len();
            match cut {
                0 => page.push_str(&format!("    {line}\n")),
                _ => page.push_str(&format!("    {start}... ({cut} bytes more)\n")),
            }
        }
        page.push('\n');
    }
    print(page.as_bytes())
}

fn man() -> ExitCode {
    match man_page() {
        Ok(page) => print(page.as_bytes()),
        Err(error) => told(FAILED, &error),
    }
}

/// One page for all: the settings of `run` and `check` follow the list of subcommands.
fn man_page() -> io::Result<String> {
    let man = clap_mangen::Man::new(command());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    let mut settings = Vec::new();
    clap_mangen::Man::new(definition()).render_options_section(&mut settings)?;
    man.render_extra_section(&mut settings)?;
    man.render_version_section(&mut settings)?;
    let text = [page, settings]
        .map(String::from_utf8)
        .map(Result::unwrap_or_default);
    let [page, settings] = text;
    Ok(page + &settings.replace(".SH EXTRA", ".SH \"EXIT CODES\""))
}

fn print(text: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(text) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => told(FAILED, &error),
        _ => ExitCode::SUCCESS,
    }
}

fn told(code: u8, what: &dyn std::fmt::Display) -> ExitCode {
    // If standard error is gone, the exit code still tells.
    drop(writeln!(io::stderr().lock(), "herald: {what}"));
    ExitCode::from(code)
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wrong_flags_are_told_at_once() {
        let arguments = "herald check --client-auth maybe --workers=many --listen 443 --cert c \
                         --max-connections x --callers-max 0";
        let arguments = arguments.split_whitespace().map(OsString::from);
        let mistakes = all_mistakes(arguments).unwrap().unwrap().to_string();
        for part in [
            "8 mistakes ",
            "--client-auth: `maybe` is not allowed\n    allowed: required, optional, forward-failed, off",
            "--workers: `many` is not allowed\n    allowed: auto (or 0, one a core), or 1 to 1024",
            "--listen: `443` is not allowed\n    allowed: ADDR:PORT, such as 0.0.0.0:443",
            "--max-connections: `x` is not allowed\n    allowed: a whole number",
            "--callers-max: `0` is not allowed\n    allowed: a whole number from 1",
            "--client-ca: is missing",
            "--key: is missing",
            "--upstream: is missing",
        ] {
            assert!(mistakes.contains(part), "{part} in {mistakes}");
        }
    }

    #[test]
    fn a_flag_that_is_none_ends_the_search() {
        let arguments = ["herald", "run", "--tls-min", "9", "--nope"].map(OsString::from);
        assert!(
            all_mistakes(arguments)
                .unwrap_err()
                .to_string()
                .contains("--nope")
        );
    }

    #[test]
    fn the_manual_page_and_the_completions_know_every_flag() {
        let page = man_page().unwrap().replace("\\-", "-");
        let mut completions = Vec::new();
        clap_complete::generate(
            clap_complete::Shell::Bash,
            &mut command(),
            "herald",
            &mut completions,
        );
        let completions = String::from_utf8(completions).unwrap();
        for argument in definition().get_arguments() {
            let flag = format!("--{}", argument.get_long().unwrap());
            assert!(page.contains(&flag), "{flag} in the manual page");
            assert!(completions.contains(&flag), "{flag} in the completions");
        }
        for subcommand in command().get_subcommands() {
            let name = subcommand.get_name();
            assert!(page.contains(&format!("herald-{name}")), "{name}");
        }
    }
}
