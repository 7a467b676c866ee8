//! mod_authn_file: users and their passwords in a text file.

mod password;

use std::fs;
use std::path::{Path, PathBuf};

use relais_policy::{Context, Directive, Exchange, Module, Set};

/// mod_authn_file.
pub struct AuthnFile;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    users: Option<PathBuf>,
}

impl Module for AuthnFile {
    const NAME: &'static str = "mod_authn_file";
    const IDENTIFIER: &'static str = "authn_file_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[Directive {
        name: "AuthUserFile",
        syntax: "AuthUserFile file-path",
        context: Context::DIRECTORY.or(Context::PROXY),
        default: None,
        doc: "The file with a line `user:hash` for each user, as htpasswd writes it; it is read at each log-in.",
        accepts: &["AuthUserFile /etc/users", "AuthUserFile conf/users"],
        refuses: &["AuthUserFile", "AuthUserFile a b"],
        set: Set::Take1(|slot, word| {
            slot.section.users = Some(slot.place.path(word));
            Ok(())
        }),
    }];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            users: inner.users.clone().or_else(|| outer.users.clone()),
        }
    }
}

/// What a password file says of a user and a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Granted,
    Mismatch,
    NoUser,
    /// The user's hash is of a kind that nothing here can check.
    Unusable(&'static str),
    /// The file cannot be read.
    NoFile(String),
}

/// The file that is configured for a request.
pub(crate) fn user_file<'e>(exchange: &'e Exchange<'_>) -> Option<&'e PathBuf> {
    exchange.section_settings::<Section>().users.as_ref()
}

/// Looks a user up and checks the password. It reads a file and takes as long
/// as the hash was made to, so it is done in a `Lookup`.
pub(crate) fn verify(file: &Path, user: &[u8], password: &[u8]) -> Outcome {
    match fs::read(file) {
        Ok(text) => match hash_of(&text, user) {
            Some(hash) => password::verify(password, hash),
            None => Outcome::NoUser,
        },
        Err(error) => Outcome::NoFile(error.to_string()),
    }
}

/// The hash in a user's line, the first that has the name.
fn hash_of<'t>(text: &'t [u8], user: &[u8]) -> Option<&'t [u8]> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut entries = lines.filter(|line| !line.starts_with(b"#"));
    entries.find_map(|line| {
        let rest = line.strip_prefix(user)?.strip_prefix(b":")?;
        rest.split(|&byte| byte == b':').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_users() {
        let text = b"# users\na:1\r\n ab:2:Full Name:x\n\nb:\n#c:3\nno colon\na:again";
        let table: &[(&str, Option<&str>)] = &[
            ("a", Some("1")),
            ("ab", Some("2")),
            ("b", Some("")),
            ("c", None),
            ("#c", None),
            ("no colon", None),
            ("", None),
        ];
        for &(user, expected) in table {
            let found = hash_of(text, user.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{user}");
        }
    }
}
