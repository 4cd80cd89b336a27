//! Gives up, once the sockets are bound, all that Herald may do beyond an ordinary process: takes
//! the user and group to become, leaves a process without any capability that cannot get one back.
//! What the kernel says of every thread afterwards is read back: a thread that kept something, or
//! a kernel that does not say, ends the start. A process that had no privileges passes as it is.

use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use thiserror::Error;

use crate::config::Config;

mod status;

use status::{Status, StatusError};

/// Why privileges could not be given up; the start ends there.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// The user or the group.
    #[error("can't become {who}: {error} (it takes root, or CAP_SETUID and CAP_SETGID)")]
    Account {
        /// The user or group, as it was asked for.
        who: String,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A set of capabilities, or the way back to one.
    #[error("the kernel refuses to {what}: {error}")]
    Refused {
        /// What was to be done.
        what: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// Reading back.
    #[error(transparent)]
    Unproven(#[from] StatusError),
}

/// Becomes the configured user and group, drops every capability from every set, bars new ones
/// (`PR_SET_NO_NEW_PRIVS`), and proves it.
///
/// # Errors
/// Any step that fails. The caller must not serve then.
pub fn give_up(config: &Config) -> Result<(), PrivilegeError> {
    // The bounding set goes first: changing it takes a capability (capabilities(7)).
    let bounded = empty_bounding_set()?;
    become_account(config)?;
    refused(
        "empty the ambient set",
        thread::clear_ambient_capability_set(),
    )?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    refused("drop capabilities", thread::set_capabilities(None, none))?;
    refused("bar new privileges", thread::set_no_new_privs(true))?;

    let expected = Status {
        uid: unistd::getuid().as_raw(),
        gid: unistd::getgid().as_raw(),
        bounded,
    };
    let threads = status::prove(&expected)?;
    tracing::debug!(
        uid = expected.uid,
        gid = expected.gid,
        threads,
        "no thread has a capability"
    );
    if expected.uid == 0 {
        tracing::warn!("running as root, if without capabilities: `user` names another");
    }
    Ok(())
}

/// Empties the bounding set, as far as that is allowed; returns whether it is empty. Without
/// CAP_SETPCAP the set stays, and no-new-privileges alone keeps it from mattering.
fn empty_bounding_set() -> Result<bool, PrivilegeError> {
    let held = refused("tell capabilities", thread::capabilities(None))?;
    let may_drop = held.effective.contains(CapabilitySet::SETPCAP);
    let mut is_empty = true;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match thread::capability_is_in_bounding_set(capability) {
            Ok(false) => {}
            Ok(true) if may_drop => {
                let removed = thread::remove_capability_from_bounding_set(capability);
                refused("empty the bounding set", removed)?;
            }
            Ok(true) => is_empty = false,
            // Beyond the last capability that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return refused("tell the bounding set", Err(error)),
        }
    }
    Ok(is_empty)
}

/// Groups first: once the user is another, they can't be changed any more.
fn become_account(config: &Config) -> Result<(), PrivilegeError> {
    let (user, group) = (config.user.as_ref(), config.group.as_ref());
    let Some(gid) = group
        .map(|group| group.gid)
        .or_else(|| user.map(|user| user.gid))
    else {
        return Ok(());
    };
    let who = user.map_or_else(
        || format!("group {}", group.map_or("", |group| &group.name)),
        |user| format!("user {}", user.name),
    );
    let uid = user.map_or_else(unistd::getuid, |user| Uid::from_raw(user.uid));
    let gid = Gid::from_raw(gid);
    if (unistd::getuid(), unistd::geteuid()) == (uid, uid)
        && (unistd::getgid(), unistd::getegid()) == (gid, gid)
        && !uid.is_root()
    {
        return Ok(());
    }
    let changed = match user {
        Some(user) => CString::new(user.name.as_str())
            .map_err(|_nul| nix::Error::EINVAL)
            .and_then(|name| unistd::initgroups(&name, gid)),
        None => unistd::setgroups(&[gid]),
    }
    .and_then(|()| unistd::setresgid(gid, gid, gid))
    .and_then(|()| unistd::setresuid(uid, uid, uid));
    changed.map_err(|error| PrivilegeError::Account {
        who,
        error: error.into(),
    })
}

fn refused<T>(what: &'static str, outcome: rustix::io::Result<T>) -> Result<T, PrivilegeError> {
    outcome.map_err(|error| PrivilegeError::Refused {
        what,
        error: error.into(),
    })
}
