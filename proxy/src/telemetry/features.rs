//! What of the kernel's help is in use, and why not the rest: one list, filled in one place, shown
//! by `herald status`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// One feature and its state.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Feature {
    /// What it is called.
    pub name: String,
    /// Whether it is in use.
    pub active: bool,
    /// How it is used, or why it is not.
    pub reason: String,
}

impl Feature {
    /// A feature with its state.
    pub fn new(name: &str, active: bool, reason: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            active,
            reason: reason.into(),
        }
    }
}

/// What is kept elsewhere and asked for when somebody looks.
pub struct Asked<T>(OnceLock<Ask<T>>);

type Ask<T> = Box<dyn Fn() -> T + Send + Sync>;

/// How often the kernel programs took each decision; none without programs.
pub type KernelCounts = Asked<Vec<(&'static str, u64)>>;

/// What became of kernel TLS; all zero where it is off.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct KtlsCounts {
    /// Connections whose encryption the kernel took over.
    pub offloads: u64,
    /// Keys that were replaced in the kernel.
    pub rekeys: u64,
    /// Body bytes that never entered userspace.
    pub spliced_bytes: u64,
    /// Connections on which splicing was given up for copying.
    pub unspliced: u64,
    /// Connections that were to be handed over and stayed in userspace, by reason.
    pub refusals: BTreeMap<String, u64>,
}

/// Source prefixes with live connections, as the kernel programs count them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct KernelSources {
    /// How many there are.
    pub prefixes: u64,
    /// Those with the most, the first first.
    pub busiest: Vec<SourceConnections>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceConnections {
    /// An IPv4 address or an IPv6 /64.
    pub prefix: String,
    /// Its connections.
    pub connections: u64,
}

impl<T> Asked<T> {
    /// Whom to ask; the first to say so stays.
    pub fn ask(&self, ask: impl Fn() -> T + Send + Sync + 'static) {
        drop(self.0.set(Box::new(ask)));
    }
}

impl<T: Default> Asked<T> {
    /// The answer; empty where nobody can be asked.
    pub fn now(&self) -> T {
        self.0.get().map_or_else(T::default, |ask| ask())
    }
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Default + fmt::Debug> fmt::Debug for Asked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

/// TLS records made by the kernel.
pub const KERNEL_TLS: &str = "kernel TLS";
/// Kernel programs that help with new connections; each is told by its name after this one.
pub const EBPF_STEERING: &str = "eBPF steering";
