//! Reading a field of a context.

/// The field's value, read where this stands and at its own offset: the verifier refuses a pointer
/// into a context that was computed, which is what an optimiser makes of two fields in two branches.
macro_rules! field {
    ($context:expr, $($field:ident).+) => {
        // SAFETY: a field of the context that the kernel gave the program.
        unsafe { core::ptr::addr_of!((*$context).$($field).+).read_volatile() }
    };
    ($context:expr, $field:ident, $index:literal) => {
        // SAFETY: as above.
        unsafe { core::ptr::addr_of!((*$context).$field[$index]).read_volatile() }
    };
}

/// An address of a context as octets: `$ip4` for IPv4, else the four words of `$ip6`.
macro_rules! address {
    ($context:expr, $family:expr, $ip4:ident, $ip6:ident) => {
        if $family == proxy_common::address::FAMILY_IPV4 {
            $crate::field::octets([$crate::field::field!($context, $ip4), 0, 0, 0])
        } else {
            $crate::field::octets([
                $crate::field::field!($context, $ip6, 0),
                $crate::field::field!($context, $ip6, 1),
                $crate::field::field!($context, $ip6, 2),
                $crate::field::field!($context, $ip6, 3),
            ])
        }
    };
}

pub(crate) use {address, field};

/// Four words in network order, as the contexts give an IPv6 address.
#[inline(always)]
pub(crate) fn octets(words: [u32; 4]) -> [u8; 16] {
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    [
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2],
        d[3],
    ]
}
