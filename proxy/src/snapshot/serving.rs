//! What one worker serves by: the snapshot, its own copy of the name tables, and its connections to
//! the origins. Swapped whole when another snapshot is published; connections look at a cell of
//! their own thread, so that a request shares nothing with other workers.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::kept::Kept;
use super::{Application, Snapshot};
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
    pub upstreams: Rc<[Rc<Upstream>]>,
}

/// What a worker will serve by, on its way: it is built a little at a time, between requests.
#[derive(Debug)]
pub struct Succession {
    before: Rc<Serving>,
    snapshot: Arc<Snapshot>,
    /// In the place of the snapshot's, where `before` is not the generation before.
    missed: Option<Kept>,
    upstreams: Vec<Rc<Upstream>>,
    new: Vec<usize>,
}

/// What became of the connections to origins.
#[derive(Debug)]
pub struct Succeeded {
    /// Applications with origins that are new.
    pub new: Vec<usize>,
    /// Those that no application has any more.
    pub gone: Vec<Rc<Upstream>>,
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
        let applications = snapshot.applications().iter();
        let upstreams = applications
            .map(|application| upstream(application, &filters, &marks))
            .collect();
        let serving = Serving {
            hygiene: Rc::clone(&names.borrow()),
            snapshot,
            upstreams,
        };
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

    /// Begins to put another snapshot in the place of this one.
    pub fn succeed(&self, snapshot: Arc<Snapshot>) -> Succession {
        let before = self.get();
        let is_next = before.snapshot.generation + 1 == snapshot.generation;
        // A worker that was held up while two were published has missed one.
        let missed = (!is_next)
            .then(|| Kept::between(before.snapshot.applications(), snapshot.applications()));
        Succession {
            before,
            snapshot,
            missed,
            upstreams: Vec::new(),
            new: Vec::new(),
        }
    }

    /// Takes some more applications over. Origins that stay what they are keep their connections and
    /// what is known of their health. False once all are taken over.
    pub fn take_over(&self, succession: &mut Succession) -> bool {
        let snapshot = Arc::clone(&succession.snapshot);
        let applications = snapshot.applications();
        if matches!(succession.kept(), Kept::All) {
            return false;
        }
        let from = succession.upstreams.len();
        let rest = applications.get(from..).unwrap_or_default();
        for application in rest.iter().take(APPLICATIONS_AT_A_TIME) {
            let upstream = match succession.known(application.number) {
                Some(known) => Rc::clone(known),
                None => {
                    succession.new.push(application.number);
                    upstream(application, &self.filters, &self.marks)
                }
            };
            succession.upstreams.push(upstream);
        }
        rest.len() > APPLICATIONS_AT_A_TIME
    }

    /// Serves by what was taken over, all of it. What is left, the caller ends a little at a time.
    pub fn put(&self, succession: Succession) -> Succeeded {
        let before = &succession.before.upstreams;
        let (upstreams, gone) = match succession.kept() {
            Kept::All => (Rc::clone(before), Vec::new()),
            Kept::Some { gone, .. } => {
                let gone = gone.iter().filter_map(|number| before.get(*number));
                let gone = gone.map(Rc::clone).collect();
                (succession.upstreams.into(), gone)
            }
        };
        let snapshot = succession.snapshot;
        let hygiene = Rc::new(snapshot.hygiene.clone());
        self.names.replace(Rc::clone(&hygiene));
        self.serving.replace(Rc::new(Serving {
            snapshot,
            hygiene,
            upstreams,
        }));
        let new = succession.new;
        Succeeded { new, gone }
    }
}

fn upstream(application: &Application, filters: &TrailerFilters, marks: &Marks) -> Rc<Upstream> {
    let settings = application.upstream.clone();
    Upstream::new(&application.origins, settings, filters, marks)
}

impl Succession {
    fn kept(&self) -> &Kept {
        self.missed.as_ref().unwrap_or(&self.snapshot.kept)
    }

    fn known(&self, number: usize) -> Option<&Rc<Upstream>> {
        self.before.upstreams.get(self.kept().of(number)?)
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&self.serving).finish()
    }
}

/// Applications that are looked after between two chances for requests; one with new origins takes microseconds.
pub const APPLICATIONS_AT_A_TIME: usize = 256;
