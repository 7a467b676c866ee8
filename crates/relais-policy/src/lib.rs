//! Modules, sections, merging and phases: from an exchange to a decision.
//!
//! This crate knows the shape of httpd's configuration (servers, virtual
//! hosts, sections, phases) and no directive. `relais-modules` brings the
//! directives through the [`Module`] trait; `relais-front` runs
//! [`Exchange::decide`] and carries out the [`Decision`]. It does no I/O,
//! reads no clock and spawns nothing.

mod balancer;
pub mod build;
mod decision;
mod directive;
mod exchange;
mod explain;
mod http2;
mod lookup;
mod module;
mod read;
mod route;
mod running;
mod section;
mod site;
mod spec;
mod subrequest;
pub mod tls;
mod tunnel;
pub mod uri;
mod variables;
mod walk;

pub use balancer::{
    Balanced, BalancerSettings, BalancerSpec, HealthCondition, HealthMethod, HealthSpec,
    MemberSpec, MemberStatus, Method, Nonce, Sticky, write_connection,
};
pub use decision::{Decision, FileBody, Forward, Interim, Overrides, Respond, Treatment};
pub use directive::{Context, Directive, DirectiveInfo, Place, Problem, Set, SetResult, Slot};
pub use exchange::{
    Amount, Answer, Connection, Content, Environment, ErrorDocument, Exchange, FilterNote, Filters,
    Flow, Load, LogLine, Lookup, Outgoing, OutgoingPhase, Phase, Phases, ProxyUrl, Rate,
    ResponsePhase, Restart, Step, Unfit,
};
pub use explain::{Remark, Topic, numbered_values};
pub use http2::{Http2Spec, Protocol, ProtocolsSpec};
pub use module::{AnyModule, Draft, Drafts, Module, Registered, Settings};
pub use route::RouteSpec;
pub use running::{
    AskRunning, BalancerStatus, Change, ConnectionStatus, Edit, MemberStatusNow, Mode, Running,
    ServerStatus, ThreadStatus, TunnelStatus,
};
pub use section::{
    Condition, Limit, Matcher, SectionHead, SectionKind, covers, is_wildcard, wildcard,
};
pub use site::{Host, HostAddress, HostDraft, HostName, SectionDraft, Site, SiteDraft};
pub use spec::{
    AccessLogSpec, HostSpec, KeepAlive, ListenerSpec, LogCondition, ProxyProtocol, ReadTimeout,
    RequestLimits, Scheme, ServerSpec, StatusSpec, Upgrade, WorkerSpec,
};
pub use subrequest::SubRequest;
pub use tunnel::{
    DrainSpec, OnReload, ReloadAction, TunnelHostSpec, TunnelRate, TunnelSize, TunnelSpec,
    TunnelTime,
};
pub use variables::Answered;
pub use walk::{Fragment, SectionSets};

/// Every diagnostic code of this crate with its meaning. Codes are stable and
/// never used again for something else.
pub const CODES: &[(&str, &str)] = &[
    ("RC0201", "a directive's arguments are not what it takes"),
    ("RC0202", "a directive may not stand in this place"),
    ("RC0203", "a directive is accepted and has no effect here"),
    ("RC0204", "httpd has this, relais does not yet"),
    ("RC0205", "no module of httpd has a directive of this name"),
    (
        "RC0206",
        "the argument of a section's opening line is wrong",
    ),
    ("RC0207", "a section may not stand inside this one"),
    ("RC0208", "httpd has this, relais will not"),
    ("RC0209", "the host name of a virtual host has no address"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_code_that_is_used_is_listed_once() {
        let sources = [include_str!("read.rs"), include_str!("directive.rs")];
        let quoted = sources.iter().flat_map(|source| source.split('"'));
        let used: BTreeSet<&str> = quoted.filter(|word| word.starts_with("RC0")).collect();
        let listed: Vec<&str> = super::CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), listed);
    }
}
