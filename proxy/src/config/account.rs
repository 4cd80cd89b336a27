//! Users and groups of the system, by name or number. Refuses what the system does not know.

use std::str::FromStr;

use nix::unistd;

/// A user of the system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
}

/// A group of the system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = match text.parse() {
            Ok(number) => unistd::User::from_uid(unistd::Uid::from_raw(number)),
            Err(_) => unistd::User::from_name(text),
        };
        let user = found
            .map_err(|error| format!("the system's users can't be read: {error}"))?
            .ok_or("a user that this system knows, by name or number")?;
        Ok(Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = match text.parse() {
            Ok(number) => unistd::Group::from_gid(unistd::Gid::from_raw(number)),
            Err(_) => unistd::Group::from_name(text),
        };
        let group = found
            .map_err(|error| format!("the system's groups can't be read: {error}"))?
            .ok_or("a group that this system knows, by name or number")?;
        Ok(Self {
            name: group.name,
            gid: group.gid.as_raw(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, User};

    #[test]
    fn names_and_numbers_are_looked_up_and_strangers_refused() {
        let root: User = "root".parse().unwrap();
        assert_eq!((root.uid, root.gid, &*root.name), (0, 0, "root"));
        assert_eq!("0".parse(), Ok(root));
        assert_eq!("0".parse::<Group>().map(|group| group.gid), Ok(0));
        assert!("no-such-user".parse::<User>().is_err());
        assert!("4000000000".parse::<User>().is_err());
        assert!("no-such-group".parse::<Group>().is_err());
        assert!("".parse::<User>().is_err());
    }
}
