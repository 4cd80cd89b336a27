//! What one worker serves by: the snapshot, its own copy of the name tables, and its connections to
//! the origins. Swapped whole when another snapshot is published; connections look at a cell of
//! their own thread, so that a request shares nothing with other workers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::Snapshot;
use crate::headers::{Hygiene, clean_trailers};
use crate::sys::marks::Marks;
use crate::upstream::{TrailerFilter, TrailerFilters, Upstream};

/// What a worker serves by, as of one snapshot.
#[derive(Debug)]
pub struct Serving {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The worker's own copy of the snapshot's name tables: no other core writes near it.
    pub hygiene: Rc<Hygiene>,
    /// The worker's connections to the origins of each application, by its number.
    pub upstreams: Box<[Rc<Upstream>]>,
}

/// What a worker serves by now.
pub struct Current {
    serving: RefCell<Rc<Serving>>,
    /// The name tables once more, where connections to origins find them: those outlive a snapshot.
    names: Rc<RefCell<Rc<Hygiene>>>,
    filters: TrailerFilters,
    marks: Marks,
}

impl Current {
    /// The first snapshot. Connections to origins are marked in `marks`.
    pub fn new(snapshot: Arc<Snapshot>, marks: Marks) -> Rc<Self> {
        let names = Rc::new(RefCell::new(Rc::new(snapshot.hygiene.clone())));
        let looked_up = Rc::clone(&names);
        let trailers: TrailerFilter =
            Rc::new(move |trailers| clean_trailers(trailers, &looked_up.borrow()));
        let filters = TrailerFilters {
            request: Rc::clone(&trailers),
            response: trailers,
        };
        let hygiene = Rc::clone(&names.borrow());
        let serving = Serving::new(snapshot, hygiene, (&filters, &marks), &HashMap::new());
        Rc::new(Self {
            serving: RefCell::new(Rc::new(serving)),
            names,
            filters,
            marks,
        })
    }

    /// What is served by now.
    pub fn get(&self) -> Rc<Serving> {
        Rc::clone(&self.serving.borrow())
    }

    /// Whether `serving` is what is served by now.
    pub fn is(&self, serving: &Rc<Serving>) -> bool {
        Rc::ptr_eq(&self.serving.borrow(), serving)
    }

    /// Puts another snapshot in place. Origins that stay what they are keep their connections and
    /// what is known of their health. Returns those that are new.
    pub fn adopt(&self, snapshot: Arc<Snapshot>) -> Vec<usize> {
        let before = self.get();
        let applications = before.snapshot.applications().iter();
        let known: HashMap<[u8; 32], &Rc<Upstream>> = applications
            .zip(&before.upstreams)
            .map(|(application, upstream)| (application.origins_digest, upstream))
            .collect();
        let applications = snapshot.applications().iter().enumerate();
        let new = applications
            .filter(|(_, application)| !known.contains_key(&application.origins_digest))
            .map(|(number, _)| number)
            .collect();
        let hygiene = Rc::new(snapshot.hygiene.clone());
        let serving = Serving::new(
            snapshot,
            Rc::clone(&hygiene),
            (&self.filters, &self.marks),
            &known,
        );
        self.names.replace(hygiene);
        self.serving.replace(Rc::new(serving));
        new
    }
}

impl Serving {
    fn new(
        snapshot: Arc<Snapshot>,
        hygiene: Rc<Hygiene>,
        (filters, marks): (&TrailerFilters, &Marks),
        known: &HashMap<[u8; 32], &Rc<Upstream>>,
    ) -> Self {
        let applications = snapshot.applications().iter();
        let upstreams = applications
            .map(|application| match known.get(&application.origins_digest) {
                Some(known) => Rc::clone(known),
                None => {
                    let settings = application.upstream.clone();
                    Upstream::new(&application.origins, settings, filters, marks)
                }
            })
            .collect();
        Self {
            snapshot,
            hygiene,
            upstreams,
        }
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&self.serving).finish()
    }
}
