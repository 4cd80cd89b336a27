//! Workers as the snapshot knows them.

use super::super::application::Worker;
use super::{Application, presets};
use crate::config::{ApplicationConfig, Mistake, WorkerConfig};
use crate::headers::Mapping;
use crate::policy::Pattern;

/// The workers of an application; `compiled` has the mapping that they add to.
pub(super) fn compile(
    config: &ApplicationConfig,
    compiled: &Application,
    mistakes: &mut Vec<Mistake>,
) -> Box<[Worker]> {
    let workers = config.workers.iter();
    workers
        .filter_map(|worker| {
            let mapping = mapping(worker, &compiled.mapping, mistakes)?;
            let paths = worker.paths.iter().map(|(path, _)| Pattern::path(path));
            Some(Worker {
                paths: paths.collect(),
                mapping,
            })
        })
        .collect()
}

fn mapping(config: &WorkerConfig, base: &Mapping, mistakes: &mut Vec<Mistake>) -> Option<Mapping> {
    let named = config.presets.iter();
    let named = named.map(|(name, origin)| (name.as_str(), origin.clone()));
    let presets = presets(named, mistakes);
    let entries = config.headers.iter();
    let free: Vec<_> = entries
        .map(|((name, _), template)| (name.clone(), template.clone()))
        .collect();
    let mapping = match config.adds {
        true => base.extended(&presets, &free),
        false => Mapping::compile(&presets, &free).map(|mapping| mapping.like(base)),
    };
    mapping
        .map_err(|errors| {
            let place = |entry: usize| match config.headers.get(entry) {
                Some(((_, origin), _)) => origin.clone(),
                None => config.origin.clone(),
            };
            let found = errors.into_iter();
            mistakes.extend(found.map(|error| Mistake::new(place(error.entry), error.message, "")));
        })
        .ok()
}
