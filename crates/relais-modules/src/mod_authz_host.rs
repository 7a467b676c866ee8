//! mod_authz_host: `Require ip` and `Require local`. It has no directive of
//! its own; mod_authz_core's `requirement` holds the providers.

use relais_policy::{Directive, Module};

/// mod_authz_host.
pub struct AuthzHost;

impl Module for AuthzHost {
    const NAME: &'static str = "mod_authz_host";
    const IDENTIFIER: &'static str = "authz_host_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}
