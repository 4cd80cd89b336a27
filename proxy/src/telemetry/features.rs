//! What of the kernel's help is in use, and why not the rest: one list, filled in one place, shown
//! by `herald status`.

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

/// The features of this build.
pub fn features() -> Vec<Feature> {
    [KERNEL_TLS, EBPF_STEERING]
        .map(|name| Feature::new(name, false, NOT_BUILT))
        .into()
}

/// TLS records made by the kernel.
pub const KERNEL_TLS: &str = "kernel TLS";
/// New connections given to workers by an eBPF program.
pub const EBPF_STEERING: &str = "eBPF steering";
const NOT_BUILT: &str = "not built in this version";
