//! mod_authz_groupfile: groups of users in a text file.

use std::fs;
use std::path::{Path, PathBuf};

use relais_policy::{Context, Directive, Exchange, Flow, Lookup, Module, Set};
use relais_telemetry::Level;

/// mod_authz_groupfile.
pub struct AuthzGroupfile;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    groups: Option<PathBuf>,
}

impl Module for AuthzGroupfile {
    const NAME: &'static str = "mod_authz_groupfile";
    const IDENTIFIER: &'static str = "authz_groupfile_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[Directive {
        name: "AuthGroupFile",
        syntax: "AuthGroupFile file-path",
        context: Context::DIRECTORY.or(Context::PROXY),
        default: None,
        doc: "The file with a line `group: user user` for each group; it is read when `Require group` asks.",
        accepts: &["AuthGroupFile /etc/groups", "AuthGroupFile conf/groups"],
        refuses: &["AuthGroupFile", "AuthGroupFile a b"],
        set: Set::Take1(|slot, word| {
            slot.section.groups = Some(slot.place.path(word));
            Ok(())
        }),
    }];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            groups: inner.groups.clone().or_else(|| outer.groups.clone()),
        }
    }
}

/// The groups of a user, or why they are not known.
type Groups = Result<Vec<Vec<u8>>, String>;

/// Has the user's groups looked up, if that has not been done.
pub(crate) fn prepare(exchange: &Exchange<'_>) -> Option<Flow> {
    let file = exchange.section_settings::<Section>().groups.clone()?;
    let user = exchange.user.clone()?;
    let key = key(&file, &user);
    if exchange.answer::<Groups>(&key).is_some() {
        return None;
    }
    let work = move || match fs::read(&file) {
        Ok(text) => Ok(groups_of(&text, &user)),
        Err(error) => Err(error.to_string()),
    };
    Some(Flow::Wait(Lookup::new(key, work)))
}

/// Whether the user, whose groups have been looked up, is in one of these.
pub(crate) fn is_member(exchange: &mut Exchange<'_>, names: &[Vec<u8>]) -> bool {
    let user = exchange.user.clone().unwrap_or_default();
    let Some(file) = exchange.section_settings::<Section>().groups.clone() else {
        let line = "AH01664: No group file was specified in the configuration";
        exchange.note("authz_groupfile", Level::Error, || line.to_owned());
        return false;
    };
    let (level, line) = match exchange.answer::<Groups>(&key(&file, &user)) {
        Some(Ok(groups)) if groups.iter().any(|group| names.contains(group)) => return true,
        Some(Ok(groups)) => refused(exchange, &user, &file, groups.is_empty()),
        Some(Err(why)) => (
            Level::Error,
            format!(
                "AH01665: Could not open group file: {}: {why}",
                file.display()
            ),
        ),
        None => return false,
    };
    exchange.note("authz_groupfile", level, || line);
    false
}

fn refused(exchange: &Exchange<'_>, user: &[u8], file: &Path, nowhere: bool) -> (Level, String) {
    let (level, code, reason) = if nowhere {
        let reason = format!("user doesn't appear in group file ({}).", file.display());
        (Level::Info, "AH01666", reason)
    } else {
        let reason = "user is not part of the 'require'ed group(s).".to_owned();
        (Level::Debug, "AH01667", reason)
    };
    let line = format!(
        "{code}: Authorization of user {} to access {} failed, reason: {reason}",
        String::from_utf8_lossy(user),
        String::from_utf8_lossy(&exchange.path)
    );
    (level, line)
}

fn key(file: &Path, user: &[u8]) -> Vec<u8> {
    [
        b"authz_groupfile".as_slice(),
        file.as_os_str().as_encoded_bytes(),
        user,
    ]
    .join(&0)
}

/// The groups in whose lines the user is.
fn groups_of(text: &[u8], user: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let entries = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let groups = entries.filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let mut members = line[colon + 1..].split(u8::is_ascii_whitespace);
        members
            .any(|member| member == user)
            .then(|| line[..colon].trim_ascii_end().to_vec())
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_users() {
        let text = b"# groups\nstaff: ann  bob\r\nguests : carl ann\n#no: ann\nempty:\nwrong ann\n";
        let table: &[(&str, &[&str])] = &[
            ("ann", &["staff", "guests"]),
            ("bob", &["staff"]),
            ("carl", &["guests"]),
            ("dora", &[]),
        ];
        for &(user, expected) in table {
            let expected: Vec<_> = expected.iter().map(|name| name.as_bytes()).collect();
            assert_eq!(groups_of(text, user.as_bytes()), expected, "{user}");
        }
    }
}
