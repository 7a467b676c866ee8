//! mod_so: `LoadModule`, and what `<IfModule>` answers.
//!
//! relais opens no module file. A name of a module that is implemented here,
//! or that has nothing to do in one process, is accepted; one whose
//! directives are still to come is accepted with a note and one that relais
//! will not have with a warning, so that `<IfModule>` does not skip its
//! directives in silence, which are errors; any other name is an error.
//!
//! As in httpd a module is present for `<IfModule>` only when it was loaded or
//! is built in; directives of implemented modules work without `LoadModule`.

use relais_conf::{Diagnostic, Diagnostics, Text};
use relais_policy::{Context, Directive, Module, Set};

use crate::{MODULES, known};

/// mod_so.
pub struct So;

impl Module for So {
    const NAME: &'static str = "mod_so";
    const IDENTIFIER: &'static str = "so_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[Directive {
        name: "LoadModule",
        syntax: "LoadModule module filename",
        context: Context::HOST,
        default: None,
        doc: "Names a module that the configuration counts on; the file is not opened.",
        accepts: &[
            "LoadModule proxy_module modules/mod_proxy.so",
            "LoadModule mpm_event_module x.so",
        ],
        refuses: &[
            "LoadModule no_such_module x.so",
            "LoadModule php_module x.so",
        ],
        set: Set::ReadTime,
    }];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}

/// Modules that are there without `LoadModule`, as in Debian's build, and relais' own.
const STATIC: &[&str] = &[
    "core",
    "so",
    "watchdog",
    "http",
    "log_config",
    "logio",
    "version",
    "unixd",
    "tunnel",
];

/// Modules that have nothing to do here, with the multi-processing modules first.
const MPM: &[&str] = &["mpm_event", "mpm_worker", "mpm_prefork"];
const NOTHING_TO_DO: &[&str] = &[
    "systemd",
    "slotmem_shm",
    "slotmem_plain",
    "socache_shmcb",
    "negotiation",
    "autoindex",
    "mime_magic",
    "userdir",
    "macro",
    "proxy_balancer",
    "proxy_hcheck",
    "lbmethod_byrequests",
    "lbmethod_bytraffic",
    "lbmethod_bybusyness",
    "authn_socache",
    "socache_dbm",
    "socache_memcache",
    "socache_redis",
    "buffer",
    "request",
];

/// Modules whose directives are still to come.
const LATER: &[&str] = &["proxy_http2"];

/// Modules that relais will not have, and why.
const REFUSED: &[(&str, &str)] = &[
    ("cache", "relais stores no answers"),
    ("cache_disk", "relais stores no answers"),
    ("cache_socache", "relais stores no answers"),
    ("proxy_html", "relais does not rewrite links in pages"),
    ("xml2enc", "relais does not rewrite links in pages"),
    ("md", "relais fetches no certificates"),
    ("auth_digest", "AuthType Basic over TLS does the same"),
    ("authn_anon", "Require all granted does the same"),
    ("authz_owner", "the owner of a file lets nobody in"),
    ("vhost_alias", "hosts by pattern are not supported"),
    ("info", "it would show the whole configuration"),
    ("proxy_connect", "relais is a reverse proxy only"),
    ("proxy_fcgi", "a protocol that relais does not speak"),
    ("cgi", "relais starts no programs"),
    ("cgid", "relais starts no programs"),
    ("suexec", "relais starts no programs"),
    ("ext_filter", "relais starts no programs"),
    ("actions", "relais starts no programs"),
    ("dav", "relais serves files to be read only"),
    ("dav_fs", "relais serves files to be read only"),
    ("dav_lock", "relais serves files to be read only"),
    ("include", "relais serves files as they are"),
    ("isapi", "relais runs no programs for requests"),
    ("asis", "relais serves files as they are"),
    ("imagemap", "relais serves files as they are"),
    ("speling", "relais serves files as they are"),
    ("cern_meta", "relais serves files as they are"),
    ("file_cache", "the system keeps files in memory by itself"),
    ("charset_lite", "relais serves files as they are"),
    ("ldap", "no directory services"),
    ("authnz_ldap", "no directory services"),
    ("dbd", "no databases"),
    ("authn_dbd", "no databases"),
    ("authz_dbd", "no databases"),
    ("session_dbd", "no databases"),
    ("authn_dbm", "no databases"),
    ("authz_dbm", "no databases"),
    ("session", "no sessions"),
    ("session_cookie", "no sessions"),
    ("session_crypto", "no sessions"),
    ("auth_form", "no sessions"),
    ("lua", "no scripts inside of the server"),
    ("proxy_ftp", "a protocol that relais does not speak"),
    ("proxy_ajp", "a protocol that relais does not speak"),
    ("proxy_scgi", "a protocol that relais does not speak"),
    ("proxy_uwsgi", "a protocol that relais does not speak"),
    ("proxy_fdpass", "a protocol that relais does not speak"),
    ("authnz_fcgi", "a protocol that relais does not speak"),
    ("proxy_express", "a RewriteMap does the same"),
    ("lbmethod_heartbeat", "heartbeats are not supported"),
    ("heartbeat", "heartbeats are not supported"),
    ("heartmonitor", "heartbeats are not supported"),
    ("ident", "identd is no longer in use"),
    ("log_forensic", "not supported"),
    ("log_debug", "not supported"),
    ("dumpio", "not supported"),
    ("sed", "not supported"),
    ("reflector", "not supported"),
    ("data", "not supported"),
    ("dialup", "not supported"),
    ("echo", "not supported"),
    ("privileges", "not supported"),
];

/// What reading a configuration asks about modules.
#[derive(Clone, Debug, Default)]
pub struct ModuleHost {
    /// Names from `LoadModule`, without `_module`, in order.
    loaded: Vec<String>,
}

impl ModuleHost {
    /// The modules that are there, by identifier, and whether they are shared
    /// (named by `LoadModule`), in the order of `httpd -M`.
    #[must_use]
    pub fn modules(&self) -> Vec<(String, bool)> {
        let mpm = if self.has_mpm() { &[][..] } else { &MPM[..1] };
        let built_in = STATIC
            .iter()
            .chain(mpm)
            .map(|name| (format!("{name}_module"), false));
        built_in
            .chain(
                self.loaded
                    .iter()
                    .map(|name| (format!("{name}_module"), true)),
            )
            .collect()
    }

    fn has_mpm(&self) -> bool {
        self.loaded.iter().any(|name| MPM.contains(&name.as_str()))
    }

    fn present(&self, name: &str) -> bool {
        STATIC.contains(&name)
            || self.loaded.iter().any(|have| have == name)
            || (name == MPM[0] && !self.has_mpm())
    }
}

impl relais_conf::Host for ModuleHost {
    fn load_module(&mut self, identifier: &Text, _path: &Text, diagnostics: &mut Diagnostics) {
        let shown = identifier.lossy();
        let span = identifier.span();
        let Some(name) = shown
            .strip_suffix("_module")
            .filter(|name| kind(name).is_some())
        else {
            diagnostics.push(unknown(identifier));
            return;
        };
        let twice = self.loaded.iter().any(|have| have == name) || STATIC.contains(&name);
        match kind(name) {
            Some(Kind::Refused(why)) => {
                let message = format!("module {shown} is not supported: {why}");
                let warning = Diagnostic::warning("RC0306", span, message);
                diagnostics.push(
                    warning.with_help("each of its directives is an error, where there is one"),
                );
                // <IfModule> must not skip what is to be refused.
                self.loaded.push(name.to_owned());
            }
            _ if twice => {
                diagnostics.push(Diagnostic::warning(
                    "RC0307",
                    span,
                    format!("module {shown} is already loaded, skipping"),
                ));
            }
            Some(Kind::Later) => {
                let message =
                    format!("module {shown} is not implemented yet: its directives are errors");
                diagnostics.push(Diagnostic::note("RC0304", span, message));
                self.loaded.push(name.to_owned());
            }
            _ => self.loaded.push(name.to_owned()),
        }
    }

    fn module_present(&self, name: &str) -> bool {
        bare_name(name).is_some_and(|name| self.present(&name))
    }

    fn directive_known(&self, name: &str) -> bool {
        let row = MODULES.iter().find(|module| {
            module
                .directives()
                .iter()
                .any(|row| row.name.trim_end_matches('>').eq_ignore_ascii_case(name))
        });
        let owner = match row {
            Some(module) => Some(module.name()),
            None => known(name).map(|known| known.module),
        };
        owner.is_some_and(|module| {
            let name = module.strip_prefix("mod_").unwrap_or(module);
            name == "mpm_common" || self.present(name)
        })
    }
}

enum Kind {
    Here,
    Later,
    Refused(&'static str),
}

fn kind(name: &str) -> Option<Kind> {
    let implemented = MODULES
        .iter()
        .any(|module| module.identifier().strip_suffix("_module") == Some(name));
    if implemented
        || [STATIC, MPM, NOTHING_TO_DO]
            .iter()
            .any(|list| list.contains(&name))
    {
        return Some(Kind::Here);
    }
    if LATER.contains(&name) {
        return Some(Kind::Later);
    }
    REFUSED
        .iter()
        .find(|(have, _)| *have == name)
        .map(|(_, why)| Kind::Refused(why))
}

fn unknown(identifier: &Text) -> Diagnostic {
    let here = MODULES
        .iter()
        .filter_map(|module| module.identifier().strip_suffix("_module"));
    let names = here
        .chain([STATIC, MPM, NOTHING_TO_DO, LATER].concat())
        .map(|name| format!("{name}_module"));
    let names: Vec<String> = names.collect();
    let message = format!("{} is not a module of httpd 2.4", identifier.lossy());
    let error = Diagnostic::error("RC0303", identifier.span(), message);
    match relais_conf::value::did_you_mean(&identifier.lossy(), names.iter().map(String::as_str)) {
        Some(near) => error.with_help(format!("did you mean `{near}`?")),
        None => error.with_help("relais has no loadable modules; those it knows are listed by `relais -l` and in the handbook"),
    }
}

/// Whether httpd 2.4 or relais has a module of this name, without `mod_` and
/// `_module`.
pub(crate) fn is_module(name: &str) -> bool {
    kind(name).is_some() || matches!(name, "event" | "worker" | "prefork")
}

/// `proxy` of `mod_proxy.c` and of `proxy_module`, in the letter case that they
/// have there; everything else is no name of a module for httpd.
fn bare_name(name: &str) -> Option<String> {
    let Some(file) = name.strip_suffix(".c") else {
        return name.strip_suffix("_module").map(str::to_owned);
    };
    match file {
        "core" => Some("core".to_owned()),
        "http_core" => Some("http".to_owned()),
        "event" | "worker" | "prefork" => Some(format!("mpm_{file}")),
        "util_ldap" => Some("ldap".to_owned()),
        _ => file.strip_prefix("mod_").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use relais_conf::Host as _;

    use super::*;
    use crate::testing::text;

    fn host(names: &[&str]) -> (ModuleHost, Vec<&'static str>) {
        let mut host = ModuleHost::default();
        let mut diagnostics = Diagnostics::new();
        for name in names {
            host.load_module(&text(name), &text("x.so"), &mut diagnostics);
        }
        let codes = diagnostics
            .iter()
            .map(|diagnostic| diagnostic.code)
            .collect();
        (host, codes)
    }

    #[test]
    fn what_load_module_answers() {
        let table: &[(&[&str], &[&str])] = &[
            (
                &["proxy_module", "proxy_http_module", "rewrite_module"],
                &[],
            ),
            (&["mpm_prefork_module", "systemd_module"], &[]),
            (&["proxy_module", "proxy_module"], &["RC0307"]),
            (&["unixd_module"], &["RC0307"]),
            (&["proxy_http2_module"], &["RC0304"]),
            (&["authn_socache_module"], &[]),
            (&["cgi_module"], &["RC0306"]),
            (&["proxi_module"], &["RC0303"]),
            (&["proxy"], &["RC0303"]),
        ];
        for &(names, expected) in table {
            assert_eq!(host(names).1, expected, "{names:?}");
        }
    }

    #[test]
    fn what_if_module_answers() {
        let (host, _) = host(&[
            "proxy_module",
            "ssl_module",
            "cgi_module",
            "mpm_worker_module",
        ]);
        let table: &[(&str, bool)] = &[
            ("mod_proxy.c", true),
            ("proxy_module", true),
            ("mod_ssl.c", true),
            ("mod_cgi.c", true),
            ("mod_cgid.c", false),
            ("mod_rewrite.c", false),
            ("core.c", true),
            ("http_core.c", true),
            ("mod_so.c", true),
            ("worker.c", true),
            ("mpm_event_module", false),
            ("tunnel_module", true),
            ("proxy.c", false),
            ("mod_proxy", false),
            ("proxy", false),
            ("MOD_PROXY.C", false),
        ];
        for &(name, expected) in table {
            assert_eq!(host.module_present(name), expected, "{name}");
        }
        assert!(ModuleHost::default().module_present("mpm_event_module"));
    }

    #[test]
    fn what_if_directive_answers() {
        let (host, _) = host(&["ssl_module"]);
        let table: &[(&str, bool)] = &[
            ("Timeout", true),
            ("listen", true),
            ("SSLEngine", true),
            ("Directory", false),
            ("<Directory", true),
            ("<RequireAll", false),
            ("<SSLEngine", false),
            ("ProxyPass", false),
            ("NoSuchThing", false),
        ];
        for &(name, expected) in table {
            assert_eq!(host.directive_known(name), expected, "{name}");
        }
    }
}
