//! What is asked in the self-test, by whom and where, and what may come of it.

use crate::trial::Question;

/// One question of one caller.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) row: Row,
    pub(super) door: Door,
    pub(super) who: Who,
    pub(super) name: Name,
    /// The host of an application whose session tickets are offered; its name is the server name.
    pub(super) tickets_of: Option<(String, Name)>,
    /// The application that is asked for, by number.
    pub(super) asked: usize,
    pub(super) question: Question,
    pub(super) expects: Expects,
}

/// A line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) section: &'static str,
    pub(super) what: &'static str,
}

/// Which of the two that run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Door {
    AsConfigured,
    /// Policies only tell what they would do.
    PoliciesLifted,
}

/// Who calls; numbers are those of applications, whose first store certified the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Who {
    Nobody,
    Good(usize),
    Expired(usize),
    /// A good one with everything in its name that a header should not have.
    Hostile(usize),
    SelfSigned,
    OtherCa,
}

/// The server name in the handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Name {
    Sent(String),
    Unknown,
    Missing,
}

/// What may come of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expects {
    /// The origin gets it, once, and sees what Herald knows of this caller and nothing else.
    Passes,
    /// As `Passes`, and the client gets to see nothing of what the origin says of identity.
    Silence,
    /// Refused, or as `Passes`.
    Clean,
    /// As `Clean`, and nothing of the certificate's own values is sent.
    Nameless,
    /// The origin gets nothing. With statuses, one of them is answered, or nothing at all.
    Refused(&'static [u16]),
}

/// The value of everything forged.
pub(super) const MARK: &str = "forged-7f3a91";
