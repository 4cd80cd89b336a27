//! The tickets of each trust and mode, from the operator's secrets or the process's own.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Compiler;
use crate::config::{Config, Mistake, Mistakes, Origin};
use crate::tls::{SecretError, TicketSecrets, Tickets};

impl Compiler<'_> {
    /// What ticket keys are derived from: a file of the operator's, else what is the process's `own`.
    pub(super) fn secrets(
        &mut self,
        config: &Config,
        own: &TicketSecrets,
    ) -> Option<TicketSecrets> {
        if !config.resumption.resumption {
            return None;
        }
        let Some(path) = &config.resumption.ticket_keys else {
            return Some(own.clone());
        };
        let bytes = self.read(path, || config.origin("ticket_keys", 0))?;
        TicketSecrets::parse(&bytes)
            .map_err(|error| {
                let message = format!("{}: {error}", path.display());
                let allowed =
                    "1 to 16 lines of 64 hexadecimal digits, such as `openssl rand -hex 32` makes";
                let origin = config.origin("ticket_keys", 0);
                self.mistakes.push(Mistake::new(origin, message, allowed));
            })
            .ok()
    }

    /// The tickets of an application of this mode that trusts stores of these digests. Lists of what
    /// is revoked have no part in it: they void verdicts, not sessions.
    pub(super) fn tickets_for(
        &mut self,
        config: &Config,
        digests: &[[u8; 32]],
    ) -> Option<Arc<Tickets>> {
        let secrets = self.secrets.as_ref()?;
        let mut trust = Sha256::new();
        trust.update([config.client_auth as u8, u8::from(config.reject_at_tls)]);
        digests.iter().for_each(|digest| trust.update(digest));
        let trust: [u8; 32] = trust.finalize().into();
        if let Some(known) = self.tickets.get(&trust) {
            return Some(Arc::clone(known));
        }
        let lifetime = config.resumption.ticket_lifetime.0;
        let tickets = Tickets::new(secrets, &trust, lifetime)
            .map_err(|error| self.mistakes.extend(no_secrets(error).0))
            .ok()?;
        self.tickets.insert(trust, Arc::clone(&tickets));
        Some(tickets)
    }
}

pub(super) fn no_secrets(error: SecretError) -> Mistakes {
    let mistake = Mistake::new(Origin::Default, format!("session tickets: {error}"), "");
    Mistakes(vec![mistake])
}
