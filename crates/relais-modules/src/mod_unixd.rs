//! mod_unixd: the user that the server runs as.

use relais_policy::{Context, Directive, HostSpec, Module, ServerSpec, Set};

/// mod_unixd.
pub struct Unixd;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    user: Option<String>,
    group: Option<String>,
}

impl Module for Unixd {
    const NAME: &'static str = "mod_unixd";
    const IDENTIFIER: &'static str = "unixd_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "User",
            syntax: "User unix-userid",
            context: Context::SERVER,
            default: Some("#-1"),
            doc: "The user that relais becomes after its ports are open, when it is started as root.",
            accepts: &["User www-data", "user #33"],
            refuses: &["User", "User a b"],
            set: Set::Take1(|slot, name| {
                slot.host.user = Some(name.lossy().into_owned());
                Ok(())
            }),
        },
        Directive {
            name: "Group",
            syntax: "Group unix-group",
            context: Context::SERVER,
            default: Some("#-1"),
            doc: "The group that relais becomes after its ports are open, when it is started as root.",
            accepts: &["Group www-data", "Group #33"],
            refuses: &["Group", "Group a b"],
            set: Set::Take1(|slot, name| {
                slot.host.group = Some(name.lossy().into_owned());
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        let inner = inner.clone();
        Host {
            user: inner.user.or_else(|| outer.user.clone()),
            group: inner.group.or_else(|| outer.group.clone()),
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}

    fn finish_host(_host: &Host, _section: &(), _spec: &mut HostSpec) {}

    fn finish_server(host: &Host, spec: &mut ServerSpec) {
        spec.user.clone_from(&host.user);
        spec.group.clone_from(&host.group);
    }
}
