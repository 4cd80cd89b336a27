//! A planted mistake behind six bytes, each of which can be found only by seeing that the one
//! before was right: without coverage feedback that takes 2^48 tries, with it a second.

pub(crate) fn run(bytes: &[u8]) {
    let mut right = 0;
    for (given, wanted) in bytes.iter().zip(b"canary") {
        if given != wanted {
            return;
        }
        right += 1;
    }
    assert!(right < 6, "the canary sings");
}
