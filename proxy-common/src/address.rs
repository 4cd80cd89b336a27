//! Addresses as keys of kernel maps. Hash keys are compared byte by byte, so there is no hole.

use core::mem::{align_of, offset_of, size_of};

/// A local address and port that is the service's. An address of zeros is the wildcard.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct Address {
    /// Network order; IPv4 in the first four bytes, the rest zero.
    pub octets: [u8; 16],
    /// [`FAMILY_IPV4`] or [`FAMILY_IPV6`].
    pub family: u32,
    /// Host order.
    pub port: u32,
}

/// `AF_INET`.
pub const FAMILY_IPV4: u32 = 2;
/// `AF_INET6`.
pub const FAMILY_IPV6: u32 = 10;

const _: () = assert!(size_of::<Address>() == 24);
const _: () = assert!(align_of::<Address>() == 4);
const _: () = assert!(offset_of!(Address, family) == 16);
const _: () = assert!(offset_of!(Address, port) == 20);
