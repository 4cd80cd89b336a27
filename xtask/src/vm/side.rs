//! Work on several things side by side, a bounded number at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Calls `work` with each of `items`, at most `at_once` at a time; the outcomes, in the items' order.
pub(super) fn by_side<T: Send, R: Send>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let workers = at_once.clamp(1, items.len().max(1));
    let waiting = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let serve = || {
        loop {
            // Bound, so that the lock is not held over the work.
            let next = locked(&waiting).next();
            let Some((place, item)) = next else { break };
            let outcome = work(item);
            locked(&done).push((place, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(serve);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A panic of one worker ends the scope with it, whatever the others see here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The barrier opens only for two at a time; a third one would be counted.
    #[test]
    fn as_many_as_allowed_run_at_a_time_and_outcomes_keep_their_order() {
        let (both, running) = (Barrier::new(2), AtomicUsize::new(0));
        let squares = by_side(vec![1, 2, 3, 4], 2, |number| {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 2);
            both.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            both.wait();
            number * number
        });
        assert_eq!(squares, [1, 4, 9, 16]);
    }

    #[test]
    fn nothing_to_do_is_done() {
        assert!(by_side(Vec::<u8>::new(), 0, |item| item).is_empty());
    }
}
