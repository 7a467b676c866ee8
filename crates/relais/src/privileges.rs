//! `User` and `Group`: ports and logs are opened as root, requests are not
//! served as root.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, geteuid, initgroups, setgid, setgroups, setuid};
use relais_policy::ServerSpec;

/// Becomes the configured user and group; without root's rights nothing
/// changes, as in httpd.
///
/// # Errors
/// When a name is unknown or the change fails.
pub(crate) fn drop_to(server: &ServerSpec) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let group = server.group.as_deref().map(group).transpose()?;
    let user = server.user.as_deref().map(user).transpose()?;
    let Some((uid, name, own_group)) = user else {
        if let Some(gid) = group {
            setgroups(&[gid])
                .and_then(|()| setgid(gid))
                .map_err(|error| format!("Group: {error}"))?;
        }
        return Ok(());
    };
    let gid = group.unwrap_or(own_group);
    setgid(gid).map_err(|error| format!("Group: {error}"))?;
    match name {
        Some(name) => initgroups(&name, gid),
        // Root's other groups must not stay with a number.
        None => setgroups(&[gid]),
    }
    .map_err(|error| format!("Group: {error}"))?;
    setuid(uid).map_err(|error| format!("User: {error}"))
}

/// A user by name or `#number`, its name for its other groups, and its group.
fn user(word: &str) -> Result<(Uid, Option<CString>, Gid), String> {
    let found = match word.strip_prefix('#') {
        Some(number) => {
            let uid = Uid::from_raw(
                number
                    .parse()
                    .map_err(|_| format!("User {word}: not a number"))?,
            );
            match User::from_uid(uid) {
                Ok(Some(user)) => Some(user),
                _ => return Ok((uid, None, Gid::from_raw(uid.as_raw()))),
            }
        }
        None => User::from_name(word).map_err(|error| format!("User {word}: {error}"))?,
    };
    let user = found.ok_or_else(|| format!("bad user name {word}"))?;
    let name = CString::new(user.name).map_err(|_| format!("bad user name {word}"))?;
    Ok((user.uid, Some(name), user.gid))
}

/// A group by name or `#number`.
fn group(word: &str) -> Result<Gid, String> {
    if let Some(number) = word.strip_prefix('#') {
        return number
            .parse()
            .map(Gid::from_raw)
            .map_err(|_| format!("Group {word}: not a number"));
    }
    let found = Group::from_name(word).map_err(|error| format!("Group {word}: {error}"))?;
    found
        .map(|group| group.gid)
        .ok_or_else(|| format!("bad group name {word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(user("root").unwrap().0, Uid::from_raw(0));
        assert_eq!(user("#0").unwrap().0, Uid::from_raw(0));
        assert_eq!(user("#12345").unwrap().2, Gid::from_raw(12345));
        assert!(
            user("no-such-user-here")
                .unwrap_err()
                .contains("bad user name")
        );
        assert!(user("#x").is_err());
        assert_eq!(group("root").unwrap(), Gid::from_raw(0));
        assert_eq!(group("#7").unwrap(), Gid::from_raw(7));
        assert!(group("no-such-group-here").is_err());
    }
}
