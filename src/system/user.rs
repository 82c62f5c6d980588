//! Who does this process run as?
//!
//! Must not know which process should drop what. Order matters: groups can only be changed
//! while the process is still privileged, so the user goes last.

use std::ffi::CString;
use std::fmt;
use std::io;

use nix::unistd::{Gid, Group, Uid, User};

/// A user or group that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// "user" or "group".
    pub kind: &'static str,
    /// As given.
    pub name: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no such {}: '{}'", self.kind, self.name)
    }
}

impl std::error::Error for Unknown {}

/// The id of a user given by name or number.
pub fn user_id(name: &str) -> Result<u32, Unknown> {
    let found = || User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    name.parse().ok().or_else(found).ok_or_else(|| Unknown { kind: "user", name: name.to_owned() })
}

/// The id of a group given by name or number.
pub fn group_id(name: &str) -> Result<u32, Unknown> {
    let found = || Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    name.parse().ok().or_else(found).ok_or_else(|| Unknown { kind: "group", name: name.to_owned() })
}

/// The primary group of a user, where the user is known.
pub fn primary_group(user: u32) -> Option<u32> {
    User::from_uid(Uid::from_raw(user)).ok().flatten().map(|user| user.gid.as_raw())
}

/// Becomes `group`, then `user`, for good. With `initgroups` the user's supplementary groups
/// are taken on; otherwise a change of user or group leaves none but `group`.
pub fn drop_privileges(user: Option<u32>, group: Option<u32>, initgroups: bool) -> io::Result<()> {
    let changes = |wanted: Option<u32>, current: u32| wanted.is_some_and(|id| id != current);
    let privileged = Uid::effective().is_root();
    if let Some(gid) = group {
        if privileged {
            set_groups(user, gid, initgroups)?;
        }
        if changes(group, Gid::effective().as_raw()) {
            nix::unistd::setgid(Gid::from_raw(gid))?;
        }
    }
    if let Some(uid) = user
        && changes(user, Uid::effective().as_raw())
    {
        if privileged && group.is_none() {
            set_groups(user, primary_group(uid).unwrap_or(Gid::effective().as_raw()), initgroups)?;
        }
        nix::unistd::setuid(Uid::from_raw(uid))?;
    }
    Ok(())
}

fn set_groups(user: Option<u32>, group: u32, initgroups: bool) -> io::Result<()> {
    let name = user
        .filter(|_| initgroups)
        .and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten())
        .and_then(|user| CString::new(user.name).ok());
    match name {
        Some(name) => nix::unistd::initgroups(&name, Gid::from_raw(group))?,
        // Root's own supplementary groups (disk, shadow...) must not stay behind.
        None if user.is_some_and(|uid| uid != 0) => nix::unistd::setgroups(&[Gid::from_raw(group)])?,
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_resolve() {
        assert_eq!(user_id("root"), Ok(0));
        assert_eq!(user_id("4711"), Ok(4711));
        assert_eq!(group_id("root"), Ok(0));
        let error = user_id("no-such-user-here").unwrap_err();
        assert_eq!(error.to_string(), "no such user: 'no-such-user-here'");
        assert_eq!(group_id("no-such-group").unwrap_err().kind, "group");
    }
}
