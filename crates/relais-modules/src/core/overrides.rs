//! `AllowOverride` and `AllowOverrideList`: what the files named by
//! `AccessFileName` may set (core.html#allowoverride).
//!
//! Which directive belongs to which class is httpd's; a section that belongs to
//! no class may stand in such a file wherever anything may.

use relais_conf::{Diagnostic, Text};
use relais_policy::{Problem, SectionKind, SetResult, Slot};

use super::Core;
use crate::values;

/// What one level allows.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Overrides {
    /// `AllowOverride`: the classes, as bits.
    classes: u8,
    /// `AllowOverride Options=…`: the options that may be set, in lower case.
    options: Option<Vec<String>>,
    /// `AllowOverride Nonfatal=…`: what is not allowed is left out.
    pub(crate) skips_forbidden: bool,
    /// `AllowOverride Nonfatal=…`: names that nobody knows are left out.
    pub(crate) skips_unknown: bool,
    /// `AllowOverrideList`, in lower case.
    list: Vec<String>,
}

/// The classes in the order of their bits.
const CLASSES: [&str; 5] = ["AuthConfig", "FileInfo", "Indexes", "Limit", "Options"];

const AUTH: u8 = 1;
const FILE: u8 = 2;
const INDEXES: u8 = 4;
const LIMIT: u8 = 8;
const OPTIONS: u8 = 16;
const ALL: u8 = 31;

impl Overrides {
    /// Whether there is anything to read a file for.
    pub(crate) fn allows_something(&self) -> bool {
        self.classes != 0 || !self.list.is_empty()
    }

    /// Whether a directive or section may stand in a file; `name` is in
    /// httpd's spelling, with `<` in front for a section.
    pub(crate) fn allows(&self, name: &str, arguments: &Text) -> bool {
        let same = |have: &String| have.eq_ignore_ascii_case(name);
        if self.list.iter().any(same) {
            return true;
        }
        let class = class(name);
        if self.classes & class == 0 {
            return false;
        }
        match &self.options {
            Some(allowed) if class == OPTIONS && name == "Options" => {
                arguments.words().iter().all(|word| {
                    let word = word.lossy().to_ascii_lowercase();
                    let option = word.trim_start_matches(['+', '-']);
                    option == "none" || allowed.iter().any(|have| have == option)
                })
            }
            _ => true,
        }
    }
}

/// The classes of which one has to be allowed; zero for what may never stand
/// in such a file.
fn class(name: &str) -> u8 {
    let known = TABLE
        .iter()
        .find(|(names, _)| names.split(' ').any(|have| have.eq_ignore_ascii_case(name)));
    known.map_or(0, |(_, class)| *class)
}

/// httpd's `OR_*` of each directive that relais has.
const TABLE: &[(&str, u8)] = &[
    (
        "AuthBasicAuthoritative AuthBasicProvider AuthBasicFake AuthBasicUseDigestAlgorithm \
         AuthGroupFile AuthMerging AuthName AuthType AuthUserFile AuthzSendForbiddenOnFailure \
         Require <RequireAll <RequireAny <RequireNone Satisfy SSLCipherSuite SSLRequire \
         SSLRequireSSL SSLUserName SSLVerifyClient SSLVerifyDepth",
        AUTH,
    ),
    (
        "AcceptPathInfo AddCharset AddDefaultCharset AddEncoding AddHandler AddInputFilter \
         AddLanguage AddOutputFilter AddOutputFilterByType AddType AliasPreservePath BrowserMatch \
         BrowserMatchNoCase DefaultLanguage DefaultType EnableMMAP EnableSendfile ErrorDocument \
         FileETag ForceType Header PassEnv QualifyRedirectURL Redirect RedirectMatch \
         RedirectPermanent RedirectRelative RedirectTemp RemoveCharset RemoveEncoding \
         RemoveHandler RemoveInputFilter RemoveLanguage RemoveOutputFilter RemoveType \
         RequestHeader RewriteBase RewriteCond RewriteEngine RewriteOptions RewriteRule SetEnv \
         SetEnvIf SetEnvIfExpr SetEnvIfNoCase SetHandler SetInputFilter SetOutputFilter \
         Substitute SubstituteInheritBefore SubstituteMaxLineLength UnsetEnv",
        FILE,
    ),
    (
        "DirectoryIndex DirectorySlash ExpiresActive ExpiresByType ExpiresDefault \
         FallbackResource",
        INDEXES,
    ),
    ("Allow Deny Order", LIMIT),
    ("<Limit <LimitExcept", AUTH | LIMIT),
    ("Options SSLOptions", OPTIONS),
    ("<Files <FilesMatch <If <ElseIf <Else LimitRequestBody", ALL),
];

/// The handler of `AllowOverride`.
pub(super) fn allow(slot: &mut Slot<'_, Core>, words: &[Text]) -> SetResult {
    let mut read = Overrides {
        list: slot.section.overrides.clone().unwrap_or_default().list,
        ..Overrides::default()
    };
    for word in words {
        let equals = word.bytes().iter().position(|&byte| byte == b'=');
        let (kind, value) = match equals {
            Some(at) => (word.slice(0..at), Some(word.slice(at + 1..word.len()))),
            None => (word.clone(), None),
        };
        match value {
            Some(value) if kind.eq_ignore_case("Nonfatal") => {
                let which = values::choice(&value, "Nonfatal", &["Override", "Unknown", "All"])?;
                read.skips_forbidden |= which != 1;
                read.skips_unknown |= which != 0;
            }
            Some(value) if kind.eq_ignore_case("Options") => {
                let text = value.lossy().to_ascii_lowercase();
                read.options = Some(text.split(',').map(str::to_owned).collect());
                read.classes |= OPTIONS;
            }
            _ => {
                let names = [&["None", "All"][..], &CLASSES].concat();
                match values::choice(word, "AllowOverride", &names)? {
                    0 => read.classes = 0,
                    1 => read.classes = ALL,
                    class => read.classes |= 1 << (class - 2),
                }
            }
        }
    }
    keep(slot, read);
    Ok(())
}

/// The handler of `AllowOverrideList`.
pub(super) fn allow_list(slot: &mut Slot<'_, Core>, words: &[Text]) -> SetResult {
    let mut read = slot.section.overrides.clone().unwrap_or_default();
    read.list.clear();
    for word in words.iter().filter(|word| !word.eq_ignore_case("None")) {
        let name = word.lossy();
        if class(&name) == 0 {
            let message = format!("AllowOverrideList: {name} may never stand in such a file");
            return Err(Problem::at(word.span(), message));
        }
        read.list.push(name.to_ascii_lowercase());
    }
    keep(slot, read);
    Ok(())
}

fn keep(slot: &mut Slot<'_, Core>, read: Overrides) {
    if !counts(slot) {
        return;
    }
    slot.host.overrides |= read.allows_something();
    slot.section.overrides = Some(read);
}

/// Whether the line counts: httpd looks into folders before it knows of
/// anything but plain `<Directory>` sections, and takes it elsewhere too.
fn counts(slot: &mut Slot<'_, Core>) -> bool {
    let section = slot.place.section;
    if section.is_some_and(|head| head.kind == SectionKind::Directory && head.is_plain()) {
        return true;
    }
    let name = &slot.place.name;
    let message = format!("{} has no effect here", name.lossy());
    let warning = Diagnostic::warning("RC0318", name.span(), message);
    slot.diagnostics.push(warning.with_help(
        "it is for <Directory> sections that name a folder without a regular expression",
    ));
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MODULES;
    use crate::testing::text;

    #[test]
    fn what_is_allowed() {
        let file_info = Overrides {
            classes: FILE,
            ..Overrides::default()
        };
        let listed = Overrides {
            list: vec!["require".to_owned()],
            ..Overrides::default()
        };
        let some_options = Overrides {
            classes: OPTIONS,
            options: Some(vec!["indexes".to_owned()]),
            ..Overrides::default()
        };
        let none = Overrides::default();
        let table: &[(&Overrides, &str, &str, bool)] = &[
            (&file_info, "RewriteRule", "a b", true),
            (&file_info, "Require", "all granted", false),
            (&file_info, "<Files", "x", true),
            (&file_info, "ProxyPass", "/ http://o/", false),
            (&file_info, "DocumentRoot", "/", false),
            (&listed, "Require", "all granted", true),
            (&listed, "RewriteRule", "a b", false),
            (&some_options, "Options", "+Indexes", true),
            (&some_options, "Options", "Indexes FollowSymLinks", false),
            (&some_options, "Options", "None", true),
            (&none, "<Files", "x", false),
        ];
        for &(overrides, name, arguments, expected) in table {
            let allowed = overrides.allows(name, &text(arguments));
            assert_eq!(allowed, expected, "{name} {arguments}");
        }
        assert!(!none.allows_something() && listed.allows_something());
    }

    #[test]
    fn directives_of_one_place_alone_stay_there() {
        for name in [
            "ProxyPass",
            "Listen",
            "RewriteMap",
            "AllowOverride",
            "Alias",
        ] {
            let known = MODULES.iter().flat_map(|module| module.directives());
            assert!(known.into_iter().any(|row| row.name == name), "{name}");
            assert_eq!(class(name), 0, "{name}");
        }
    }
}
