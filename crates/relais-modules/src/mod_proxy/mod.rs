//! mod_proxy: which requests go to which origin, and how.
//!
//! The table is here; `params` reads worker parameters, `worker` and `url`
//! know origins, `pass` maps requests (`ProxyPass`), `reverse` maps answers
//! back (`ProxyPassReverse`).

mod balancer;
mod by_handler;
mod canonical;
mod cookies;
mod health;
mod params;
mod pass;
mod reverse;
mod servlet;
mod settings;
mod shown;
mod url;
mod via;
mod worker;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relais_conf::{Diagnostic, Text};
use relais_policy::{
    Context, Directive, HealthCondition, HostSpec, Module, Overrides, Problem, RouteSpec, Set,
};

pub(crate) use balancer::{is_balancer, new_member, sticky_by};
pub(crate) use by_handler::{check as check_handler, respond as respond_by_handler};
pub(crate) use canonical::canonicalise;
pub(crate) use params::Params;
pub(crate) use pass::{covered, pre_translate, translate};
pub(crate) use reverse::respond_head;
pub(crate) use shown::{status_words, sticky_words, traffic_words};
pub(crate) use url::{Parts, check_target, proxy_error, split};
pub(crate) use via::apply as apply_via;
pub(crate) use worker::{Defaults, Worker, longest};

use crate::values;

/// The handler of proxied requests, as logs and variables show it.
pub(crate) const PROXY_SERVER: Cow<'static, [u8]> = Cow::Borrowed(b"proxy-server");

/// mod_proxy.
pub struct Proxy;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    passes: Vec<pass::Pass>,
    /// These and those of sections, as others know them.
    routes: Vec<Arc<RouteSpec>>,
    /// Whether a rule, of a section too, has `mapping=`.
    maps_written: bool,
    workers: Vec<Worker>,
    balancers: Vec<balancer::Balancer>,
    inherit_balancers: Option<bool>,
    health_templates: Vec<(String, health::HealthParams)>,
    health_conditions: Vec<HealthCondition>,
    via: Option<via::Via>,
    max_forwards: Option<Option<u64>>,
    skip_bad_fields: Option<bool>,
    receive_buffer: Option<Option<u32>>,
    source: Option<IpAddr>,
    status: Option<bool>,
    timeout: Option<Duration>,
    /// `Timeout`, as the core has it, for workers without a limit.
    inherit: Option<bool>,
}

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    pass: Option<pass::Pass>,
    reverses: Vec<reverse::Reverse>,
    preserve_host: Option<bool>,
    add_headers: Option<bool>,
    cookie_domains: Vec<cookies::Pair>,
    cookie_paths: Vec<cookies::Pair>,
    overrides: Option<Overrides>,
    forward_continue: Option<bool>,
    interpolate: Option<bool>,
}

impl Host {
    /// `ProxyVia`.
    fn via(&self) -> via::Via {
        self.via.unwrap_or(via::Via::Off)
    }

    /// `ProxyMaxForwards`; `None` adds no `Max-Forwards`.
    pub(crate) fn max_forwards(&self) -> Option<u64> {
        self.max_forwards.flatten()
    }

    /// `ProxyBadHeader Ignore`.
    pub(crate) fn skip_bad_fields(&self) -> bool {
        self.skip_bad_fields.unwrap_or(false)
    }

    /// `ProxyStatus On`: server-status shows balancers.
    pub(crate) fn shows_balancers(&self) -> bool {
        self.status.unwrap_or(false)
    }

    /// The worker with the longest URL that the target begins with.
    pub(crate) fn worker_for(&self, url: &[u8]) -> Option<&Worker> {
        worker::longest(&self.workers, url)
    }

    /// The conditions of health checks.
    pub(crate) fn health_conditions(&self) -> &[HealthCondition] {
        &self.health_conditions
    }

    /// Whether balancers, and rules, come from the main server too.
    pub(crate) fn inherits(&self) -> [bool; 2] {
        [self.inherit_balancers, self.inherit].map(|inherit| inherit.unwrap_or(true))
    }

    /// What its workers have where their own parameters say nothing; `timeout`
    /// is the host's.
    pub(crate) fn defaults(&self, timeout: Duration) -> Defaults {
        Defaults {
            timeout: self.timeout.unwrap_or(timeout),
            receive_buffer: self.receive_buffer.flatten(),
            source: self.source,
        }
    }
}

impl Section {
    /// `ProxyPreserveHost`.
    pub(crate) fn preserve_host(&self) -> bool {
        self.preserve_host.unwrap_or(false)
    }

    /// `ProxyErrorOverride`.
    pub(crate) fn overrides(&self) -> Overrides {
        self.overrides.clone().unwrap_or_default()
    }

    /// `ProxyPassInterpolateEnv`.
    fn interpolates(&self) -> bool {
        self.interpolate.unwrap_or(false)
    }

    /// `Proxy100Continue`.
    pub(crate) fn forward_continue(&self) -> bool {
        self.forward_continue.unwrap_or(true)
    }

    /// `ProxyAddHeaders`.
    pub(crate) fn add_headers(&self) -> bool {
        self.add_headers.unwrap_or(true)
    }
}

impl Module for Proxy {
    const NAME: &'static str = "mod_proxy";
    const IDENTIFIER: &'static str = "proxy_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "ProxyRequests",
            syntax: "ProxyRequests Off",
            context: Context::HOST,
            default: Some("Off"),
            doc: "The forward proxy, which relais is not: only Off is accepted.",
            accepts: &["ProxyRequests Off"],
            refuses: &["ProxyRequests On", "ProxyRequests", "ProxyRequests x"],
            set: Set::Take1(|_, word| {
                if values::on_off(word, "ProxyRequests")? {
                    let problem = Problem::at(
                        word.span(),
                        "ProxyRequests On asks for a forward proxy, and relais is a reverse proxy only",
                    );
                    return Err(
                        problem.with_help("ProxyPass and RewriteRule [P] need no ProxyRequests")
                    );
                }
                Ok(())
            }),
        },
        Directive {
            name: "ProxyPass",
            syntax: "ProxyPass [path] !|url [key=value [key=value ...]] [nocanon]",
            context: Context::HOST.or(Context::DIRECTORY),
            default: None,
            doc: "Sends requests below a path to an origin; `!` exempts them. Rules are tried in written order.",
            accepts: &[
                "ProxyPass /app http://127.0.0.1:8080/app",
                "ProxyPass /ws ws://127.0.0.1:8080/ws",
                "ProxyPass / http://[::1]:8080/ nocanon",
                "ProxyPass /no !",
                "ProxyPass /a http://o.example/a mapping=encoded",
                "ProxyPass /a http://o.example/a mapping=Servlet",
                "ProxyPass /a http://o.example/a timeout=5 connectiontimeout=500ms disablereuse=On upgrade=websocket",
                "ProxyPass /a http://o.example/a KeepAlive=On max=20 retry=0 ttl=10",
                "ProxyPass /a http://o.example/a \"upgrade=foo, websocket\"",
                "ProxyPass /a balancer://b/ stickysession=JSESSIONID|jsessionid nofailover=On",
                "ProxyPass /a balancer://b/a lbmethod=rendezvous lbkey=%{REMOTE_ADDR}",
                "ProxyPass /a unix:/run/o.sock|http://localhost/a acquire=3000 ping=500ms addressttl=-1",
                "ProxyPass /a unix:/run/o.sock|ws://localhost/a responsefieldsize=16384 receivebuffersize=0",
            ],
            refuses: &[
                "ProxyPass",
                "ProxyPass /a",
                "ProxyPass /a /b",
                "ProxyPass /a h2://o.example/",
                "ProxyPass /a balancer://b/ lbmethod=heartbeat",
                "ProxyPass /a balancer://b/ lbmethod=x",
                "ProxyPass /a balancer://b/ route=a",
                "ProxyPass /a ajp://o.example/",
                "ProxyPass /a unix:run/s|http://o/",
                "ProxyPass /a http://o.example/a timeout=x",
                "ProxyPass /a http://o.example/a addressttl=-2",
                "ProxyPass /a http://o.example/a responsefieldsize=100",
                "ProxyPass /a http://o.example/a acquire=0",
                "ProxyPass /a http://o.example/a hcmethod=TCP",
                "ProxyPass /a http://o.example/a timeout=0",
                "ProxyPass /a http://o.example/a timeuot=5",
                "ProxyPass /a http://${HOST}.example/a interpolate",
                "ProxyPass /a http://o.example/a mapping=decoded",
                "ProxyPass /a http://o.example/a nokey",
                "ProxyPass /a http://o.example/a upgrade=websocket-much-too-long",
                "ProxyPass /a http://u:p@o.example/",
                "ProxyPass /a http:///x",
            ],
            set: Set::Words(pass::set),
        },
        Directive {
            name: "ProxyPassMatch",
            syntax: "ProxyPassMatch [regex] !|url [key=value [key=value ...]] [nocanon]",
            context: Context::HOST.or(Context::DIRECTORY),
            default: None,
            doc: "ProxyPass for paths that match; `$1` to `$9` in the target are the pattern's groups, and without them the whole path is appended.",
            accepts: &[
                "ProxyPassMatch ^/app/(.*)$ http://127.0.0.1:8080/$1 timeout=5",
                "ProxyPassMatch ^/(a|b)/ http://$1.example/x",
                "ProxyPassMatch \\.png$ !",
            ],
            refuses: &[
                "ProxyPassMatch",
                "ProxyPassMatch ^/a",
                "ProxyPassMatch ^/a( http://o.example/",
                "ProxyPassMatch ^/a(.*) h2://o.example/$1",
                "ProxyPassMatch ^/a(.*) http://$1.example/ timeout=5",
            ],
            set: Set::Words(pass::set_match),
        },
        Directive {
            name: "ProxySet",
            syntax: "ProxySet [url] key=value [key=value ...]",
            context: Context::HOST.or(Context::PROXY),
            default: None,
            doc: "Sets parameters of an origin's worker, and makes one where no ProxyPass has; inside of <Proxy> the URL is implied.",
            accepts: &[
                "ProxySet http://o.example/ timeout=5 disablereuse=On",
                "ProxySet ws://o.example:81 upgrade=ANY",
                "ProxySet balancer://b lbmethod=byrequests failonstatus=500,503 stickysessionsep=Off",
            ],
            refuses: &[
                "ProxySet",
                "ProxySet http://o.example/",
                "ProxySet balancer://b lbmethod=none",
                "ProxySet http://o.example/ timeout",
                "ProxySet /a timeout=5",
            ],
            set: Set::Words(pass::set_worker),
        },
        Directive {
            name: "BalancerMember",
            syntax: "BalancerMember [balancerurl] url [key=value [key=value ...]]",
            context: Context::HOST.or(Context::PROXY),
            default: None,
            doc: "Adds an origin to a balancer; inside of <Proxy balancer://name> that name is implied.",
            accepts: &[
                "BalancerMember balancer://b http://127.0.0.1:8080",
                "BalancerMember balancer://b http://127.0.0.1:8080/app route=a loadfactor=2.5 lbset=1 status=+H retry=5",
                "BalancerMember balancer://b unix:/run/s|http://localhost redirect=b status=+D-D",
                "BalancerMember balancer://b http://o/ hcmethod=GET11 hcuri=/up?x hcinterval=5 hcpasses=2 hcfails=3",
            ],
            refuses: &[
                "BalancerMember",
                "BalancerMember balancer://b",
                "BalancerMember http://127.0.0.1/ http://127.0.0.1:8080/",
                "BalancerMember balancer://b balancer://c",
                "BalancerMember balancer://b http://o/ loadfactor=0.5",
                "BalancerMember balancer://b http://o/ loadfactor=1.234",
                "BalancerMember balancer://b http://o/ lbset=100",
                "BalancerMember balancer://b http://o/ status=X",
                "BalancerMember balancer://b http://o/ rout=a",
                "BalancerMember balancer://b http://o/ hcmethod=CPING",
                "BalancerMember balancer://b http://o/ hcinterval=10ms",
                "BalancerMember balancer://b http://o/ hctemplate=none",
                "BalancerMember balancer://b http://o/ hcexpr=ok",
            ],
            set: Set::Words(balancer::set_member),
        },
        Directive {
            name: "ProxyHCTemplate",
            syntax: "ProxyHCTemplate name parameter=setting [parameter=setting ...]",
            context: Context::HOST,
            default: None,
            doc: "Names parameters of a health check for members with hctemplate=name.",
            accepts: &["ProxyHCTemplate ws hcmethod=WS hcuri=/ws hcinterval=500ms"],
            refuses: &[
                "ProxyHCTemplate",
                "ProxyHCTemplate ws",
                "ProxyHCTemplate ws timeout=5",
                "ProxyHCTemplate ws hcmethod=CPING",
            ],
            set: Set::Words(health::set_template),
        },
        Directive {
            name: "ProxyHCExpr",
            syntax: "ProxyHCExpr name {expression}",
            context: Context::HOST,
            default: None,
            doc: "Names a condition under which the answer to a health check is good, for members with hcexpr=name.",
            accepts: &[
                "ProxyHCExpr ok {%{REQUEST_STATUS} =~ /^[234]/}",
                "ProxyHCExpr up \"hc('body') =~ /UP/ && %{HC_BODY} != 'DOWN'\"",
                "ProxyHCExpr nested {%{resp:X-State} in {'a', 'b'}}",
            ],
            refuses: &[
                "ProxyHCExpr",
                "ProxyHCExpr ok",
                "ProxyHCExpr ok {%{REQUEST_STATUS} =~ /^2/",
                "ProxyHCExpr ok {true} more",
                "ProxyHCExpr ok %{REQUEST_STATUS} =~ /^2/",
                "ProxyHCExpr ok {hc('head') == 'x'}",
            ],
            set: Set::Raw(health::set_condition),
        },
        Directive {
            name: "BalancerInherit",
            syntax: "BalancerInherit On|Off",
            context: Context::HOST,
            default: Some("On"),
            doc: "Whether virtual hosts have the balancers of the main server.",
            accepts: &["BalancerInherit On", "BalancerInherit Off"],
            refuses: &["BalancerInherit", "BalancerInherit x"],
            set: Set::Flag(|slot, on| {
                slot.host.inherit_balancers = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyPassReverse",
            syntax: "ProxyPassReverse [path] url [interpolate]",
            context: Context::ANY,
            default: None,
            doc: "Maps URLs of the origin in Location, Content-Location, URI and Destination back to this server's.",
            accepts: &[
                "ProxyPassReverse /app http://127.0.0.1:8080/app",
                "ProxyPassReverse /app /x",
                "ProxyPassReverse /app http://${origin}/ interpolate",
            ],
            refuses: &[
                "ProxyPassReverse",
                "ProxyPassReverse /app",
                "ProxyPassReverse /a /b /c",
            ],
            set: Set::Words(reverse::set),
        },
        Directive {
            name: "ProxyPreserveHost",
            syntax: "ProxyPreserveHost On|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Sends the client's Host to the origin unchanged.",
            accepts: &["ProxyPreserveHost On", "proxypreservehost off"],
            refuses: &["ProxyPreserveHost", "ProxyPreserveHost maybe"],
            set: Set::Flag(|slot, on| {
                slot.section.preserve_host = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyAddHeaders",
            syntax: "ProxyAddHeaders On|Off",
            context: Context::ANY,
            default: Some("On"),
            doc: "Whether X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Server are added.",
            accepts: &["ProxyAddHeaders On", "ProxyAddHeaders Off"],
            refuses: &["ProxyAddHeaders", "ProxyAddHeaders maybe"],
            set: Set::Flag(|slot, on| {
                slot.section.add_headers = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyTimeout",
            syntax: "ProxyTimeout seconds",
            context: Context::HOST,
            default: None,
            doc: "How long an origin may be silent; Timeout where it is not set.",
            accepts: &["ProxyTimeout 1", "ProxyTimeout 300"],
            refuses: &["ProxyTimeout", "ProxyTimeout 0", "ProxyTimeout x"],
            set: Set::Take1(|slot, word| {
                slot.host.timeout = Some(values::seconds(word, "ProxyTimeout", 1)?);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyPassReverseCookieDomain",
            syntax: "ProxyPassReverseCookieDomain internal-domain public-domain [interpolate]",
            context: Context::ANY,
            default: None,
            doc: "Replaces the Domain of an origin's cookies.",
            accepts: &[
                "ProxyPassReverseCookieDomain be.internal pub.example",
                "ProxyPassReverseCookieDomain be.internal ${site} interpolate",
            ],
            refuses: &[
                "ProxyPassReverseCookieDomain a",
                "ProxyPassReverseCookieDomain a b c",
            ],
            set: Set::Words(cookies::set_domain),
        },
        Directive {
            name: "ProxyPassReverseCookiePath",
            syntax: "ProxyPassReverseCookiePath internal-path public-path [interpolate]",
            context: Context::ANY,
            default: None,
            doc: "Replaces the Path of an origin's cookies that begins with a path.",
            accepts: &["ProxyPassReverseCookiePath /x /app"],
            refuses: &[
                "ProxyPassReverseCookiePath /x",
                "ProxyPassReverseCookiePath",
            ],
            set: Set::Words(cookies::set_path),
        },
        Directive {
            name: "ProxyErrorOverride",
            syntax: "ProxyErrorOverride Off|On [code [code ...]]",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether an origin's errors, or those with these statuses, make room for this server's own pages.",
            accepts: &[
                "ProxyErrorOverride On",
                "ProxyErrorOverride Off",
                "ProxyErrorOverride On 404 500 502",
            ],
            refuses: &[
                "ProxyErrorOverride",
                "ProxyErrorOverride maybe",
                "ProxyErrorOverride On 200",
                "ProxyErrorOverride On 4xx",
                "ProxyErrorOverride Off 404",
            ],
            set: Set::Words(settings::set_overrides),
        },
        Directive {
            name: "ProxyVia",
            syntax: "ProxyVia On|Off|Full|Block",
            context: Context::HOST,
            default: Some("Off"),
            doc: "Whether this server adds itself to Via, or removes that field.",
            accepts: &[
                "ProxyVia On",
                "ProxyVia off",
                "ProxyVia Full",
                "ProxyVia Block",
            ],
            refuses: &["ProxyVia", "ProxyVia maybe"],
            set: Set::Take1(settings::set_via),
        },
        Directive {
            name: "ProxyMaxForwards",
            syntax: "ProxyMaxForwards number",
            context: Context::HOST,
            default: Some("-1"),
            doc: "The Max-Forwards of requests that come without one; a negative number adds none.",
            accepts: &["ProxyMaxForwards 10", "ProxyMaxForwards -1"],
            refuses: &["ProxyMaxForwards", "ProxyMaxForwards x"],
            set: Set::Take1(settings::set_max_forwards),
        },
        Directive {
            name: "ProxyBadHeader",
            syntax: "ProxyBadHeader IsError|Ignore|StartBody",
            context: Context::HOST,
            default: Some("IsError"),
            doc: "What becomes of a response with a field line that has no colon.",
            accepts: &["ProxyBadHeader IsError", "ProxyBadHeader ignore"],
            refuses: &[
                "ProxyBadHeader",
                "ProxyBadHeader StartBody",
                "ProxyBadHeader x",
            ],
            set: Set::Take1(settings::set_bad_header),
        },
        Directive {
            name: "Proxy100Continue",
            syntax: "Proxy100Continue On|Off",
            context: Context::ANY,
            default: Some("On"),
            doc: "Whether the origin, and not this server, tells a client to send the body it announces.",
            accepts: &["Proxy100Continue On", "Proxy100Continue Off"],
            refuses: &["Proxy100Continue", "Proxy100Continue x"],
            set: Set::Flag(|slot, on| {
                slot.section.forward_continue = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyReceiveBufferSize",
            syntax: "ProxyReceiveBufferSize bytes",
            context: Context::HOST,
            default: Some("0"),
            doc: "The size of the receive buffers of sockets to origins; 0 leaves it to the system.",
            accepts: &["ProxyReceiveBufferSize 0", "ProxyReceiveBufferSize 65536"],
            refuses: &["ProxyReceiveBufferSize", "ProxyReceiveBufferSize 511"],
            set: Set::Take1(|slot, word| {
                let size = params::buffer(word, "ProxyReceiveBufferSize")?;
                slot.host.receive_buffer = Some(size);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyIOBufferSize",
            syntax: "ProxyIOBufferSize bytes",
            context: Context::HOST,
            default: Some("8192"),
            doc: "The size of buffers for bodies; relais sizes them by what arrives.",
            accepts: &["ProxyIOBufferSize 8192"],
            refuses: &["ProxyIOBufferSize", "ProxyIOBufferSize 511"],
            set: Set::Take1(|slot, word| {
                params::buffer(word, "ProxyIOBufferSize")?;
                let message =
                    "ProxyIOBufferSize has no effect here: buffers grow with what arrives";
                let note = Diagnostic::note("RC0308", word.span(), message);
                slot.diagnostics.push(note);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyStatus",
            syntax: "ProxyStatus Off|On|Full",
            context: Context::HOST,
            default: Some("Off"),
            doc: "Whether the status page shows balancers.",
            accepts: &["ProxyStatus On", "ProxyStatus Full", "ProxyStatus Off"],
            refuses: &["ProxyStatus", "ProxyStatus x"],
            set: Set::Take1(|slot, word| {
                let choice = values::choice(word, "ProxyStatus", &["Off", "On", "Full"])?;
                slot.host.status = Some(choice > 0);
                Ok(())
            }),
        },
        Directive {
            name: "ProxySourceAddress",
            syntax: "ProxySourceAddress address",
            context: Context::HOST,
            default: None,
            doc: "The local address of connections to origins.",
            accepts: &["ProxySourceAddress 127.0.0.1", "ProxySourceAddress ::1"],
            refuses: &["ProxySourceAddress", "ProxySourceAddress host.example"],
            set: Set::Take1(settings::set_source),
        },
        Directive {
            name: "ProxyPassInterpolateEnv",
            syntax: "ProxyPassInterpolateEnv On|Off",
            context: Context::ANY,
            default: Some("Off"),
            doc: "Whether the targets of ProxyPass rules with `interpolate` take variables of the request.",
            accepts: &["ProxyPassInterpolateEnv On", "ProxyPassInterpolateEnv Off"],
            refuses: &["ProxyPassInterpolateEnv", "ProxyPassInterpolateEnv x"],
            set: Set::Flag(|slot, on| {
                slot.section.interpolate = Some(on);
                Ok(())
            }),
        },
        Directive {
            name: "ProxyPassInherit",
            syntax: "ProxyPassInherit On|Off",
            context: Context::HOST,
            default: Some("On"),
            doc: "Whether the main server's ProxyPass rules follow those of the virtual host.",
            accepts: &["ProxyPassInherit On", "ProxyPassInherit Off"],
            refuses: &["ProxyPassInherit", "ProxyPassInherit x"],
            set: Set::Flag(|slot, on| {
                slot.host.inherit = Some(on);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        let inherit = inner.inherit.or(outer.inherit);
        let inherited = if inherit.unwrap_or(true) {
            outer.passes.as_slice()
        } else {
            &[]
        };
        Host {
            // The main server's come first: a virtual host's cannot take a path from them (seen on 2.4.71).
            passes: inherited.iter().chain(&inner.passes).cloned().collect(),
            routes: [&inner.routes[..], &outer.routes].concat(),
            maps_written: inner.maps_written || outer.maps_written,
            workers: inner
                .workers
                .iter()
                .chain(&outer.workers)
                .cloned()
                .collect(),
            balancers: merge_balancers(outer, inner),
            inherit_balancers: inner.inherit_balancers.or(outer.inherit_balancers),
            // A template is used where it is read, before anything is merged.
            health_templates: Vec::new(),
            health_conditions: [&outer.health_conditions[..], &inner.health_conditions].concat(),
            via: inner.via.or(outer.via),
            max_forwards: inner.max_forwards.or(outer.max_forwards),
            skip_bad_fields: inner.skip_bad_fields.or(outer.skip_bad_fields),
            receive_buffer: inner.receive_buffer.or(outer.receive_buffer),
            source: inner.source.or(outer.source),
            status: inner.status.or(outer.status),
            timeout: inner.timeout.or(outer.timeout),
            inherit,
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            pass: inner.pass.clone().or_else(|| outer.pass.clone()),
            reverses: outer
                .reverses
                .iter()
                .chain(&inner.reverses)
                .cloned()
                .collect(),
            preserve_host: inner.preserve_host.or(outer.preserve_host),
            add_headers: inner.add_headers.or(outer.add_headers),
            cookie_domains: [&outer.cookie_domains[..], &inner.cookie_domains].concat(),
            cookie_paths: [&outer.cookie_paths[..], &inner.cookie_paths].concat(),
            overrides: inner.overrides.clone().or_else(|| outer.overrides.clone()),
            forward_continue: inner.forward_continue.or(outer.forward_continue),
            interpolate: inner.interpolate.or(outer.interpolate),
        }
    }

    fn finish_host(host: &Host, _section: &Section, spec: &mut HostSpec) {
        spec.maps_written = host.maps_written;
        // The specs are made here once, so that all requests share them.
        let defaults = host.defaults(spec.timeout);
        spec.routes.extend_from_slice(&host.routes);
        for worker in &host.workers {
            spec.workers.push(Arc::clone(worker.spec(&defaults)));
        }
        for (index, balancer) in host.balancers.iter().enumerate() {
            let made = balancer.finish(index, &defaults);
            spec.balancers.push(made);
        }
    }
}

/// A virtual host's own balancers, then those of the main server that it has
/// not of the same name.
fn merge_balancers(outer: &Host, inner: &Host) -> Vec<balancer::Balancer> {
    let inherit = inner.inherit_balancers.or(outer.inherit_balancers);
    let own = |name: &[u8]| inner.balancers.iter().any(|have| have.name() == name);
    let inherited = outer
        .balancers
        .iter()
        .filter(|balancer| inherit.unwrap_or(true) && !own(balancer.name()))
        .map(balancer::Balancer::inherited);
    inner.balancers.iter().cloned().chain(inherited).collect()
}

/// The last of a list of words to blame when something is missing.
fn last_span(words: &[Text], line: relais_conf::Span) -> relais_conf::Span {
    words.last().map_or(line, Text::span)
}
