//! A program of the bench that answers each line with one of JSON: totals so far, so that whoever
//! measures chooses the window. It ends when nothing more can be asked.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

use super::process::Group;
use crate::command::Failure;

pub(super) struct Talk {
    pub(super) group: Group,
    ask: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
}

impl Talk {
    pub(super) fn start(mut command: Command) -> Result<Self, Failure> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::start(command)?;
        let ask = group.child.stdin.take();
        let told = group.child.stdout.take();
        let told = told.ok_or_else(|| Failure::new("the load has no output"))?;
        Ok(Self {
            group,
            ask,
            told: BufReader::new(told),
        })
    }

    /// The totals so far.
    pub(super) fn ask<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        if let Some(ask) = &mut self.ask {
            ask.write_all(b"\n")
                .map_err(|error| Failure::new(format!("the load is gone: {error}")))?;
        }
        self.line()
    }

    /// Ends it; the totals at the end.
    pub(super) fn finish<T: DeserializeOwned>(mut self) -> Result<T, Failure> {
        self.ask = None;
        self.line()
    }

    fn line<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let mut line = String::new();
        self.told
            .read_line(&mut line)
            .map_err(|error| Failure::new(format!("the load is gone: {error}")))?;
        serde_json::from_str(&line)
            .map_err(|error| Failure::new(format!("the load said {line:?}: {error}")))
    }
}
