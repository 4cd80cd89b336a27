//! As much of HPACK (RFC 7541) as frames by hand need: blocks of literals, and the status of an answer.

/// A header block of literals: never indexed, never Huffman-coded (RFC 7541 §6.2.3).
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(*text);
        }
    }
    block
}

/// An integer with a 7-bit prefix (RFC 7541 §5.1), the Huffman bit clear.
fn integer(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        block.push(u8::try_from(value).unwrap());
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// `:status`, which comes first, from the static table or as a literal with or without Huffman code.
pub(crate) fn status(block: &[u8]) -> Option<u16> {
    // Table size updates may come before it.
    let start = block.iter().position(|byte| byte & 0xE0 != 0x20)?;
    let (&first, rest) = block[start..].split_first()?;
    if first & 0x80 != 0 {
        let index = usize::from(first & 0x7F).checked_sub(8)?;
        return [200, 204, 206, 304, 400, 404, 500].get(index).copied();
    }
    let (&length, rest) = rest.split_first()?;
    let value = rest.get(..usize::from(length & 0x7F))?;
    let digits = if length & 0x80 == 0 {
        value.to_vec()
    } else {
        huffman_digits(value)?
    };
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// The digits of RFC 7541 Appendix B: 0 to 2 are five bits, 3 to 9 six.
fn huffman_digits(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1))
        .collect();
    let mut digits = Vec::new();
    while digits.len() < 3 {
        let take = |count: usize| {
            bits.get(..count)
                .map(|bits| bits.iter().fold(0, |sum, bit| sum * 2 + bit))
        };
        let (digit, used) = match (take(5)?, take(6)) {
            (short @ 0..=2, _) => (short, 5),
            (_, Some(long @ 0b01_1001..=0b01_1111)) => (long - 0b01_1001 + 3, 6),
            _ => return None,
        };
        digits.push(b'0' + digit);
        bits.drain(..used);
    }
    Some(digits)
}
