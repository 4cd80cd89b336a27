//! Who may pass. With flags alone the table of modes in the README is the policy.
//! Pure: takes the mode and the verdict, gives a [`Permit`] or says why not.

use thiserror::Error;

use crate::config::ClientAuth;
use crate::tls::{Reason, Verdict};

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
