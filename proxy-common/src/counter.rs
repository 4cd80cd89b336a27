//! Every decision that a program takes has a counter: the index of a word in a per-CPU array.

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Counter {
    /// sk_reuseport gave a connection to the least loaded worker.
    Chosen = 0,
    /// sk_reuseport found no live worker, or the socket was gone: the kernel's hash chose.
    ChosenByHash = 1,
    /// sk_reuseport moved a half-open or not yet accepted connection to another worker.
    Migrated = 2,
    /// sk_lookup saw a connection to an address that is not the service's.
    LookupForeign = 3,
    /// sk_lookup let a connection to the service pass.
    LookupPassed = 4,
    /// sk_lookup gave a connection to the service's listener.
    LookupAssigned = 5,
    /// sk_lookup refused a source that was over its rate.
    Refused = 6,
    /// sockops saw a client's connection established.
    ClientEstablished = 7,
    /// sockops saw a connection to the origin established.
    UpstreamEstablished = 8,
    /// sockops wrote a close event.
    CloseEvent = 9,
    /// The ring was full: a close event is lost.
    CloseEventDropped = 10,
    /// sockops saw a socket without a mark and left it alone.
    SocketForeign = 11,
    /// The kernel refused a TCP setting.
    ProfileRefused = 12,
    /// The kernel would not tell of a connection's end.
    CloseUnwatched = 13,
    /// A connection is in no source's live count: the table was full, or others were in between.
    SourceUncounted = 14,
    /// A connection that was in its source's live count had no entry at its end. Never, unless somebody
    /// else writes the table.
    SourceLost = 15,
}

impl Counter {
    /// All, by index.
    pub const ALL: [Self; 16] = [
        Self::Chosen,
        Self::ChosenByHash,
        Self::Migrated,
        Self::LookupForeign,
        Self::LookupPassed,
        Self::LookupAssigned,
        Self::Refused,
        Self::ClientEstablished,
        Self::UpstreamEstablished,
        Self::CloseEvent,
        Self::CloseEventDropped,
        Self::SocketForeign,
        Self::ProfileRefused,
        Self::CloseUnwatched,
        Self::SourceUncounted,
        Self::SourceLost,
    ];

    /// The word's index.
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// The name that logs and metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::ChosenByHash => "chosen_by_hash",
            Self::Migrated => "migrated",
            Self::LookupForeign => "lookup_foreign",
            Self::LookupPassed => "lookup_passed",
            Self::LookupAssigned => "lookup_assigned",
            Self::Refused => "refused",
            Self::ClientEstablished => "client_established",
            Self::UpstreamEstablished => "upstream_established",
            Self::CloseEvent => "close_event",
            Self::CloseEventDropped => "close_event_dropped",
            Self::SocketForeign => "socket_foreign",
            Self::ProfileRefused => "profile_refused",
            Self::CloseUnwatched => "close_unwatched",
            Self::SourceUncounted => "source_uncounted",
            Self::SourceLost => "source_lost",
        }
    }
}

/// Words of the array.
pub const COUNTERS: u32 = 16;

const _: () = assert!(Counter::ALL.len() <= COUNTERS as usize);
