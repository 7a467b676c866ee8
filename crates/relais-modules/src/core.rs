//! core: the server's identity, its time limits and how requests are read.

mod handler;
mod overrides;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relais_conf::{Diagnostic, Text};
use relais_expr::{State, StringExpression};
use relais_http1::Fields;
use relais_policy::uri::{EncodedSlashes, PathRules};
use relais_policy::{
    Answered, Context, Decision, Directive, ErrorDocument, Exchange, Flow, HostName, HostSpec,
    Module, Problem, Protocol, Respond, ServerSpec, Set, SetResult, Slot, StatusSpec,
};
use relais_telemetry::{ErrorFormat, Levels, Target};

use crate::client_name::{self, Lookups};
use crate::files::Links;
use crate::filters::{self, OutputFilter};
use crate::{mod_so, values};

pub(crate) use handler::{
    MANAGER, STATUS, TUNNEL_METRICS, check as check_handler, fixup, respond as respond_missing,
};
pub(crate) use overrides::Overrides;

/// core.
pub struct Core;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    name: Option<ServerName>,
    aliases: Vec<HostName>,
    admin: Option<String>,
    timeout: Option<Duration>,
    keep_alive: Option<bool>,
    keep_alive_timeout: Option<Duration>,
    keep_alive_requests: Option<u32>,
    protocols: Option<Vec<Protocol>>,
    honor_order: Option<bool>,
    limit_line: Option<usize>,
    limit_field: Option<usize>,
    limit_fields: Option<usize>,
    error_log: Option<Target>,
    error_format: Option<Arc<ErrorFormat>>,
    request_formats: Vec<ErrorFormat>,
    levels: Option<Levels>,
    encoded_slashes: Option<EncodedSlashes>,
    merge_slashes: Option<bool>,
    tokens: Option<&'static str>,
    trace: Option<bool>,
    document_root: Option<PathBuf>,
    status: StatusSettings,
    /// Whether some folder may have a file with directives.
    overrides: bool,
    /// `AccessFileName`.
    access_names: Vec<String>,
}

/// What the status page shows, as far as it is said.
#[derive(Clone, Copy, Default, Debug)]
struct StatusSettings {
    terse: Option<bool>,
    tail: Option<bool>,
}

impl Host {
    /// `DocumentRoot`, absolute.
    pub(crate) fn document_root(&self) -> Option<&PathBuf> {
        self.document_root.as_ref()
    }

    /// What files with directives are called, if some folder may have one.
    pub(crate) fn access_names(&self) -> Option<Vec<String>> {
        let names = match self.access_names.as_slice() {
            [] => vec![".htaccess".to_owned()],
            names => names.to_vec(),
        };
        self.overrides.then_some(names)
    }
}

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    canonical_name: Option<bool>,
    body_max: Option<u64>,
    links: Option<Links>,
    /// `AllowOverride` and `AllowOverrideList`.
    overrides: Option<Overrides>,
    /// `SetHandler`.
    handler: Option<Arc<StringExpression>>,
    /// `ForceType`; empty is `None`.
    forced_type: Option<Vec<u8>>,
    lookups: Option<Lookups>,
    output_filters: Option<Vec<OutputFilter>>,
    /// `ErrorDocument`; `None` is `default`.
    error_documents: Vec<(u16, Option<Document>)>,
}

impl Section {
    /// What files with directives may set.
    pub(crate) fn overrides(&self) -> Option<&Overrides> {
        let own = self.overrides.as_ref();
        own.filter(|overrides| overrides.allows_something())
    }

    /// Which symbolic links `Options` lets be followed.
    pub(crate) fn links(&self) -> Links {
        self.links.unwrap_or(Links::Followed)
    }

    /// `SetOutputFilter`.
    pub(crate) fn output_filters(&self) -> &[OutputFilter] {
        self.output_filters.as_deref().unwrap_or_default()
    }

    /// `UseCanonicalName`.
    #[must_use]
    pub fn canonical_name(&self) -> bool {
        self.canonical_name.unwrap_or(false)
    }

    /// `LimitRequestBody` in bytes, zero for none. httpd does not enforce it on proxied requests, so nothing here does.
    #[must_use]
    pub fn body_max(&self) -> u64 {
        self.body_max.unwrap_or(1 << 30)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct ServerName {
    /// Taken over from the main server: shown, but no name to be chosen by.
    inherited: bool,
    scheme: Option<String>,
    host: String,
    port: Option<u16>,
}

/// What the `Server` field of relais' own answers says without `ServerTokens`.
const FULL: &str = concat!("relais/", env!("CARGO_PKG_VERSION"));
const MAJOR: &str = concat!("relais/", env!("CARGO_PKG_VERSION_MAJOR"));
const MINOR: &str = concat!(
    "relais/",
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);

/// What a host has where no directive says otherwise.
#[must_use]
pub fn default_host_spec() -> HostSpec {
    HostSpec {
        server_name: "localhost".to_owned(),
        name: None,
        name_inherited: false,
        aliases: Vec::new(),
        server_port: None,
        server_scheme: None,
        server_admin: "[no address given]".to_owned(),
        canonical_name: false,
        document_root: None,
        timeout: Duration::from_secs(60),
        keep_alive: relais_policy::KeepAlive::default(),
        limits: relais_policy::RequestLimits::default(),
        header_timeout: None,
        body_timeout: None,
        access_logs: Vec::new(),
        error_log: Target::Stderr,
        error_format: None,
        request_formats: Arc::default(),
        levels: Levels::default(),
        server_tokens: FULL.to_owned(),
        proxy_protocol: None,
        first_byte: false,
        paths: PathRules::default(),
        tls: None,
        proxy_tls: None,
        strict_sni: false,
        sni_policy: relais_policy::tls::SniPolicy::default(),
        trace_enabled: true,
        balancers: Vec::new(),
        workers: Vec::new(),
        routes: Vec::new(),
        maps_written: false,
        protocols: relais_policy::ProtocolsSpec::default(),
        http2: relais_policy::Http2Spec::default(),
        tunnels: relais_policy::TunnelHostSpec::default(),
        tunnel: relais_policy::TunnelSpec::default(),
    }
}

impl Module for Core {
    const NAME: &'static str = "core";
    const IDENTIFIER: &'static str = "core_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        read_time(
            "ServerRoot",
            "ServerRoot directory-path",
            "The directory that relative paths are under.",
            &["ServerRoot /srv"],
            &["ServerRoot /nowhere"],
        ),
        read_time(
            "Define",
            "Define parameter-name [parameter-value]",
            "Defines a name for <IfDefine> and ${NAME}.",
            &["Define X", "Define X y"],
            &["Define", "Define a b c"],
        ),
        read_time(
            "UnDefine",
            "UnDefine parameter-name",
            "Takes a Define back.",
            &["UnDefine X"],
            &["UnDefine"],
        ),
        read_time(
            "Include",
            "Include file-path|directory-path|wildcard",
            "Reads other configuration files in this place.",
            &["Include extra.conf"],
            &["Include missing.conf"],
        ),
        read_time(
            "IncludeOptional",
            "IncludeOptional file-path|directory-path|wildcard",
            "Include that may find nothing.",
            &["IncludeOptional none-*.conf"],
            &["IncludeOptional"],
        ),
        read_time(
            "Error",
            "Error message",
            "Stops with a message.",
            &[],
            &["Error not here"],
        ),
        Directive {
            name: "DocumentRoot",
            syntax: "DocumentRoot directory-path",
            context: Context::HOST,
            default: None,
            doc: "The folder whose files answer what no rule proxies; without it there are none.",
            accepts: &["DocumentRoot /var/www/html", "DocumentRoot htdocs"],
            refuses: &["DocumentRoot", "DocumentRoot a b"],
            set: Set::Take1(|slot, word| {
                slot.host.document_root = Some(slot.place.path(word));
                Ok(())
            }),
        },
        Directive {
            name: "Options",
            syntax: "Options [+|-]option [[+|-]option] ...",
            context: Context::ANY,
            default: Some("FollowSymlinks"),
            doc: "Which symbolic links are followed on the way to a file; the other options are about what relais does not do.",
            accepts: &[
                "Options None",
                "Options Indexes FollowSymLinks",
                "Options -FollowSymLinks +SymLinksIfOwnerMatch",
                "Options -Indexes",
            ],
            refuses: &[
                "Options",
                "Options +Indexes FollowSymLinks",
                "Options Following",
            ],
            set: Set::Words(options),
        },
        Directive {
            name: "SetHandler",
            syntax: "SetHandler handler-name|none|expression",
            context: Context::ANY,
            default: Some("none"),
            doc: "Who answers: server-status, balancer-manager, an origin (`proxy:http://…`, to whose URL the file's name is added), or default-handler.",
            accepts: &[
                "SetHandler server-status",
                "SetHandler none",
                "SetHandler default-handler",
                "SetHandler \"proxy:http://127.0.0.1:8080\"",
                "SetHandler \"proxy:unix:/run/Some.sock|http://localhost/\"",
                "SetHandler my-own",
                "SetHandler server-%{QUERY_STRING}",
            ],
            refuses: &[
                "SetHandler",
                "SetHandler a b",
                "SetHandler server-info",
                "SetHandler cgi-script",
                "SetHandler php7-script",
                "SetHandler \"proxy:fcgi://127.0.0.1:9000\"",
                "SetHandler \"proxy:unix:/run/php.sock|fcgi://localhost\"",
                "SetHandler proxy:nothing",
                "SetHandler %{QUERY_STRING",
            ],
            set: Set::Take1(handler::set),
        },
        Directive {
            name: "ExtendedStatus",
            syntax: "ExtendedStatus On|Off",
            context: Context::SERVER,
            default: Some("On"),
            doc: "Whether server-status shows what each connection is at.",
            accepts: &["ExtendedStatus On", "ExtendedStatus off"],
            refuses: &["ExtendedStatus", "ExtendedStatus x"],
            set: Set::Flag(|slot, on| {
                slot.host.status.terse = Some(!on);
                Ok(())
            }),
        },
        Directive {
            name: "SeeRequestTail",
            syntax: "SeeRequestTail On|Off",
            context: Context::SERVER,
            default: Some("Off"),
            doc: "Whether server-status shows the end of a long request line in place of its beginning.",
            accepts: &["SeeRequestTail On", "SeeRequestTail Off"],
            refuses: &["SeeRequestTail", "SeeRequestTail x"],
            set: Set::Flag(|slot, on| {
                slot.host.status.tail = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ForceType",
            syntax: "ForceType media-type|None",
            context: Context::ANY,
            default: None,
            doc: "The media type of all files, whatever their names; and of an origin's answer that names none.",
            accepts: &["ForceType image/gif", "ForceType None"],
            refuses: &["ForceType", "ForceType a b"],
            set: Set::Take1(handler::set_type),
        },
        Directive {
            name: "AllowOverride",
            syntax: "AllowOverride All|None|directive-type [directive-type] ...",
            context: Context::DIRECTORY.or(Context::PROXY),
            default: Some("None"),
            doc: "What .htaccess files among the files of a folder may set.",
            accepts: &[
                "AllowOverride None",
                "AllowOverride AuthConfig Nonfatal=All",
            ],
            refuses: &["AllowOverride", "AllowOverride Everything"],
            set: Set::Words(overrides::allow),
        },
        Directive {
            name: "AllowOverrideList",
            syntax: "AllowOverrideList None|directive [directive] ...",
            context: Context::DIRECTORY.or(Context::PROXY),
            default: Some("None"),
            doc: "Single directives that .htaccess files among the files of a folder may set.",
            accepts: &["AllowOverrideList RewriteRule", "AllowOverrideList None"],
            refuses: &["AllowOverrideList", "AllowOverrideList ProxyPass"],
            set: Set::Words(overrides::allow_list),
        },
        Directive {
            name: "AccessFileName",
            syntax: "AccessFileName filename [filename] ...",
            context: Context::HOST,
            default: Some(".htaccess"),
            doc: "The names of files with directives for the folder they are in; the first that is there is read.",
            accepts: &["AccessFileName .acl", "AccessFileName .htaccess .acl"],
            refuses: &["AccessFileName", "AccessFileName a/b"],
            set: Set::Words(access_names),
        },
        Directive {
            name: "Protocols",
            syntax: "Protocols protocol ...",
            context: Context::HOST,
            default: Some("http/1.1"),
            doc: "The protocols that clients may speak, in the order of preference: h2, h2c and http/1.1, which is spoken in any case.",
            accepts: &[
                "Protocols http/1.1",
                "Protocols h2 h2c http/1.1",
                "Protocols h2",
            ],
            refuses: &["Protocols", "Protocols spdy http/1.1"],
            set: Set::Words(protocols),
        },
        Directive {
            name: "ProtocolsHonorOrder",
            syntax: "ProtocolsHonorOrder On|Off",
            context: Context::HOST,
            default: Some("On"),
            doc: "Whether the order of Protocols counts in a handshake, and not the client's.",
            accepts: &["ProtocolsHonorOrder On", "ProtocolsHonorOrder off"],
            refuses: &["ProtocolsHonorOrder", "ProtocolsHonorOrder x"],
            set: Set::Flag(|slot, on| {
                slot.host.honor_order = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "SetOutputFilter",
            syntax: "SetOutputFilter filter[;filter...]",
            context: Context::ANY,
            default: None,
            doc: "Filters that the content of every answer but error pages goes through.",
            accepts: &[
                "SetOutputFilter DEFLATE",
                "SetOutputFilter INFLATE;SUBSTITUTE;DEFLATE",
                "SetOutputFilter rate_limit",
            ],
            refuses: &[
                "SetOutputFilter",
                "SetOutputFilter INCLUDES",
                "SetOutputFilter NOSUCH",
                "SetOutputFilter DEFLATE BROTLI_COMPRESS",
            ],
            set: Set::Take1(|slot, word| {
                slot.section.output_filters = Some(filters::names(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "ServerName",
            syntax: "ServerName [scheme://]domain-name|ip-address[:port]",
            context: Context::HOST,
            default: None,
            doc: "The name by which a virtual host is chosen, and by which the server speaks of itself.",
            accepts: &[
                "ServerName a.example",
                "ServerName https://a.example:8443",
                "ServerName [::1]:80",
                "ServerName 10.0.0.1",
                "ServerName a.example/b",
            ],
            refuses: &[
                "ServerName",
                "ServerName a b",
                "ServerName a.example:x",
                "ServerName ftp://a.example",
                "ServerName *.a.example",
            ],
            set: Set::Take1(|slot, word| {
                let name = server_name(word)?;
                if relais_http1::split_host_port(name.host.as_bytes()).is_none() {
                    slot.diagnostics.push(never_asked_for(word, &name.host));
                }
                slot.host.name = Some(name);
                Ok(())
            }),
        },
        Directive {
            name: "ServerAlias",
            syntax: "ServerAlias hostname [hostname] ...",
            context: Context::VHOST,
            default: None,
            doc: "Further names of a virtual host; `*` and `?` stand for any characters.",
            accepts: &["ServerAlias b.example *.c.example"],
            refuses: &["ServerAlias"],
            set: Set::Iterate(|slot, word| {
                slot.host.aliases.push(host_name(&word.lossy()));
                Ok(())
            }),
        },
        Directive {
            name: "ServerAdmin",
            syntax: "ServerAdmin email-address|URL",
            context: Context::HOST,
            default: None,
            doc: "Whom to tell about trouble; `%{SERVER_ADMIN}` and error pages show it.",
            accepts: &["ServerAdmin webmaster@a.example"],
            refuses: &["ServerAdmin"],
            set: Set::Take1(|slot, word| {
                slot.host.admin = Some(word.lossy().into_owned());
                Ok(())
            }),
        },
        Directive {
            name: "Timeout",
            syntax: "Timeout seconds",
            context: Context::HOST,
            default: Some("60"),
            doc: "How long relais waits for bytes from a client or room to send it some, and for an origin without a limit of its own.",
            accepts: &["Timeout 1", "Timeout 300"],
            refuses: &[
                "Timeout",
                "Timeout abc",
                "Timeout 5s",
                "Timeout 1 2",
                "Timeout 0",
            ],
            set: Set::Take1(|slot, word| {
                slot.host.timeout = Some(values::seconds(word, "Timeout", 1)?);
                Ok(())
            }),
        },
        Directive {
            name: "KeepAlive",
            syntax: "KeepAlive On|Off",
            context: Context::HOST,
            default: Some("On"),
            doc: "Whether a client's connection is kept for further requests.",
            accepts: &["KeepAlive On", "KeepAlive off"],
            refuses: &["KeepAlive", "KeepAlive 1"],
            set: Set::Flag(|slot, on| {
                slot.host.keep_alive = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "KeepAliveTimeout",
            syntax: "KeepAliveTimeout num[ms]",
            context: Context::HOST,
            default: Some("5"),
            doc: "How long a kept connection may be idle.",
            accepts: &["KeepAliveTimeout 5", "KeepAliveTimeout 500ms"],
            refuses: &["KeepAliveTimeout", "KeepAliveTimeout x"],
            set: Set::Take1(|slot, word| {
                slot.host.keep_alive_timeout = Some(values::duration(
                    word,
                    "KeepAliveTimeout",
                    Duration::from_secs(1),
                )?);
                Ok(())
            }),
        },
        Directive {
            name: "MaxKeepAliveRequests",
            syntax: "MaxKeepAliveRequests number",
            context: Context::HOST,
            default: Some("100"),
            doc: "How many requests may follow the first one on a connection; zero is no limit.",
            accepts: &["MaxKeepAliveRequests 0", "MaxKeepAliveRequests 1000"],
            refuses: &["MaxKeepAliveRequests", "MaxKeepAliveRequests -1"],
            set: Set::Take1(|slot, word| {
                slot.host.keep_alive_requests =
                    Some(values::small(word, "MaxKeepAliveRequests", 0..=u32::MAX)?);
                Ok(())
            }),
        },
        Directive {
            name: "LimitRequestLine",
            syntax: "LimitRequestLine bytes",
            context: Context::HOST,
            default: Some("8190"),
            doc: "The longest request line; a longer one gets 414.",
            accepts: &["LimitRequestLine 0", "LimitRequestLine 16380"],
            refuses: &["LimitRequestLine", "LimitRequestLine 8k"],
            set: Set::Take1(|slot, word| {
                slot.host.limit_line = Some(bytes(word, "LimitRequestLine")?);
                Ok(())
            }),
        },
        Directive {
            name: "LimitRequestFieldSize",
            syntax: "LimitRequestFieldSize bytes",
            context: Context::HOST,
            default: Some("8190"),
            doc: "The longest request field; a longer one gets 400.",
            accepts: &["LimitRequestFieldSize 0", "LimitRequestFieldSize 16380"],
            refuses: &["LimitRequestFieldSize", "LimitRequestFieldSize x"],
            set: Set::Take1(|slot, word| {
                slot.host.limit_field = Some(bytes(word, "LimitRequestFieldSize")?);
                Ok(())
            }),
        },
        Directive {
            name: "LimitRequestFields",
            syntax: "LimitRequestFields number",
            context: Context::HOST,
            default: Some("100"),
            doc: "The most request fields, zero for any number; more get 400.",
            accepts: &["LimitRequestFields 0", "LimitRequestFields 200"],
            refuses: &["LimitRequestFields", "LimitRequestFields many"],
            set: Set::Take1(|slot, word| {
                slot.host.limit_fields = Some(bytes(word, "LimitRequestFields")?);
                Ok(())
            }),
        },
        Directive {
            name: "LimitRequestBody",
            syntax: "LimitRequestBody bytes",
            context: Context::ANY,
            default: Some("1073741824"),
            doc: "The largest request body, zero for any size; as in httpd it does not bind proxied requests.",
            accepts: &["LimitRequestBody 0", "LimitRequestBody 102400"],
            refuses: &["LimitRequestBody", "LimitRequestBody -1"],
            set: Set::Take1(|slot, word| {
                slot.section.body_max = Some(values::number(
                    word,
                    "LimitRequestBody",
                    0..=i64::MAX.unsigned_abs(),
                )?);
                Ok(())
            }),
        },
        Directive {
            name: "ErrorLog",
            syntax: "ErrorLog file-path|syslog[:[facility][:tag]]|\"|command\"",
            context: Context::HOST,
            default: None,
            doc: "Where errors are logged: a file relative to ServerRoot, or the standard input of a program.",
            accepts: &[
                "ErrorLog logs/error.log",
                "ErrorLog /dev/stderr",
                "ErrorLog \"|/usr/bin/cat\"",
            ],
            refuses: &[
                "ErrorLog",
                "ErrorLog a b",
                "ErrorLog syslog:local1",
                "ErrorLog journald",
            ],
            set: Set::Take1(error_log),
        },
        Directive {
            name: "ErrorLogFormat",
            syntax: "ErrorLogFormat [connection|request] format",
            context: Context::HOST,
            default: None,
            doc: "How lines of the error log look; with `request` a line that comes before a request's first.",
            accepts: &[
                "ErrorLogFormat \"[%{u}t] [%-m:%l] [pid %P:tid %T] %E: [client\\ %a] %M% ,\\ referer\\ %{Referer}i\"",
                "ErrorLogFormat request \"[%{uc}t] [R:%L] UA:'%+{User-Agent}i'\"",
            ],
            refuses: &[
                "ErrorLogFormat",
                "ErrorLogFormat \"%M %q\"",
                "ErrorLogFormat session \"%M\"",
                "ErrorLogFormat connection \"%a\"",
            ],
            set: Set::Take12(error_format),
        },
        Directive {
            name: "LogLevel",
            syntax: "LogLevel [module:]level [module:level] ...",
            context: Context::ANY,
            default: Some("warn"),
            doc: "What is worth a line in the error log, as a whole and per module.",
            accepts: &[
                "LogLevel info",
                "LogLevel warn rewrite:trace3 proxy_module:debug mod_proxy_http.c:info",
            ],
            refuses: &[
                "LogLevel",
                "LogLevel loud",
                "LogLevel rewrite:",
                "LogLevel warn rewrite:loud",
                "LogLevel warn rewrit:debug",
            ],
            set: Set::Words(log_level),
        },
        Directive {
            name: "UseCanonicalName",
            syntax: "UseCanonicalName On|Off|DNS",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether redirects name the server by ServerName or by the name that the client used.",
            accepts: &["UseCanonicalName On", "UseCanonicalName off"],
            refuses: &[
                "UseCanonicalName",
                "UseCanonicalName DNS",
                "UseCanonicalName 1",
            ],
            set: Set::Take1(|slot, word| {
                if word.eq_ignore_case("DNS") {
                    return Err(Problem::not_yet(
                        word.span(),
                        "UseCanonicalName DNS is not implemented yet",
                    ));
                }
                slot.section.canonical_name = Some(values::on_off(word, "UseCanonicalName")?);
                Ok(())
            }),
        },
        Directive {
            name: "ErrorDocument",
            syntax: "ErrorDocument error-code document",
            context: Context::ANY,
            default: None,
            doc: "What is sent in place of the page of a status: a text, what answers at a path of this server, a redirect to another, or `default`.",
            accepts: &[
                "ErrorDocument 404 \"nothing here\"",
                "ErrorDocument 404 nothing here",
                "ErrorDocument 503 /down.html",
                "ErrorDocument 403 https://www.example/no",
                "ErrorDocument 500 default",
            ],
            refuses: &[
                "ErrorDocument",
                "ErrorDocument 404",
                "ErrorDocument 99 x",
                "ErrorDocument x /y",
                "ErrorDocument 401 http://www.example/no",
            ],
            set: Set::Raw(error_document_set),
        },
        Directive {
            name: "HostnameLookups",
            syntax: "HostnameLookups On|Off|Double",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether clients' names are looked up for logs and variables; with Double a name has to have the client's address.",
            accepts: &[
                "HostnameLookups Off",
                "HostnameLookups On",
                "HostnameLookups double",
            ],
            refuses: &["HostnameLookups", "HostnameLookups Sometimes"],
            set: Set::Take1(|slot, word| {
                const CHOICES: [Lookups; 3] = [Lookups::Off, Lookups::On, Lookups::Double];
                let index = values::choice(word, "HostnameLookups", &["Off", "On", "Double"])?;
                slot.section.lookups = CHOICES.get(index).copied();
                Ok(())
            }),
        },
        Directive {
            name: "UseCanonicalPhysicalPort",
            syntax: "UseCanonicalPhysicalPort On|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether the server names itself by the port of the connection; only Off is there yet.",
            accepts: &["UseCanonicalPhysicalPort Off"],
            refuses: &["UseCanonicalPhysicalPort", "UseCanonicalPhysicalPort On"],
            set: Set::Take1(|slot, word| default_only(slot, word, "Off")),
        },
        Directive {
            name: "StrictHostCheck",
            syntax: "StrictHostCheck ON|OFF",
            context: Context::HOST,
            default: Some("OFF"),
            doc: "Whether a Host that no server has is refused; only OFF is there yet.",
            accepts: &["StrictHostCheck OFF"],
            refuses: &["StrictHostCheck", "StrictHostCheck ON"],
            set: Set::Take1(|slot, word| default_only(slot, word, "OFF")),
        },
        Directive {
            name: "MergeTrailers",
            syntax: "MergeTrailers [on|off]",
            context: Context::HOST,
            default: Some("off"),
            doc: "Whether trailers are taken for fields; only off is there yet.",
            accepts: &["MergeTrailers off"],
            refuses: &["MergeTrailers", "MergeTrailers on"],
            set: Set::Take1(|slot, word| default_only(slot, word, "off")),
        },
        Directive {
            name: "HttpProtocolOptions",
            syntax: "HttpProtocolOptions [Strict|Unsafe] [RegisteredMethods|LenientMethods] [Allow0.9|Require1.0]",
            context: Context::HOST,
            default: Some("Strict LenientMethods Allow0.9"),
            doc: "How strictly requests are read: always strictly, with any method, and without HTTP/0.9.",
            accepts: &[
                "HttpProtocolOptions Strict",
                "HttpProtocolOptions Strict LenientMethods Require1.0",
                "HttpProtocolOptions Allow0.9",
            ],
            refuses: &[
                "HttpProtocolOptions",
                "HttpProtocolOptions Unsafe",
                "HttpProtocolOptions RegisteredMethods",
                "HttpProtocolOptions Sometimes",
            ],
            set: Set::Iterate(protocol_option),
        },
        Directive {
            name: "AllowEncodedSlashes",
            syntax: "AllowEncodedSlashes On|Off|NoDecode",
            context: Context::HOST,
            default: Some("Off"),
            doc: "What becomes of %2F in a path: 404, a slash, or nothing.",
            accepts: &[
                "AllowEncodedSlashes On",
                "AllowEncodedSlashes Off",
                "AllowEncodedSlashes NoDecode",
            ],
            refuses: &["AllowEncodedSlashes", "AllowEncodedSlashes Maybe"],
            set: Set::Take1(|slot, word| {
                const CHOICES: [EncodedSlashes; 3] = [
                    EncodedSlashes::On,
                    EncodedSlashes::Off,
                    EncodedSlashes::NoDecode,
                ];
                let index =
                    values::choice(word, "AllowEncodedSlashes", &["On", "Off", "NoDecode"])?;
                slot.host.encoded_slashes = CHOICES.get(index).copied();
                Ok(())
            }),
        },
        Directive {
            name: "MergeSlashes",
            syntax: "MergeSlashes On|Off",
            context: Context::HOST,
            default: Some("On"),
            doc: "Whether several slashes in a path count as one.",
            accepts: &["MergeSlashes On", "MergeSlashes Off"],
            refuses: &["MergeSlashes", "MergeSlashes x"],
            set: Set::Flag(|slot, on| {
                slot.host.merge_slashes = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ServerTokens",
            syntax: "ServerTokens Major|Minor|Min[imal]|Prod[uctOnly]|OS|Full",
            context: Context::SERVER,
            default: Some("Full"),
            doc: "How much the Server field of relais' own answers tells.",
            accepts: &[
                "ServerTokens Prod",
                "ServerTokens full",
                "ServerTokens OS",
                "ServerTokens Major",
            ],
            refuses: &["ServerTokens", "ServerTokens None"],
            set: Set::Take1(|slot, word| {
                const TEXTS: [&str; 8] = [MAJOR, MINOR, FULL, FULL, "relais", "relais", FULL, FULL];
                const NAMES: [&str; 8] = [
                    "Major",
                    "Minor",
                    "Min",
                    "Minimal",
                    "Prod",
                    "ProductOnly",
                    "OS",
                    "Full",
                ];
                slot.host.tokens = TEXTS
                    .get(values::choice(word, "ServerTokens", &NAMES)?)
                    .copied();
                Ok(())
            }),
        },
        Directive {
            name: "ServerSignature",
            syntax: "ServerSignature On|Off|EMail",
            context: Context::ANY,
            default: Some("Off"),
            doc: "A footer on error pages; relais' pages have none.",
            accepts: &[
                "ServerSignature Off",
                "ServerSignature On",
                "ServerSignature EMail",
            ],
            refuses: &["ServerSignature", "ServerSignature Full"],
            set: Set::Take1(|slot, word| {
                if values::choice(word, "ServerSignature", &["Off", "On", "EMail"])? != 0 {
                    let note = "ServerSignature has no effect here: error pages have no footer";
                    slot.diagnostics
                        .push(Diagnostic::note("RC0203", slot.place.line, note));
                }
                Ok(())
            }),
        },
        Directive {
            name: "TraceEnable",
            syntax: "TraceEnable On|Off|extended",
            context: Context::HOST,
            default: Some("On"),
            doc: "Whether TRACE requests are forwarded; Off answers them with 405.",
            accepts: &["TraceEnable On", "TraceEnable Off"],
            refuses: &["TraceEnable", "TraceEnable extended", "TraceEnable x"],
            set: Set::Take1(|slot, word| {
                if word.eq_ignore_case("extended") {
                    return Err(Problem::not_yet(
                        word.span(),
                        "TraceEnable extended is not implemented yet",
                    ));
                }
                slot.host.trace = Some(values::on_off(word, "TraceEnable")?);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        let inner = inner.clone();
        Host {
            name: inner.name.or_else(|| {
                outer.name.clone().map(|name| ServerName {
                    inherited: true,
                    ..name
                })
            }),
            aliases: inner.aliases,
            admin: inner.admin.or_else(|| outer.admin.clone()),
            timeout: inner.timeout.or(outer.timeout),
            keep_alive: inner.keep_alive.or(outer.keep_alive),
            keep_alive_timeout: inner.keep_alive_timeout.or(outer.keep_alive_timeout),
            keep_alive_requests: inner.keep_alive_requests.or(outer.keep_alive_requests),
            protocols: inner.protocols.clone().or_else(|| outer.protocols.clone()),
            honor_order: inner.honor_order.or(outer.honor_order),
            limit_line: inner.limit_line.or(outer.limit_line),
            limit_field: inner.limit_field.or(outer.limit_field),
            limit_fields: inner.limit_fields.or(outer.limit_fields),
            error_log: inner.error_log.or_else(|| outer.error_log.clone()),
            error_format: inner.error_format.or_else(|| outer.error_format.clone()),
            request_formats: match inner.request_formats.is_empty() {
                true => outer.request_formats.clone(),
                false => inner.request_formats,
            },
            levels: merge_levels(outer.levels.as_ref(), inner.levels),
            encoded_slashes: inner.encoded_slashes.or(outer.encoded_slashes),
            merge_slashes: inner.merge_slashes.or(outer.merge_slashes),
            tokens: outer.tokens,
            trace: inner.trace.or(outer.trace),
            document_root: inner.document_root.or_else(|| outer.document_root.clone()),
            // It is read of the main server, which has no outer one.
            status: inner.status,
            overrides: inner.overrides || outer.overrides,
            access_names: match inner.access_names.is_empty() {
                true => outer.access_names.clone(),
                false => inner.access_names,
            },
        }
    }

    fn finish_server(host: &Host, spec: &mut ServerSpec) {
        spec.status = StatusSpec {
            terse: host.status.terse.unwrap_or(false),
            tail: host.status.tail.unwrap_or(false),
        };
        spec.document_root.clone_from(&host.document_root);
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            canonical_name: inner.canonical_name.or(outer.canonical_name),
            body_max: inner.body_max.or(outer.body_max),
            links: inner.links.or(outer.links),
            overrides: inner.overrides.clone().or_else(|| outer.overrides.clone()),
            handler: inner.handler.clone().or_else(|| outer.handler.clone()),
            forced_type: inner
                .forced_type
                .clone()
                .or_else(|| outer.forced_type.clone()),
            lookups: inner.lookups.or(outer.lookups),
            output_filters: inner
                .output_filters
                .clone()
                .or_else(|| outer.output_filters.clone()),
            error_documents: [inner.error_documents.as_slice(), &outer.error_documents].concat(),
        }
    }

    fn finish_host(host: &Host, section: &Section, spec: &mut HostSpec) {
        if let Some(name) = &host.name {
            spec.server_name.clone_from(&name.host);
            spec.server_port = name.port;
            spec.server_scheme.clone_from(&name.scheme);
            spec.name = Some(host_name(&name.host));
            spec.name_inherited = name.inherited;
        }
        spec.aliases.clone_from(&host.aliases);
        spec.canonical_name = section.canonical_name();
        spec.document_root = host
            .document_root
            .as_ref()
            .map(|root| root.as_os_str().as_encoded_bytes().to_vec());
        spec.server_admin = host
            .admin
            .clone()
            .unwrap_or_else(|| spec.server_admin.clone());
        spec.timeout = host.timeout.unwrap_or(spec.timeout);
        spec.keep_alive.on = host.keep_alive.unwrap_or(spec.keep_alive.on);
        spec.keep_alive.timeout = host.keep_alive_timeout.unwrap_or(spec.keep_alive.timeout);
        spec.keep_alive.requests_max = host
            .keep_alive_requests
            .unwrap_or(spec.keep_alive.requests_max);
        spec.limits.line = host.limit_line.unwrap_or(spec.limits.line);
        spec.limits.field = host.limit_field.unwrap_or(spec.limits.field);
        spec.limits.fields = host.limit_fields.unwrap_or(spec.limits.fields);
        spec.error_format.clone_from(&host.error_format);
        spec.request_formats = host.request_formats.as_slice().into();
        spec.error_log = host
            .error_log
            .clone()
            .unwrap_or_else(|| spec.error_log.clone());
        spec.levels = host.levels.clone().unwrap_or_default();
        spec.paths.encoded_slashes = host.encoded_slashes.unwrap_or_default();
        spec.paths.merge_slashes = host.merge_slashes.unwrap_or(true);
        spec.server_tokens = host.tokens.unwrap_or(FULL).to_owned();
        spec.trace_enabled = host.trace.unwrap_or(true);
        if let Some(offered) = &host.protocols {
            spec.protocols.offered.clone_from(offered);
        }
        spec.protocols.honor_order = host.honor_order.unwrap_or(true);
    }
}

/// httpd answers `OPTIONS *` by itself (`default_handler` and
/// `ap_send_http_options`), and refuses TRACE in the core when `TraceEnable`
/// says so.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    match exchange.head.method() {
        b"TRACE" if !exchange.host.spec.trace_enabled => Flow::Decide(Decision::Respond(
            Respond::logged(405, "TRACE denied by server configuration"),
        )),
        // relais opens no tunnels for a forward proxy's clients, so a
        // CONNECT that reaches a rule is refused where httpd would send
        // `CONNECT /` on.
        b"CONNECT" => Flow::Decide(Decision::Respond(Respond::logged(
            405,
            "CONNECT is not supported",
        ))),
        b"OPTIONS" if exchange.path == b"*" => Flow::Decide(Decision::Respond(Respond {
            body: Some(Vec::new()),
            ..Respond::status(200)
        })),
        _ => Flow::Declined,
    }
}

/// httpd: a client's name is looked up when somebody asks for it; here before
/// anybody does.
pub(crate) fn look_up_client(exchange: &mut Exchange<'_>) -> Flow {
    let lookups = exchange.section_settings::<Section>().lookups;
    client_name::look_up(exchange, lookups.unwrap_or_default())
}

/// A directive of which only the default is implemented.
fn default_only(slot: &Slot<'_, Core>, word: &Text, value: &str) -> SetResult {
    if word.eq_ignore_case(value) {
        return Ok(());
    }
    let message = format!(
        "{} {} is not implemented yet",
        slot.place.name.lossy(),
        word.lossy()
    );
    Err(Problem::not_yet(word.span(), message))
}

/// One word of `HttpProtocolOptions`: those that ask for what relais does, and
/// `Allow0.9`, which asks for something that no client sends.
fn protocol_option(slot: &mut Slot<'_, Core>, word: &Text) -> SetResult {
    const NAMES: [&str; 6] = [
        "Strict",
        "LenientMethods",
        "Require1.0",
        "Allow0.9",
        "Unsafe",
        "RegisteredMethods",
    ];
    match values::choice(word, "HttpProtocolOptions", &NAMES)? {
        0..=2 => Ok(()),
        3 => {
            let note = "Allow0.9 has no effect here: requests without a version are refused";
            let note = Diagnostic::note("RC0203", slot.place.line, note);
            slot.diagnostics.push(note);
            Ok(())
        }
        4 => Err(Problem::at(
            word.span(),
            "relais reads requests strictly; there is no Unsafe",
        )),
        _ => Err(Problem::not_yet(
            word.span(),
            "RegisteredMethods is not implemented yet",
        )),
    }
}

/// An `ErrorDocument`: its kind, and its text with variables.
#[derive(Clone, Debug)]
struct Document {
    kind: fn(Vec<u8>) -> ErrorDocument,
    text: Arc<StringExpression>,
}

/// `ErrorDocument status document` (`set_error_document`): a text begins with
/// a quote or holds a space.
fn error_document_set(slot: &mut Slot<'_, Core>, args: &Text) -> SetResult {
    let (code, document) = args
        .split_word()
        .ok_or_else(|| Problem::new("ErrorDocument takes a status and a document"))?;
    let status = values::number(&code, "ErrorDocument", 400..=599)? as u16;
    let rest = document.trim();
    let words = rest.words();
    let word = match words.as_slice() {
        [] => return Err(Problem::new("ErrorDocument takes a status and a document")),
        [word] => word.clone(),
        _ => rest,
    };
    let bytes = word.bytes();
    let alone = words.len() == 1;
    let is_url = alone && bytes.windows(3).any(|three| three == b"://");
    let document = |kind, skip| {
        values::text(&word, skip).map(|text| Document {
            kind,
            text: Arc::new(text),
        })
    };
    let document = if alone && word.eq_ignore_case("default") {
        None
    } else if is_url && status == 401 {
        let message = "a redirect in place of a 401 would leave the client without a way to log in";
        return Err(Problem::at(word.span(), message));
    } else if is_url {
        Some(document(ErrorDocument::Elsewhere, 0)?)
    } else if alone && bytes.first() == Some(&b'/') {
        Some(document(ErrorDocument::Local, 0)?)
    } else {
        // The quote in front of a text that has none behind it.
        let quote = usize::from(bytes.first() == Some(&b'"'));
        Some(document(ErrorDocument::Text, quote)?)
    };
    let documents = &mut slot.section.error_documents;
    documents.retain(|(have, _)| *have != status);
    documents.push((status, document));
    Ok(())
}

/// What `ErrorDocument` says of a status; the innermost place is asked first.
pub(crate) fn error_document(exchange: &Exchange<'_>, status: u16) -> Option<ErrorDocument> {
    let section: &Section = exchange.section_settings();
    let mut documents = section.error_documents.iter();
    let document = documents.find(|(have, _)| *have == status)?.1.as_ref()?;
    let none = Fields::new();
    let answered = Answered {
        exchange,
        status,
        fields: [&none, &none],
    };
    let mut text = Vec::new();
    let mut state = State::default();
    document.text.eval(&answered, &mut state, &mut text);
    Some((document.kind)(text))
}

/// Options in lower case. Those after the first three ask for what relais does
/// not do.
const OPTIONS: &[&str] = &[
    "none",
    "followsymlinks",
    "symlinksifownermatch",
    "all",
    "indexes",
    "multiviews",
    "execcgi",
    "includes",
    "includesnoexec",
];

fn options(slot: &mut Slot<'_, Core>, words: &[Text]) -> SetResult {
    let sign = |word: &Text| {
        word.bytes()
            .first()
            .copied()
            .filter(|b| matches!(b, b'+' | b'-'))
    };
    let signed = words.iter().filter(|word| sign(word).is_some()).count();
    if signed != 0 && signed != words.len() {
        return Err(Problem::new(
            "Either all Options must start with + or -, or no Option may",
        ));
    }
    if signed == 0 {
        slot.section.links = Some(Links::Refused);
    }
    for word in words {
        let name = word.slice(usize::from(sign(word).is_some())..word.len());
        let on = sign(word) != Some(b'-');
        let links = match values::choice(&name, "Options", OPTIONS)? {
            0 => continue,
            1 if on => Links::Followed,
            2 if on => Links::SameOwner,
            3 if on => Links::Followed,
            1..=3 => Links::Refused,
            _ => {
                if on {
                    let note = format!("Options {} has no effect here", name.lossy());
                    slot.diagnostics
                        .push(Diagnostic::note("RC0203", word.span(), note));
                }
                continue;
            }
        };
        slot.section.links = Some(links);
    }
    Ok(())
}

fn access_names(slot: &mut Slot<'_, Core>, words: &[Text]) -> SetResult {
    if let Some(word) = words.iter().find(|word| word.bytes().contains(&b'/')) {
        return Err(Problem::at(
            word.span(),
            "a file's name without a folder is wanted",
        ));
    }
    let names = words.iter().map(|word| word.lossy().into_owned());
    slot.host.access_names = names.collect();
    Ok(())
}

/// `Protocols`. Names that come again are the same ones, as in httpd.
fn protocols(slot: &mut Slot<'_, Core>, words: &[Text]) -> SetResult {
    let offered = slot.host.protocols.get_or_insert_default();
    for word in words {
        let names = ["http/1.1", "h2", "h2c", "acme-tls/1"];
        let protocol = match values::choice(word, "Protocols", &names)? {
            0 => Protocol::Http1,
            1 => Protocol::H2,
            2 => Protocol::H2c,
            _ => {
                let message = "acme-tls/1 is not offered: relais gets no certificates by itself";
                let warning = Diagnostic::warning("RC0322", word.span(), message);
                slot.diagnostics.push(warning);
                continue;
            }
        };
        if !offered.contains(&protocol) {
            offered.push(protocol);
        }
    }
    Ok(())
}

fn merge_levels(outer: Option<&Levels>, inner: Option<Levels>) -> Option<Levels> {
    match (outer, inner) {
        (Some(outer), Some(inner)) => Some(outer.overlaid_with(&inner)),
        (outer, inner) => inner.or_else(|| outer.cloned()),
    }
}

const fn read_time(
    name: &'static str,
    syntax: &'static str,
    doc: &'static str,
    accepts: &'static [&'static str],
    refuses: &'static [&'static str],
) -> Directive<Core> {
    Directive {
        name,
        syntax,
        context: Context::ANY,
        default: None,
        doc,
        accepts,
        refuses,
        set: Set::ReadTime,
    }
}

fn bytes(word: &Text, name: &str) -> Result<usize, Problem> {
    values::small(word, name, 0..=1 << 30).map(|value| value as usize)
}

fn host_name(name: &str) -> HostName {
    HostName::new(name.trim_end_matches('.'))
}

/// `[scheme://]host[:port]`.
fn server_name(word: &Text) -> Result<ServerName, Problem> {
    let text = word.lossy();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, &*text),
    };
    if scheme
        .as_deref()
        .is_some_and(|scheme| !matches!(scheme, "http" | "https"))
    {
        return Err(Problem::at(
            word.span(),
            "the scheme of ServerName is http or https",
        ));
    }
    let (host, port) = match relais_http1::split_host_port(rest.as_bytes()) {
        Some(parts) => (parts.host.to_vec(), parts.port),
        None => any_name(rest).ok_or_else(|| {
            Problem::at(
                word.span(),
                format!("`{rest}` is not a host name with an optional port"),
            )
        })?,
    };
    Ok(ServerName {
        inherited: false,
        scheme,
        host: String::from_utf8_lossy(&host).into_owned(),
        port,
    })
}

/// What httpd takes for a name and an optional port: anything up to a colon,
/// but for `*` (`server_hostname_port` in core.c).
fn any_name(word: &str) -> Option<(Vec<u8>, Option<u16>)> {
    let (host, port) = match word.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|&port| port > 0)?)),
        None => (word, None),
    };
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    (is_name && !host.contains('*')).then(|| (host.as_bytes().to_vec(), port))
}

/// A name that no client's `Host` can have.
fn never_asked_for(word: &Text, host: &str) -> Diagnostic {
    let message = format!("no request asks for `{host}`: it is not the name of a host");
    let warning = Diagnostic::warning("RC0317", word.span(), message);
    if host.contains("${") {
        return warning.with_help("a variable without a value stays as it is written");
    }
    let name: String = host.chars().take_while(|&letter| letter != '/').collect();
    match relais_http1::split_host_port(name.as_bytes()) {
        Some(_) if name != host => warning.with_suggestion(word.span(), name),
        _ => warning,
    }
}

fn error_log(slot: &mut Slot<'_, Core>, word: &Text) -> SetResult {
    let provider = word.lossy();
    if provider == "syslog" || provider.starts_with("syslog:") || provider == "journald" {
        return Err(Problem::not_yet(
            word.span(),
            format!("ErrorLog {provider} is not implemented yet"),
        ));
    }
    slot.host.error_log = Some(Target::parse_error_log(
        word.bytes(),
        slot.place.server_root,
    ));
    Ok(())
}

fn error_format(slot: &mut Slot<'_, Core>, first: &Text, second: Option<&Text>) -> SetResult {
    let text = second.unwrap_or(first);
    let format = ErrorFormat::parse(text.bytes()).map_err(|error| {
        let at = error.at.min(text.len().saturating_sub(1));
        Problem::at(text.span_of(at..at + 1), error.message)
    })?;
    if second.is_none() {
        slot.host.error_format = Some(Arc::new(format));
        return Ok(());
    }
    match values::choice(first, "The kind", &["connection", "request"])? {
        0 => Err(Problem::not_yet(
            first.span(),
            "ErrorLogFormat connection is not implemented yet",
        )),
        _ => {
            slot.host.request_formats.push(format);
            Ok(())
        }
    }
}

fn log_level(slot: &mut Slot<'_, Core>, words: &[Text]) -> SetResult {
    if slot.place.section.is_some() {
        return Err(Problem::not_yet(
            slot.place.line,
            "LogLevel inside of a section is not implemented yet",
        ));
    }
    let texts: Vec<_> = words.iter().map(Text::lossy).collect();
    match Levels::parse(&texts) {
        Ok(levels) => {
            if let Some(name) = levels.modules().find(|name| !mod_so::is_module(name)) {
                let word = words.iter().find(|word| word.lossy().contains(name));
                let span = word.map_or(slot.place.line, Text::span);
                return Err(Problem::at(span, format!("Cannot find module {name}")));
            }
            slot.host.levels = merge_levels(slot.host.levels.as_ref(), Some(levels));
        }
        Err((index, message)) => {
            let span = words.get(index).map_or(slot.place.line, Text::span);
            return Err(Problem::at(span, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text;

    #[test]
    fn server_names() {
        type Parts = (Option<&'static str>, &'static str, Option<u16>);
        let table: &[(&str, Option<Parts>)] = &[
            ("a.example", Some((None, "a.example", None))),
            ("A.Example:8080", Some((None, "A.Example", Some(8080)))),
            (
                "HTTPS://a.example:8443",
                Some((Some("https"), "a.example", Some(8443))),
            ),
            ("[::1]:80", Some((None, "[::1]", Some(80)))),
            ("a..b", Some((None, "a..b", None))),
            ("a/b:81", Some((None, "a/b", Some(81)))),
            ("*.a", None),
            ("a:0", None),
            ("gopher://a", None),
        ];
        for &(word, expected) in table {
            let found = server_name(&text(word)).ok();
            let found = found
                .as_ref()
                .map(|name| (name.scheme.as_deref(), name.host.as_str(), name.port));
            assert_eq!(found, expected, "{word}");
        }
    }
}
