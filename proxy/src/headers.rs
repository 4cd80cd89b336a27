//! Header hygiene: strip what a client may not say, then inject what Herald knows.

pub mod families;
pub mod mapping;
pub mod preset;
pub mod rewrite;
pub mod template;

pub use families::family_names;
pub use mapping::{HeaderBlock, Mapping, MappingError};
pub use preset::Preset;
pub use rewrite::{Framing, Outbound};
pub use template::Template;
