//! Several applications in one file: `[[trust]]` tables with named stores, `[[application]]` tables
//! with host names and the same keys that one application has at the top. What an application does
//! not say is taken from the flags and the top of the file.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Command;

use super::compose::configure;
use super::flags::CrlMode;
use super::found::Found;
use super::mistake::{Mistake, Origin, quoted};
use super::model::{ApplicationConfig, Config, TrustConfig};
use super::sections::{Section, Sections, is_applications};
use crate::hosts::{HostPattern, Hosts};

mod policies;
mod workers;

impl Sections {
    /// The whole configuration: the first application's settings are also those of the process,
    /// which no application can change. `base` is what flags and the top of the file say.
    pub(super) fn configure(self, base: Found, settings: &Command) -> Result<Config, Vec<Mistake>> {
        let mut mistakes = base.mistakes.clone();
        let trusts = self.trusts(&mut mistakes);
        if self.applications.is_empty() {
            let place = self
                .trusts
                .first()
                .map_or(Origin::Default, |trust| trust.origin.clone());
            let message = "[[trust]] is given, but no [[application]] can name it";
            mistakes.push(Mistake::new(place, message, "client_ca, or applications"));
        }
        let mut hosts = Hosts::default();
        let mut taken = HashSet::new();
        let mut applications: Vec<ApplicationConfig> = Vec::new();
        for (number, section) in self.applications.into_iter().enumerate() {
            let names = section.hosts(number, &mut hosts, &mut mistakes);
            let stores = section.stores(&trusts, &mut mistakes);
            let name = section.name(&mut taken, &mut mistakes);
            let (policies, shadow) = policies::policies(&section, &mut mistakes);
            let workers = workers::workers(&section, &mut mistakes);
            let has_stores = !section.own("trust").is_empty();
            let (origin, found) = (section.origin, section.found.over(base.clone()));
            match configure(found, settings, Some((&origin, has_stores))) {
                Ok(mut config) => {
                    // The process's are the first one's; of ten thousand others they are not kept.
                    config
                        .values
                        .retain(|key, _| number == 0 || is_applications(key));
                    applications.push(ApplicationConfig {
                        name,
                        hosts: names,
                        trusts: stores,
                        policies,
                        workers,
                        shadow,
                        settings: config,
                    });
                }
                Err(found) => found.into_iter().for_each(|mistake| {
                    // What is wrong at the top is wrong for every application.
                    if !mistakes.contains(&mistake) {
                        mistakes.push(mistake);
                    }
                }),
            }
        }
        match applications.first() {
            Some(first) if mistakes.is_empty() => Ok(Config {
                trusts,
                ..first.settings.clone()
            }
            .with(applications)),
            _ => Err(mistakes),
        }
    }

    fn trusts(&self, mistakes: &mut Vec<Mistake>) -> Vec<TrustConfig> {
        let mut trusts: Vec<TrustConfig> = Vec::with_capacity(self.trusts.len());
        for section in &self.trusts {
            mistakes.extend(section.found.mistakes.iter().cloned());
            let name = section.own("name").first().map(|(name, _)| name.clone());
            let Some(name) = name.filter(|name| is_name(name)) else {
                let message = "this store has no usable name";
                let allowed = "name = \"...\": 1 to 64 letters, digits, `-`, `_` and `.`";
                mistakes.push(Mistake::new(section.place("name"), message, allowed));
                continue;
            };
            if trusts.iter().any(|other| other.name == name) {
                let message = format!("{} is the name of two stores", quoted(&name));
                mistakes.push(Mistake::new(
                    section.place("name"),
                    message,
                    "each name once",
                ));
            }
            let files = section.own("ca");
            if files.is_empty() {
                let message = "this store has no CA certificates";
                let allowed =
                    "ca = one PEM file or several; Herald never falls back to other roots";
                mistakes.push(Mistake::new(section.origin.clone(), message, allowed));
            }
            let (ca, origins) = files
                .iter()
                .cloned()
                .map(|(path, at)| (PathBuf::from(path), at))
                .unzip();
            let placed = |key| {
                let files = section.own(key).iter().cloned();
                files.map(|(path, at)| (PathBuf::from(path), at)).collect()
            };
            let crl_mode = section.crl_mode(mistakes);
            trusts.push(TrustConfig {
                name,
                ca,
                origins,
                crl: placed("crl"),
                crl_mode,
                revoked: placed("revoked"),
            });
        }
        trusts
    }
}

impl Section {
    fn crl_mode(&self, mistakes: &mut Vec<Mistake>) -> CrlMode {
        match self.own("crl_mode") {
            [] => CrlMode::Hard,
            [(mode, _)] if mode == "hard" => CrlMode::Hard,
            [(mode, _)] if mode == "soft" => CrlMode::Soft,
            _ => {
                let message = "this is no mode of revocation lists";
                mistakes.push(Mistake::new(self.place("crl_mode"), message, "hard, soft"));
                CrlMode::Hard
            }
        }
    }

    fn name(&self, others: &mut HashSet<String>, mistakes: &mut Vec<Mistake>) -> String {
        let given = self
            .own("name")
            .first()
            .or_else(|| self.own("hostnames").first());
        let name = given.map(|(name, _)| name.clone()).unwrap_or_default();
        if !name.is_empty() && !others.insert(name.clone()) {
            let message = format!("{} is the name of two applications", quoted(&name));
            mistakes.push(Mistake::new(self.place("name"), message, "each name once"));
        }
        name
    }

    fn hosts(
        &self,
        number: usize,
        hosts: &mut Hosts,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<HostPattern> {
        if self.own("hostnames").is_empty() && !self.found.refused.contains("hostnames") {
            let message = "this application has no hostnames";
            let allowed =
                "hostnames = [\"app.example.com\", \"*.example.com\"], or \"*\" for all others";
            mistakes.push(Mistake::new(self.origin.clone(), message, allowed));
        }
        let mut patterns = Vec::new();
        for (text, origin) in self.own("hostnames") {
            match HostPattern::parse(text) {
                Err(error) => {
                    let message = format!("{} {error}", quoted(text));
                    let allowed = "a name, an IP address, *.NAME or *; without a port";
                    mistakes.push(Mistake::new(origin.clone(), message, allowed));
                }
                Ok(pattern) => {
                    if hosts.insert(&pattern, number).is_some() {
                        let message = format!("{} is listed twice", quoted(text));
                        let allowed = "each host in one application, once";
                        mistakes.push(Mistake::new(origin.clone(), message, allowed));
                    }
                    patterns.push(pattern);
                }
            }
        }
        patterns
    }

    fn stores(&self, trusts: &[TrustConfig], mistakes: &mut Vec<Mistake>) -> Vec<usize> {
        let mut stores = Vec::new();
        for (name, origin) in self.own("trust") {
            match trusts.iter().position(|trust| trust.name == *name) {
                Some(store) if stores.contains(&store) => {
                    let message = format!("{} is named twice", quoted(name));
                    mistakes.push(Mistake::new(origin.clone(), message, "each store once"));
                }
                Some(store) => stores.push(store),
                None => {
                    let known: Vec<_> = trusts.iter().map(|trust| trust.name.as_str()).collect();
                    let message = format!("there is no store {}", quoted(name));
                    mistakes.push(Mistake::new(origin.clone(), message, known.join(", ")));
                }
            }
        }
        stores
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
