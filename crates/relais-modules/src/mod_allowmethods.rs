//! mod_allowmethods: which methods a place answers to.

use relais_conf::Text;
use relais_policy::{
    Context, Decision, Directive, Exchange, Flow, Module, Respond, Set, SetResult, Slot,
};
use relais_telemetry::Level;

use crate::methods;
use crate::mod_authz_core::subject;

/// mod_allowmethods.
pub struct Allowmethods;

/// Per-section settings: the methods, none for all.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Section(Option<Vec<&'static str>>);

impl Module for Allowmethods {
    const NAME: &'static str = "mod_allowmethods";
    const IDENTIFIER: &'static str = "allowmethods_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[Directive {
        name: "AllowMethods",
        syntax: "AllowMethods reset|HTTP-method [HTTP-method]...",
        context: Context::DIRECTORY.or(Context::PROXY),
        default: Some("reset"),
        doc: "The methods that are answered here; any other gets 405.",
        accepts: &["AllowMethods GET POST OPTIONS", "AllowMethods reset"],
        refuses: &["AllowMethods", "AllowMethods get", "AllowMethods GET reset"],
        set: Set::Words(allow_methods),
    }];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section(inner.0.clone().or_else(|| outer.0.clone()))
    }
}

fn allow_methods(slot: &mut Slot<'_, Allowmethods>, words: &[Text]) -> SetResult {
    if let [word] = words
        && word.eq_ignore_case("reset")
    {
        slot.section.0 = Some(Vec::new());
        return Ok(());
    }
    let methods = slot.section.0.get_or_insert_default();
    for word in words {
        methods.push(methods::method(word)?);
    }
    Ok(())
}

/// httpd hooks it in front of every other access checker.
pub(crate) fn access(exchange: &mut Exchange<'_>) -> Flow {
    let section = exchange.section_settings::<Section>();
    let Some(allowed) = section.0.as_ref().filter(|allowed| !allowed.is_empty()) else {
        return Flow::Declined;
    };
    let method = exchange.head.method();
    if methods::covers(allowed, method) {
        return Flow::Declined;
    }
    let line = format!(
        "AH01623: client method denied by server configuration: '{}' to {}",
        String::from_utf8_lossy(method),
        subject(exchange)
    );
    exchange.note("allowmethods", Level::Error, || line);
    Flow::Decide(Decision::Respond(Respond::status(405)))
}
