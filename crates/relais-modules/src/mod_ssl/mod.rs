//! mod_ssl: TLS in front and towards origins, in OpenSSL's words.
//!
//! The directives become a [`TlsSpec`] and a [`ProxyTlsSpec`] per host, which `relais-tls` turns into what a handshake
//! needs. What rustls cannot do is refused with the reason, or accepted with a note where nothing is lost.

mod ciphers;
mod facts;
mod protocols;
mod table;

pub(crate) use facts::{access, fixup, identify, post_read};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relais_conf::{Diagnostic, Diagnostics, Span};
use relais_expr::Expression;
use relais_policy::tls::{
    CipherSuite, CrlCheck, FileSpec, Protocols, ProxyTlsSpec, SniPolicy, TlsSpec, Trust, Verify,
};
use relais_policy::{Directive, HostSpec, Module, SiteDraft};

/// mod_ssl.
pub struct Ssl;

/// What both sides of TLS have in common, as directives set it.
#[derive(Clone, Default, Debug)]
pub struct Side {
    protocols: Option<Protocols>,
    suites: Option<Vec<CipherSuite>>,
    suites13: Option<Vec<CipherSuite>>,
    verify: Option<Verify>,
    depth: Option<u32>,
    ca_files: Vec<FileSpec>,
    ca_paths: Vec<FileSpec>,
    crl_files: Vec<FileSpec>,
    crl_paths: Vec<FileSpec>,
    crl_check: Option<Option<CrlCheck>>,
}

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    engine: Option<(bool, Span)>,
    certificates: Vec<FileSpec>,
    keys: Vec<FileSpec>,
    chain: Option<FileSpec>,
    pass_phrase: Option<PathBuf>,
    honor_order: Option<bool>,
    tickets: Option<bool>,
    cache: Option<Option<usize>>,
    session_timeout: Option<Duration>,
    strict_sni: Option<bool>,
    sni_policy: Option<SniPolicy>,
    hints: Vec<FileSpec>,
    groups: Vec<&'static str>,
    watch: Option<bool>,
    server: Side,
    proxy_engine: Option<(bool, Span)>,
    proxy: Side,
    check_name: Option<bool>,
    check_cn: Option<bool>,
    check_expire: Option<bool>,
    machine: Vec<FileSpec>,
    machine_paths: Vec<FileSpec>,
    machine_chain: Option<FileSpec>,
}

/// Per-directory settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    require_ssl: bool,
    /// `SSLRequire`, each with its text.
    requires: Vec<(Arc<Expression>, String)>,
    fake_basic: Option<bool>,
    std_env: Option<bool>,
    export_certificates: Option<bool>,
    user_name: Option<String>,
}

impl Module for Ssl {
    const NAME: &'static str = "mod_ssl";
    const IDENTIFIER: &'static str = "ssl_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = table::DIRECTIVES;

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        let (outer, inner) = (outer.clone(), inner.clone());
        // A key belongs to the certificate of the same host.
        let own = !inner.certificates.is_empty();
        Host {
            engine: inner.engine.or(outer.engine),
            keys: if own || !inner.keys.is_empty() {
                inner.keys
            } else {
                outer.keys
            },
            certificates: either(inner.certificates, outer.certificates),
            chain: inner.chain.or(if own { None } else { outer.chain }),
            pass_phrase: outer.pass_phrase,
            honor_order: inner.honor_order.or(outer.honor_order),
            tickets: inner.tickets.or(outer.tickets),
            cache: outer.cache,
            session_timeout: inner.session_timeout.or(outer.session_timeout),
            strict_sni: inner.strict_sni.or(outer.strict_sni),
            sni_policy: outer.sni_policy,
            hints: either(inner.hints, outer.hints),
            groups: either(inner.groups, outer.groups),
            watch: inner.watch.or(outer.watch),
            server: inner.server.over(outer.server),
            proxy_engine: inner.proxy_engine.or(outer.proxy_engine),
            proxy: inner.proxy.over(outer.proxy),
            check_name: inner.check_name.or(outer.check_name),
            check_cn: inner.check_cn.or(outer.check_cn),
            check_expire: inner.check_expire.or(outer.check_expire),
            machine: either(inner.machine, outer.machine),
            machine_paths: either(inner.machine_paths, outer.machine_paths),
            machine_chain: inner.machine_chain.or(outer.machine_chain),
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            require_ssl: outer.require_ssl || inner.require_ssl,
            requires: [&outer.requires[..], &inner.requires].concat(),
            fake_basic: inner.fake_basic.or(outer.fake_basic),
            std_env: inner.std_env.or(outer.std_env),
            export_certificates: inner.export_certificates.or(outer.export_certificates),
            user_name: inner.user_name.clone().or_else(|| outer.user_name.clone()),
        }
    }

    fn check(draft: &SiteDraft, diagnostics: &mut Diagnostics) {
        let hosts = draft.hosts.iter().map(|host| host.host.get::<Host>());
        let Some(Some(main)) = draft.hosts.first().map(|host| host.host.get::<Host>()) else {
            return;
        };
        for (index, host) in hosts.flatten().enumerate() {
            let merged = if index == 0 {
                main.clone()
            } else {
                Self::merge_host(main, host)
            };
            check_host(host, &merged, diagnostics);
        }
    }

    fn finish_host(host: &Host, _section: &Section, spec: &mut HostSpec) {
        spec.strict_sni = host.strict_sni.unwrap_or(false);
        spec.sni_policy = host.sni_policy.unwrap_or_default();
        spec.tls = match host.engine {
            Some((true, span)) => Some(Arc::new(host.tls(span))),
            _ => None,
        };
        spec.proxy_tls = match host.proxy_engine {
            Some((true, span)) => Some(Arc::new(host.proxy_tls(span))),
            _ => None,
        };
    }
}

fn either<T>(inner: Vec<T>, outer: Vec<T>) -> Vec<T> {
    if inner.is_empty() { outer } else { inner }
}

fn check_host(host: &Host, merged: &Host, diagnostics: &mut Diagnostics) {
    if let Some((true, span)) = host.proxy_engine
        && merged.proxy.verify.unwrap_or_default() == Verify::None
    {
        let message =
            "origins are not asked to prove who they are: SSLProxyVerify is none, its default";
        diagnostics
            .push(Diagnostic::note("RC0503", span, message).with_help(
                "`SSLProxyVerify require` with `SSLProxyCACertificateFile` checks them",
            ));
    }
}

impl Side {
    fn over(self, outer: Self) -> Self {
        Self {
            protocols: self.protocols.or(outer.protocols),
            suites: self.suites.or(outer.suites),
            suites13: self.suites13.or(outer.suites13),
            verify: self.verify.or(outer.verify),
            depth: self.depth.or(outer.depth),
            ca_files: either(self.ca_files, outer.ca_files),
            ca_paths: either(self.ca_paths, outer.ca_paths),
            crl_files: either(self.crl_files, outer.crl_files),
            crl_paths: either(self.crl_paths, outer.crl_paths),
            crl_check: self.crl_check.or(outer.crl_check),
        }
    }

    fn suites(&self) -> Vec<CipherSuite> {
        let all = |tls13| {
            CipherSuite::ALL
                .iter()
                .copied()
                .filter(move |suite| suite.tls13 == tls13)
        };
        let first = self.suites13.clone().unwrap_or_else(|| all(true).collect());
        let second = self.suites.clone().unwrap_or_else(|| all(false).collect());
        first.into_iter().chain(second).collect()
    }

    fn trust(&self) -> Trust {
        Trust {
            verify: self.verify.unwrap_or_default(),
            depth: self.depth.unwrap_or(1),
            ca_files: self.ca_files.clone(),
            ca_paths: self.ca_paths.clone(),
            crl_files: self.crl_files.clone(),
            crl_paths: self.crl_paths.clone(),
            crl_check: self.crl_check.flatten(),
        }
    }
}

impl Host {
    fn tls(&self, span: Span) -> TlsSpec {
        let keys = self.keys.iter().map(Some).chain(std::iter::repeat(None));
        let pairs = self.certificates.iter().cloned().zip(keys);
        TlsSpec {
            span,
            certificates: pairs.map(|(file, key)| (file, key.cloned())).collect(),
            chain: self.chain.clone(),
            pass_phrase: self.pass_phrase.clone(),
            protocols: self.server.protocols.unwrap_or_default(),
            suites: self.server.suites(),
            honor_order: self.honor_order.unwrap_or(false),
            tickets: self.tickets.unwrap_or(true),
            cache: self.cache.flatten(),
            session_timeout: self.session_timeout.unwrap_or(Duration::from_secs(300)),
            client: self.server.trust(),
            hints: self.hints.clone(),
            groups: self.groups.clone(),
            watch: self.watch.unwrap_or(false),
        }
    }

    fn proxy_tls(&self, span: Span) -> ProxyTlsSpec {
        ProxyTlsSpec {
            span,
            trust: self.proxy.trust(),
            // SSLProxyCheckPeerCN is looked at only where the newer one is off.
            check_name: self.check_name.unwrap_or(true) || self.check_cn.unwrap_or(false),
            check_expire: self.check_expire.unwrap_or(true),
            protocols: self.proxy.protocols.unwrap_or_default(),
            suites: self.proxy.suites(),
            machine: self.machine.clone(),
            machine_paths: self.machine_paths.clone(),
            machine_chain: self.machine_chain.clone(),
        }
    }
}
