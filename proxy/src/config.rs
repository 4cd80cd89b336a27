//! The operator's configuration: one definition (`flags`) is the flags, the help, the man page,
//! the completions and the keys of the TOML file. Takes arguments and a file, gives a validated
//! [`Config`] or every [`Mistake`] at once. Knows numbers, paths, names and durations, never a
//! type of a later stage.

pub mod account;
pub mod address;
mod applications;
mod compose;
pub mod file;
pub mod flags;
mod found;
pub mod mistake;
pub mod model;
pub mod observe;
pub mod plan;
mod reader;
pub mod reference;
mod sections;
pub mod steer;
pub mod tcp;
pub mod units;
mod validate;

pub use account::{AccountFlags, Group, User};
pub use address::{Place, Scheme, UpstreamAddr};
pub use flags::{
    Balance, ClientAuth, ClientFlags, CrlMode, EbpfMode, Flags, ForwardedStyle, Isolate, Ktls,
    OnFailure, ReasonSpelling, UpstreamFlags,
};
pub use mistake::{Mistake, Mistakes, Origin};
pub use model::{
    ApplicationConfig, Config, PolicyAction, PolicyConfig, Refusal, TrustConfig, WorkerConfig,
};
pub use observe::{AdminAddr, LogFormat, LogTarget};
