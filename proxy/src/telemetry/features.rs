//! What of the kernel's help is in use, and why not the rest: one list, filled in one place, shown
//! by `herald status`.

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

/// How often the kernel programs took each decision, asked when somebody looks.
#[derive(Default)]
pub struct KernelCounts(OnceLock<Ask>);

type Ask = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

impl KernelCounts {
    /// Whom to ask; the first to say so stays.
    pub fn ask(&self, ask: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static) {
        drop(self.0.set(Box::new(ask)));
    }

    /// Names and counts; none without programs.
    pub fn now(&self) -> Vec<(&'static str, u64)> {
        self.0.get().map_or_else(Vec::new, |ask| ask())
    }
}

impl fmt::Debug for KernelCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.now()).finish()
    }
}

/// The features of this build.
pub fn features() -> Vec<Feature> {
    [KERNEL_TLS]
        .map(|name| Feature::new(name, false, NOT_BUILT))
        .into()
}

/// TLS records made by the kernel.
pub const KERNEL_TLS: &str = "kernel TLS";
/// Kernel programs that help with new connections; each is told by its name after this one.
pub const EBPF_STEERING: &str = "eBPF steering";
const NOT_BUILT: &str = "not built in this version";
