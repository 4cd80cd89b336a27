//! Request smuggling: bytes to a herald of their own, and what may come of them at the origin.

use std::time::Duration;

use crate::client::Settings;
use crate::origin::{Request, describe};
use crate::table::{Table, check};
use crate::wire::{sha256, text};
use crate::world::{World, certificate_lines};

/// What may happen to a row's request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// 400 (or another 4xx/5xx), the connection closes, the origin sees nothing.
    Refused,
    /// The origin sees one request, with this body.
    Once(&'static str),
    /// One or the other: both are safe.
    Either(&'static str),
}

/// A request with a forged verdict, for behind another.
pub const SMUGGLED: &str =
    "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-CERT-VERIFY: SUCCESS\r\n\r\n";

/// Runs rows against one herald, each on a connection of its own.
#[derive(Debug)]
pub struct Attacks {
    /// The herald that is attacked, and its origin.
    pub world: World,
    table: Table,
}

impl Attacks {
    /// Its rows are reported under this title.
    pub fn new(title: &'static str) -> Self {
        Self {
            world: World::new("optional"),
            table: Table::new(title),
        }
    }

    /// Fails if any row did.
    pub fn finish(self) {
        self.table.finish();
    }

    /// One row over HTTP/1.1.
    pub fn h1(&mut self, name: &str, bytes: &[u8], fate: Fate) {
        let result = self.try_h1(bytes, fate);
        self.table.row(name, result);
    }

    fn try_h1(&self, bytes: &[u8], fate: Fate) -> Result<(), String> {
        let mut client = Settings::default()
            .connect(self.world.herald.address())
            .map_err(|error| error.to_string())?;
        client.patience(Duration::from_secs(5));
        let answer = client.ask(bytes);
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        // What is refused closes; what passed may stay open, but must not answer twice.
        let (rest, closed) =
            client.tail(Duration::from_millis(if status == 200 { 50 } else { 5000 }));
        let seen = self.world.settle(None)?;
        let account = || {
            let end = if closed { "closed" } else { "left open" };
            let more = text(&rest);
            format!(
                "expected {fate:?}, got {answer:?}, {more:?}, {end}; the origin saw {}",
                describe(&seen)
            )
        };
        check(
            !seen
                .iter()
                .any(|request| request.target.contains("smuggled")),
            account,
        )?;
        check(rest.is_empty(), account)?;
        let refused = seen.is_empty() && (400..600).contains(&status) && closed;
        let once = |body: &str| status == 200 && seen.len() == 1 && sound(&seen[0], body);
        let right = match fate {
            Fate::Refused => refused,
            Fate::Once(body) => once(body),
            Fate::Either(body) => refused || once(body),
        };
        check(right, account)
    }
}

/// The request has our headers and no others, and the body it should have.
pub fn sound(seen: &Request, body: &str) -> bool {
    seen.body.sha256 == sha256(body.as_bytes())
        && certificate_lines(seen) == ["x-cert-presented: 0", "x-cert-verify: NONE"]
}
