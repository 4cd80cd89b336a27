//! Joins what the kernel tells of a connection's end to the record of that connection, by the
//! socket's cookie. Takes close events and finished records in either order; a record is held back
//! for its event, for a bounded time and in bounded number, and is written in any case, exactly
//! once. Which records went without an event, and which events nobody claimed, is counted.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proxy_common::CloseEvent;
use tokio::sync::Notify;

use super::fields::{Fields, name};
use super::metrics::Board;
use super::pen::Pen;
use crate::clock;

/// Close events on their way from the thread that reads them to the worker of their connection.
#[derive(Debug, Default)]
pub struct Inbox {
    events: Mutex<Vec<CloseEvent>>,
    come: Notify,
}

impl Inbox {
    /// Hands events over. What a worker that is stuck does not take is bounded.
    pub fn give(&self, events: &mut Vec<CloseEvent>) {
        let mut waiting = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let room = INBOX_MAX.saturating_sub(waiting.len());
        waiting.extend(events.drain(..).take(room));
        drop(waiting);
        self.come.notify_one();
    }

    fn take(&self) -> Vec<CloseEvent> {
        std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Bytes that pass through the client's socket, TLS and all, as Herald itself counts them.
#[derive(Debug, Default)]
pub struct Wire {
    received: Cell<u64>,
    sent: Cell<u64>,
    is_bypassed: Cell<bool>,
}

impl Wire {
    /// Bytes read from the socket.
    pub fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    /// Bytes written to the socket.
    pub fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// From here on something else writes to the socket as well: what is sent is not known.
    pub fn bypassed(&self) {
        self.is_bypassed.set(true);
    }
}

/// A connection that the kernel will tell of.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) cookie: u64,
    pub(super) wire: Rc<Wire>,
}

/// One worker's records and events that have not met yet.
#[derive(Debug)]
pub struct Closing {
    inbox: Arc<Inbox>,
    board: Arc<Board>,
    records: RefCell<Queue<Held>>,
    events: RefCell<Queue<CloseEvent>>,
}

/// A record whose line lacks only what the kernel knows.
#[derive(Debug)]
struct Held {
    line: Vec<u8>,
    pen: Rc<Pen>,
    wire: Rc<Wire>,
    /// Monotonic nanoseconds.
    until: u64,
}

impl Closing {
    pub(super) fn new(inbox: Arc<Inbox>, board: Arc<Board>) -> Self {
        Self {
            inbox,
            board,
            records: RefCell::default(),
            events: RefCell::default(),
        }
    }

    /// Takes a record whose `line` is not ended yet.
    pub(super) fn finish(&self, watched: &Watched, line: Vec<u8>, pen: &Rc<Pen>) {
        let held = Held {
            line,
            pen: Rc::clone(pen),
            wire: Rc::clone(&watched.wire),
            until: clock::monotonic().saturating_add(HELD_FOR_NS),
        };
        if let Some(event) = self.events.borrow_mut().take(&watched.cookie) {
            return self.join(held, &event);
        }
        let mut records = self.records.borrow_mut();
        if records.is_empty() {
            // The task has to look at the clock from now on.
            self.inbox.come.notify_one();
        }
        if let Some(oldest) = records.insert(watched.cookie, held, HELD_MAX) {
            self.give_up(oldest);
        }
    }

    fn told(&self, event: CloseEvent) {
        let held = self.records.borrow_mut().take(&event.cookie);
        if let Some(held) = held {
            return self.join(held, &event);
        }
        let mut events = self.events.borrow_mut();
        if events.insert(event.cookie, event, EVENTS_MAX).is_some() {
            self.board.closes_unclaimed.add(1);
        }
    }

    fn join(&self, mut held: Held, event: &CloseEvent) {
        self.board.closes_joined.add(1);
        let mut fields = Fields::new(&mut held.line, held.pen.format);
        fields.number(name!("wire_in"), held.wire.received.get());
        if !held.wire.is_bypassed.get() {
            fields.number(name!("wire_out"), held.wire.sent.get());
        }
        fields.number(name!("tcp_in"), event.received());
        fields.number(name!("tcp_out"), event.sent());
        fields.number(name!("retransmits"), u64::from(event.retransmits));
        if event.srtt_us != 0 {
            fields.seconds(name!("rtt_seconds"), nanos(event.srtt_us));
        }
        if event.min_rtt_us != u32::MAX {
            fields.seconds(name!("rtt_min_seconds"), nanos(event.min_rtt_us));
        }
        fields.seconds(name!("tcp_seconds"), event.duration_ns);
        fields.end();
        held.pen.write(held.line);
    }

    /// Writes a record without what the kernel knows.
    fn give_up(&self, mut held: Held) {
        self.board.closes_missed.add(1);
        Fields::new(&mut held.line, held.pen.format).end();
        held.pen.write(held.line);
    }

    fn expire(&self, now: u64) {
        while let Some(held) = self.oldest_before(now) {
            self.give_up(held);
        }
    }

    fn oldest_before(&self, now: u64) -> Option<Held> {
        let mut records = self.records.borrow_mut();
        records.take_oldest_if(|held| held.until <= now)
    }

    /// Joins as events come. Never ends; a task of the worker's.
    pub async fn keep_joining(self: Rc<Self>) {
        loop {
            let come = self.inbox.come.notified();
            if self.records.borrow().is_empty() {
                come.await;
            } else {
                // Passed or not: both are looked at.
                drop(tokio::time::timeout(LOOK_AFTER, come).await);
            }
            self.look();
        }
    }

    fn look(&self) {
        self.inbox
            .take()
            .into_iter()
            .for_each(|event| self.told(event));
        self.expire(clock::monotonic());
    }

    /// At the worker's end: waits a moment for what the kernel has still to tell, then writes the
    /// rest without.
    pub async fn settle(&self) {
        let end = clock::monotonic().saturating_add(SETTLE_FOR_NS);
        while !self.records.borrow().is_empty() && clock::monotonic() < end {
            tokio::time::sleep(SETTLE_STEP).await;
            self.look();
        }
        self.expire(u64::MAX);
    }
}

fn nanos(micros: u32) -> u64 {
    u64::from(micros) * 1000
}

/// Entries by key, of which the oldest goes when there are too many.
#[derive(Debug)]
struct Queue<T> {
    /// With the number of its insertion, so that an old place in the order means nothing to a new
    /// entry.
    entries: HashMap<u64, (u64, T), foldhash::fast::RandomState>,
    order: VecDeque<(u64, u64)>,
    next: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            order: VecDeque::new(),
            next: 0,
        }
    }
}

impl<T> Queue<T> {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns what had to go: the entry of the same key, or the oldest beyond `max`.
    fn insert(&mut self, key: u64, entry: T, max: usize) -> Option<T> {
        let number = self.next;
        self.next = number.wrapping_add(1);
        let before = self.entries.insert(key, (number, entry));
        self.order.push_back((key, number));
        if before.is_some() {
            return before.map(|(_, entry)| entry);
        }
        match self.entries.len() > max {
            true => self.take_oldest_if(|_| true),
            false => None,
        }
    }

    fn take(&mut self, key: &u64) -> Option<T> {
        let (_, entry) = self.entries.remove(key)?;
        self.tidy();
        Some(entry)
    }

    fn take_oldest_if(&mut self, is_due: impl Fn(&T) -> bool) -> Option<T> {
        self.tidy();
        let (key, _) = self.order.front()?;
        let key = *key;
        match self.entries.get(&key) {
            Some((_, entry)) if is_due(entry) => self.take(&key),
            _ => None,
        }
    }

    /// Places of entries that are gone: those in front at once, all when they are the most.
    fn tidy(&mut self) {
        let entries = &self.entries;
        let stands =
            |(key, number): &(u64, u64)| entries.get(key).is_some_and(|(its, _)| its == number);
        while self.order.front().is_some_and(|place| !stands(place)) {
            self.order.pop_front();
        }
        if self.order.len() > 2 * entries.len() + 64 {
            self.order.retain(stands);
        }
    }
}

/// How long a record waits for its event: a FIN lost once or twice on its way is sent again within.
const HELD_FOR_NS: u64 = 2_000_000_000;
/// Records that wait at a time, of one worker. A line is some hundred bytes.
const HELD_MAX: usize = 4096;
/// Events whose record has not come, of one worker: clients that are gone while Herald still waits
/// for an origin, and connections that nobody ever accepted.
const EVENTS_MAX: usize = 4096;
/// Events that a worker has not taken yet.
const INBOX_MAX: usize = 16_384;
/// How late a record may be that gets no event.
const LOOK_AFTER: Duration = Duration::from_millis(250);
const SETTLE_FOR_NS: u64 = 500_000_000;
const SETTLE_STEP: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut queue = Queue::default();
        assert_eq!(queue.insert(1, 'a', 2), None);
        assert_eq!(queue.insert(2, 'b', 2), None);
        assert_eq!(queue.insert(3, 'c', 2), Some('a'));
        assert_eq!(queue.take(&1), None);
        assert_eq!(queue.take(&3), Some('c'));
        assert_eq!(queue.insert(3, 'd', 2), None);
        assert_eq!(queue.insert(4, 'e', 2), Some('b'), "3 is new again");
    }

    #[test]
    fn only_what_is_due_is_taken_and_in_order() {
        let mut queue = Queue::default();
        for (key, due) in [(1, 10), (2, 20), (3, 30)] {
            queue.insert(key, due, 8);
        }
        queue.take(&1);
        assert_eq!(queue.take_oldest_if(|due| *due <= 25), Some(20));
        assert_eq!(queue.take_oldest_if(|due| *due <= 25), None);
        assert!(!queue.is_empty());
    }

    #[test]
    fn places_of_what_is_gone_take_no_memory() {
        let mut queue = Queue::default();
        queue.insert(0, (), 8);
        for key in 1..100_000 {
            queue.insert(key, (), 8);
            queue.take(&key);
        }
        assert!(queue.order.len() < 100, "{}", queue.order.len());
        assert!(queue.take(&0).is_some());
    }
}
