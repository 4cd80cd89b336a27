//! Who may pass. With flags alone the table of modes in the README is the policy.
//! Pure: takes the mode and the verdict, gives a [`Permit`] or says why not.

pub mod pattern;
pub mod rules;

use thiserror::Error;

use crate::config::ClientAuth;
use crate::tls::{Reason, Verdict};

pub use pattern::Pattern;
use rules::Action;
pub use rules::{Decision, Met, Rules, Trace};

/// Proof that one request may go to the origin. Made only by [`authorize`], spent by
/// `headers::Outbound`, never cloned: a right withdrawn ends at the next request.
#[derive(Debug)]
pub struct Permit(());

/// Why a caller is refused; it sees `403`.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Denied {
    /// The application requires a client certificate and none was presented.
    #[error("a client certificate is required")]
    NoCertificate,
    /// No policy of the application lets the request pass, or one forbids it.
    #[error("the application's policies do not allow this")]
    ByPolicy,
    /// A policy of the application ends the connections of such requests.
    #[error("the application's policies end the connection, without an answer")]
    Abruptly,
    /// A certificate was presented and did not verify.
    #[error("the client certificate did not verify")]
    CertificateFailed(Reason),
}

/// Decides for one request, on the verdict as it stands now.
pub fn authorize(mode: ClientAuth, verdict: &Verdict) -> Result<Permit, Denied> {
    match (mode, verdict) {
        (_, Verdict::Success(_))
        | (ClientAuth::ForwardFailed, Verdict::Failed(_))
        | (ClientAuth::ForwardFailed | ClientAuth::Optional | ClientAuth::Off, Verdict::None) => {
            Ok(Permit(()))
        }
        (ClientAuth::Required, Verdict::None) => Err(Denied::NoCertificate),
        (
            ClientAuth::Required | ClientAuth::Optional | ClientAuth::Off,
            Verdict::Failed(reason),
        ) => Err(Denied::CertificateFailed(*reason)),
    }
}

/// Applies what the policies of an application say, if it has any, after the mode has let the caller
/// through. A shadow never withdraws the permit; it gives the denial back that would have been.
pub fn narrow(
    permit: Permit,
    decision: Option<Decision<'_>>,
    is_shadow: bool,
) -> Result<(Permit, Option<Denied>), Denied> {
    match decision {
        None | Some(Decision::Pass(_)) => Ok((permit, None)),
        Some(Decision::Deny(by)) => {
            let is_abrupt = by.is_some_and(|policy| policy.action == Action::Abort);
            let denied = match is_abrupt {
                true => Denied::Abruptly,
                false => Denied::ByPolicy,
            };
            match is_shadow {
                true => Ok((permit, Some(denied))),
                false => Err(denied),
            }
        }
    }
}
