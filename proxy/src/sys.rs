//! The only place for `unsafe`: small safe faces over what the kernel offers and no crate wraps.
//! Each file says what makes its calls sound.

pub mod hops;
pub mod load;
pub mod marks;
pub mod memory;
pub mod ring;
pub mod void;
