//! mod_authz_user: `Require user` and `Require valid-user`. It has no
//! directive of its own; mod_authz_core's `requirement` holds the providers.

use relais_policy::{Directive, Module};

/// mod_authz_user.
pub struct AuthzUser;

impl Module for AuthzUser {
    const NAME: &'static str = "mod_authz_user";
    const IDENTIFIER: &'static str = "authz_user_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}
