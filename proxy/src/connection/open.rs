//! The open connections of one worker, so that verdicts are looked after where nothing is asked:
//! streams, tunnels and idle HTTP/2 connections end when their callers may no longer pass.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use crate::exchange::Exchange;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct OpenConnections(RefCell<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Weak<Exchange>>,
}

/// One connection's place; given back on drop.
#[derive(Debug)]
pub struct Looked<'a> {
    of: &'a OpenConnections,
    number: u64,
}

impl OpenConnections {
    /// Adds a connection for as long as what is returned lives.
    pub fn add(&self, exchange: &Rc<Exchange>) -> Looked<'_> {
        let mut table = self.0.borrow_mut();
        let number = table.next;
        table.next += 1;
        table.open.insert(number, Rc::downgrade(exchange));
        Looked { of: self, number }
    }

    /// Reviews every connection, giving way to others after each few.
    pub async fn review(&self) {
        let mut from = 0;
        loop {
            let few: Vec<_> = {
                let table = self.0.borrow();
                let rest = table.open.range(from..).take(AT_A_TIME);
                rest.map(|(number, exchange)| (*number, Weak::clone(exchange)))
                    .collect()
            };
            let Some((last, _)) = few.last() else { return };
            from = last + 1;
            for (_, exchange) in few {
                if let Some(exchange) = exchange.upgrade() {
                    exchange.review();
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Looked<'_> {
    fn drop(&mut self) {
        self.of.0.borrow_mut().open.remove(&self.number);
    }
}

/// Reviews between two chances for others. One costs up to 0.3 ms, where a chain is verified anew.
const AT_A_TIME: usize = 8;
