//! mod_env: environment variables of requests, set late.
//!
//! As in httpd this happens among the fixups, so rewriting of the server and
//! `SetEnvIf` do not see it; `[E=…]` and `SetEnvIf` are for that
//! (mod_env.html).

use relais_conf::{Diagnostic, Text};
use relais_policy::{Context, Directive, Exchange, Flow, Module, Set, SetResult, Slot};

/// mod_env.
pub struct Env;

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    /// Variables in the order in which they were named first.
    values: Vec<(Vec<u8>, Vec<u8>)>,
    unset: Vec<Vec<u8>>,
}

impl Module for Env {
    const NAME: &'static str = "mod_env";
    const IDENTIFIER: &'static str = "env_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "SetEnv",
            syntax: "SetEnv env-variable [value]",
            context: Context::ANY,
            default: None,
            doc: "Sets a variable of the request, when its path has been mapped and nothing else has set it.",
            accepts: &["SetEnv A b", "SetEnv A", "SetEnv A \"b c\""],
            refuses: &["SetEnv", "SetEnv A b c"],
            set: Set::Take12(|slot, name, value| {
                let value = value.map(|value| value.bytes().to_vec());
                slot.section.put(name.bytes(), value.unwrap_or_default());
                Ok(())
            }),
        },
        Directive {
            name: "PassEnv",
            syntax: "PassEnv env-variable [env-variable] ...",
            context: Context::ANY,
            default: None,
            doc: "Passes variables of the process on to requests.",
            accepts: &["PassEnv PATH", "PassEnv PATH NO_SUCH_VARIABLE"],
            refuses: &["PassEnv"],
            set: Set::Iterate(pass_env),
        },
        Directive {
            name: "UnsetEnv",
            syntax: "UnsetEnv env-variable [env-variable] ...",
            context: Context::ANY,
            default: None,
            doc: "Takes variables away that SetEnv or PassEnv of an outer place have set.",
            accepts: &["UnsetEnv A B"],
            refuses: &["UnsetEnv"],
            set: Set::Iterate(|slot, name| {
                slot.section.values.retain(|(have, _)| have != name.bytes());
                slot.section.unset.push(name.bytes().to_vec());
                Ok(())
            }),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        let mut merged = outer.clone();
        for name in &inner.unset {
            merged.values.retain(|(have, _)| have != name);
            merged.unset.push(name.clone());
        }
        for (name, value) in &inner.values {
            merged.put(name, value.clone());
        }
        merged
    }
}

impl Section {
    fn put(&mut self, name: &[u8], value: Vec<u8>) {
        match self.values.iter_mut().find(|(have, _)| have == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name.to_vec(), value)),
        }
    }
}

fn pass_env(slot: &mut Slot<'_, Env>, name: &Text) -> SetResult {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

    let variable = std::env::var_os(std::ffi::OsStr::from_bytes(name.bytes()));
    match variable {
        Some(value) => slot.section.put(name.bytes(), value.into_vec()),
        None => {
            let message = format!("PassEnv variable {} was undefined", name.lossy());
            let warning = Diagnostic::warning("RC0313", name.span(), message);
            slot.diagnostics.push(warning);
        }
    }
    Ok(())
}

/// httpd: mod_env's fixups, which lay the request's variables over these: what
/// `SetEnvIf` or a rewrite has set stays.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    let section = std::sync::Arc::clone(&exchange.section);
    for (name, value) in &section.get::<Section>().values {
        if exchange.environment.get(name).is_none() {
            exchange.environment.set(name, Some(value));
        }
    }
    Flow::Declined
}
