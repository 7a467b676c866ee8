//! The Apache modules that relais implements, one file each.
//!
//! A module file holds its directive table, its settings, how they merge, and
//! what they do in each phase. [`MODULES`] and [`PHASES`] say which modules
//! there are and in which order their functions run; [`configure`] turns
//! configuration text into a site. The rest of relais reaches a module only
//! through `relais_policy::Module`.

mod address;
mod client_name;
mod configure;
pub mod core;
mod files;
mod filters;
mod known;
mod methods;
pub mod mod_access_compat;
pub mod mod_alias;
pub mod mod_allowmethods;
pub mod mod_auth_basic;
pub mod mod_authn_core;
pub mod mod_authn_file;
pub mod mod_authz_core;
pub mod mod_authz_groupfile;
pub mod mod_authz_host;
pub mod mod_authz_user;
pub mod mod_brotli;
pub mod mod_deflate;
pub mod mod_dir;
pub mod mod_env;
pub mod mod_expires;
pub mod mod_filter;
pub mod mod_headers;
pub mod mod_http2;
pub mod mod_log_config;
pub mod mod_logio;
pub mod mod_mime;
pub mod mod_proxy;
pub mod mod_proxy_balancer;
pub mod mod_proxy_http;
pub mod mod_proxy_wstunnel;
pub mod mod_ratelimit;
pub mod mod_remoteip;
pub mod mod_reqtimeout;
pub mod mod_rewrite;
pub mod mod_setenvif;
pub mod mod_so;
pub mod mod_ssl;
pub mod mod_status;
pub mod mod_substitute;
pub mod mod_tunnel;
pub mod mod_unique_id;
pub mod mod_unixd;
pub mod mod_usertrack;
pub mod mpm_common;
mod own_url;
mod standing;
#[cfg(test)]
mod testing;
mod values;

pub use configure::{Configuration, configure, configure_offline};
pub use core::default_host_spec;
pub use known::{LANGUAGE, facts, known, names};
pub use mod_so::ModuleHost;
pub use standing::{EVERYWHERE, Standing, standing};

use relais_policy::{AnyModule, Phases, Registered};

/// Every code of this crate with its meaning. Codes are stable and never used
/// again for something else; RC0301 and RC0302 are RC0401 and RC0402 now, and
/// RC0321 said that no .htaccess file is read.
pub const CODES: &[(&str, &str)] = &[
    ("RC0303", "LoadModule names no module of httpd"),
    (
        "RC0304",
        "LoadModule names a module whose directives are still to come",
    ),
    (
        "RC0305",
        "a parameter of a worker that an earlier ProxyPass has defined is ignored",
    ),
    (
        "RC0306",
        "LoadModule names a module that relais will not have",
    ),
    ("RC0307", "a module is loaded twice"),
    ("RC0308", "a worker parameter has no effect here"),
    (
        "RC0309",
        "CustomLog names a format that no LogFormat defines",
    ),
    ("RC0310", "two Listen lines name the same address and port"),
    (
        "RC0311",
        "text behind the flags of a rewrite directive is ignored",
    ),
    ("RC0312", "NC has no effect on a condition"),
    (
        "RC0313",
        "PassEnv names a variable that the process does not have",
    ),
    ("RC0317", "ServerName is not the name of a host"),
    ("RC0318", "AllowOverride has no effect in this section"),
    (
        "RC0320",
        "a group of Require lines holds only negative ones, so that nobody gets in",
    ),
    ("RC0322", "Protocols names one that relais does not speak"),
    (
        "RC0323",
        "no module has a handler of this name, so that files are sent as they are",
    ),
    ("RC0324", "a file that a directive reads cannot be opened"),
    ("RC0502", "a protocol overrides those before it"),
    ("RC0503", "the certificates of origins are not verified"),
    ("RC0504", "a setting of OpenSSL has no counterpart here"),
    (
        "RC0601",
        "TunnelPing is not shorter than TunnelIdleTimeout, so that it never happens",
    ),
];

/// What `-v` and the status page show for a time of building, which relais has
/// not: the same source gives the same program.
pub const BUILT: &str = "from source, reproducibly";

/// All modules. The core comes first, since others build on what it writes
/// into a host's spec.
pub static MODULES: &[&dyn AnyModule] = &[
    &Registered::<core::Core>::new(),
    &Registered::<mod_so::So>::new(),
    &Registered::<mod_unixd::Unixd>::new(),
    &Registered::<mpm_common::MpmCommon>::new(),
    &Registered::<mod_log_config::LogConfig>::new(),
    &Registered::<mod_logio::Logio>::new(),
    &Registered::<mod_remoteip::RemoteIp>::new(),
    &Registered::<mod_reqtimeout::Reqtimeout>::new(),
    &Registered::<mod_unique_id::UniqueId>::new(),
    &Registered::<mod_setenvif::SetEnvIf>::new(),
    &Registered::<mod_env::Env>::new(),
    &Registered::<mod_expires::Expires>::new(),
    &Registered::<mod_usertrack::UserTrack>::new(),
    &Registered::<mod_headers::Headers>::new(),
    &Registered::<mod_allowmethods::Allowmethods>::new(),
    &Registered::<mod_access_compat::AccessCompat>::new(),
    &Registered::<mod_authz_core::AuthzCore>::new(),
    &Registered::<mod_authz_host::AuthzHost>::new(),
    &Registered::<mod_authz_user::AuthzUser>::new(),
    &Registered::<mod_authz_groupfile::AuthzGroupfile>::new(),
    &Registered::<mod_authn_core::AuthnCore>::new(),
    &Registered::<mod_authn_file::AuthnFile>::new(),
    &Registered::<mod_auth_basic::AuthBasic>::new(),
    &Registered::<mod_ssl::Ssl>::new(),
    &Registered::<mod_http2::Http2>::new(),
    &Registered::<mod_rewrite::Rewrite>::new(),
    &Registered::<mod_status::Status>::new(),
    &Registered::<mod_mime::Mime>::new(),
    &Registered::<mod_filter::FilterModule>::new(),
    &Registered::<mod_deflate::DeflateModule>::new(),
    &Registered::<mod_brotli::BrotliModule>::new(),
    &Registered::<mod_substitute::Substitutions>::new(),
    &Registered::<mod_ratelimit::RateLimit>::new(),
    &Registered::<mod_dir::Dir>::new(),
    &Registered::<mod_alias::Alias>::new(),
    &Registered::<mod_proxy::Proxy>::new(),
    &Registered::<mod_proxy_balancer::ProxyBalancer>::new(),
    &Registered::<mod_proxy_http::ProxyHttp>::new(),
    &Registered::<mod_proxy_wstunnel::Wstunnel>::new(),
    &Registered::<mod_tunnel::Tunnel>::new(),
];

/// The order of calls per phase.
pub static PHASES: Phases = Phases {
    // httpd: mod_headers' early edits come before mod_setenvif, which may look
    // at what they have set.
    post_read: &[
        mod_ssl::post_read,
        mod_headers::post_read,
        mod_remoteip::post_read,
        core::look_up_client,
        mod_unique_id::post_read,
        mod_setenvif::post_read,
    ],
    again: &[mod_setenvif::post_read],
    // httpd: a rule with mapping= comes before everything that sees the path
    // decoded.
    pre_translate: &[mod_proxy::pre_translate],
    // httpd: mod_rewrite hooks translate_name at APR_HOOK_FIRST and mod_proxy
    // right behind it, so that RewriteRule [P] beats ProxyPass.
    // mod_alias follows.
    translate: &[
        mod_rewrite::translate,
        mod_proxy::translate,
        mod_alias::translate,
        files::translate,
    ],
    map: &[files::map],
    header_parser: &[core::look_up_client, mod_setenvif::header_parser],
    // httpd: mod_allowmethods is REALLY_FIRST, then the checkers as Satisfy
    // joins them; SSLRequireSSL holds whatever Satisfy says (StrictRequire).
    access: &[
        mod_allowmethods::access,
        mod_ssl::access,
        mod_ssl::identify,
        mod_authz_core::access,
    ],
    // httpd: mod_proxy's fixup runs after per-directory rewriting, then
    // mod_alias' redirects, mod_env's variables, and RequestHeader last.
    fixup: &[
        mod_mime::fixup,
        core::fixup,
        mod_rewrite::fixup,
        mod_proxy::canonicalise,
        mod_alias::fixup,
        mod_ssl::fixup,
        mod_env::fixup,
        mod_http2::fixup,
        mod_usertrack::fixup,
        mod_headers::fixup,
        mod_rewrite::fixup_kind,
    ],
    // httpd: the core's checks of the method, then the handler `proxy-server`.
    respond: &[
        core::respond,
        mod_proxy::respond_by_handler,
        mod_proxy_http::respond,
        mod_status::respond,
        mod_proxy_balancer::respond,
        mod_tunnel::respond,
        core::respond_missing,
        files::respond,
    ],
    response: &[mod_proxy::respond_head],
    // httpd: DEFLATE is in the chain of output filters before mod_expires and
    // mod_headers, which may change what it has set.
    outgoing: &[
        filters::outgoing,
        mod_rewrite::outgoing,
        mod_usertrack::outgoing,
        mod_expires::outgoing,
        mod_headers::outgoing,
    ],
    error_document: core::error_document,
};
