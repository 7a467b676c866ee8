//! Modules, sections, merging and phases: from an exchange to a decision.
//!
//! This crate knows the shape of httpd's configuration (servers, virtual
//! hosts, sections, phases) and no directive. `relais-modules` brings the
//! directives through the [`Module`] trait; `relais-front` runs
//! [`Exchange::decide`] and carries out the [`Decision`]. It does no I/O,
//! reads no clock and spawns nothing.

pub mod build;
mod decision;
mod directive;
mod exchange;
mod module;
mod section;
mod site;
mod spec;
pub mod uri;
mod variables;

pub use decision::{Decision, Forward, Respond};
pub use directive::{
    Context, Directive, DirectiveInfo, Handler, Place, Problem, Set, SetResult, Slot,
};
pub use exchange::{
    Connection, Environment, Exchange, Flow, LogLine, Phase, Phases, ProxyUrl, ResponsePhase,
};
pub use module::{AnyModule, Draft, Drafts, Module, Registered, Settings};
pub use section::{Matcher, SectionHead, SectionKind, covers, is_wildcard, wildcard};
pub use site::{
    Host, HostAddress, HostDraft, HostName, SectionDraft, SectionSets, Site, SiteDraft,
};
pub use spec::{
    AccessLogSpec, HostSpec, KeepAlive, ListenerSpec, ReadTimeout, RequestLimits, Scheme,
    ServerSpec, WorkerSpec,
};
