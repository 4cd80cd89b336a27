//! One connection attempt that many requests wait for: where requests share connections, a burst
//! of them must not open one each.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;

use super::error::UpstreamError;
use super::pool::Owner;

/// The attempts under way to one endpoint, at most one an owner.
#[derive(Debug, Default)]
pub(super) struct Openings {
    under_way: RefCell<Vec<(Owner, Rc<Opening>)>>,
}

/// An attempt under way.
#[derive(Debug, Default)]
struct Opening {
    failure: RefCell<Option<UpstreamError>>,
    over: Notify,
}

/// Held by whoever makes the attempt. Dropped, it lets the others go on: if the attempt failed they
/// fail with it, else they look for themselves.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    openings: &'a Openings,
    owner: Owner,
    opening: Rc<Opening>,
}

impl Openings {
    /// The turn to make the attempt; or, if another request is at it, `None` once that is over.
    ///
    /// # Errors
    /// What the other's attempt failed with.
    pub(super) async fn turn(&self, owner: Owner) -> Result<Option<Turn<'_>>, UpstreamError> {
        let found = {
            let under_way = self.under_way.borrow();
            let mut others = under_way.iter();
            others
                .find(|(other, _)| *other == owner)
                .map(|(_, opening)| Rc::clone(opening))
        };
        let Some(opening) = found else {
            let opening = Rc::<Opening>::default();
            let mut under_way = self.under_way.borrow_mut();
            under_way.push((owner, Rc::clone(&opening)));
            return Ok(Some(Turn {
                openings: self,
                owner,
                opening,
            }));
        };
        // Nothing is lost between the look and the wait: one thread, and no await in between.
        opening.over.notified().await;
        match &*opening.failure.borrow() {
            Some(failure) => Err(failure.of_same_cause()),
            None => Ok(None),
        }
    }
}

impl Turn<'_> {
    /// The attempt failed.
    pub(super) fn failed(&self, error: &UpstreamError) {
        self.opening.failure.replace(Some(error.of_same_cause()));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.openings.under_way.borrow_mut();
        under_way.retain(|(owner, _)| *owner != self.owner);
        self.opening.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that goes away in the middle of a connect leaves the others able to make it.
    #[tokio::test(flavor = "current_thread")]
    async fn the_next_takes_its_turn_when_the_first_gives_up() {
        let openings = Openings::default();
        let first = openings.turn(None).await.unwrap().expect("nobody is at it");
        let second = openings.turn(None);
        let give_up = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, give_up);
        assert!(second.unwrap().is_none());
        assert!(openings.turn(None).await.unwrap().is_some());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn those_who_waited_fail_with_the_attempt() {
        let openings = Openings::default();
        let first = openings.turn(None).await.unwrap().expect("nobody is at it");
        let fail = async {
            tokio::task::yield_now().await;
            first.failed(&UpstreamError::ConnectTimeout);
            drop(first);
        };
        let (second, ()) = tokio::join!(openings.turn(None), fail);
        assert!(matches!(second, Err(UpstreamError::ConnectTimeout)));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn owners_do_not_wait_for_each_other() {
        let openings = Openings::default();
        let _first = openings.turn(None).await.unwrap().expect("nobody is at it");
        assert!(openings.turn(Some([1; 32])).await.unwrap().is_some());
    }
}
