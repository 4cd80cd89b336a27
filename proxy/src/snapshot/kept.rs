//! Which applications of a snapshot have the origins that they had in the one before. Worked out where the snapshot is
//! compiled: ten thousand digests are too many to compare between two requests.

use std::collections::HashMap;
use std::sync::Arc;

use super::Application;

/// See the module's documentation.
#[derive(Debug)]
pub(super) enum Kept {
    /// All, under the numbers that they have now.
    All,
    /// Not all.
    Some {
        /// Of each application the number that it had, if its origins are the same.
        numbers: Box<[Option<usize>]>,
        /// The numbers that applications had whose origins nobody has any more.
        gone: Box<[usize]>,
    },
}

impl Kept {
    /// What of `before` is kept in `after`.
    pub(super) fn between(before: &[Arc<Application>], after: &[Arc<Application>]) -> Self {
        let known: HashMap<[u8; 32], usize> = before
            .iter()
            .map(|application| (application.origins_digest, application.number))
            .collect();
        let numbers: Box<[Option<usize>]> = after
            .iter()
            .map(|application| known.get(&application.origins_digest).copied())
            .collect();
        let mut is_gone = vec![true; before.len()];
        for number in numbers.iter().flatten() {
            if let Some(is_gone) = is_gone.get_mut(*number) {
                *is_gone = false;
            }
        }
        let is_all = before.len() == after.len()
            && (0..)
                .zip(&numbers)
                .all(|(number, kept)| *kept == Some(number));
        if is_all {
            return Self::All;
        }
        let gone = (0..).zip(is_gone).filter(|(_, is_gone)| *is_gone);
        let gone = gone.map(|(number, _)| number).collect();
        Self::Some { numbers, gone }
    }

    /// The number that an application had whose origins are those of `number` now.
    pub(super) fn of(&self, number: usize) -> Option<usize> {
        match self {
            Self::All => Some(number),
            Self::Some { numbers, .. } => numbers.get(number).copied().flatten(),
        }
    }
}
