//! The environment specifier %{…}e names something that is no environment variable.

use relais_conf::{Diagnostic, Diagnostics, Text};

use crate::Rule;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    code: "RC0415",
    name: "env-of-no-variable",
    summary: "the environment specifier %{…}e names something that is no environment variable",
    doc: "In `Header` and `RequestHeader`, `%{NAME}e` is the value of an environment variable, set by \
          `SetEnv`, `SetEnvIf` or `[E=…]`. Names of server variables, such as `HTTP_HOST` or `REMOTE_ADDR`, \
          are none: the header gets the text `(null)`. Write `expr=%{HTTP_HOST}`, or set the variable before.",
    check,
};

fn check(view: &View<'_>, found: &mut Diagnostics) {
    let set = names_set(view);
    for line in view
        .lines()
        .filter(|line| line.is("Header") || line.is("RequestHeader"))
    {
        for word in line.words() {
            found.extend(look(&word, &set));
        }
    }
}

fn look(word: &Text, set: &str) -> Option<Diagnostic> {
    let text = word.as_str()?;
    let start = text.find("%{")?;
    let (name, rest) = text.get(start + 2..)?.split_once('}')?;
    if !rest.starts_with('e')
        || !is_server_variable(name)
        || set.contains(&name.to_ascii_lowercase())
    {
        return None;
    }
    let end = start + 2 + name.len() + 2;
    let message = format!("`{name}` is no environment variable: the header gets the text `(null)`");
    let warning = RULE.warning(word.span_of(start..end), message);
    Some(if text.len() == end && start == 0 {
        warning.with_suggestion(word.span(), format!("expr=%{{{name}}}"))
    } else {
        warning.with_help(format!(
            "set a variable with `SetEnvIf`, or write `\"expr=…%{{{name}}}…\"`"
        ))
    })
}

fn is_server_variable(name: &str) -> bool {
    const NAMES: [&str; 15] = [
        "HTTP_HOST",
        "HTTP_USER_AGENT",
        "HTTP_REFERER",
        "HTTP_COOKIE",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "REMOTE_USER",
        "REQUEST_URI",
        "REQUEST_METHOD",
        "REQUEST_SCHEME",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_ADDR",
        "QUERY_STRING",
    ];
    NAMES.contains(&name) || name.starts_with("HTTP:")
}

/// The arguments of every line that sets a variable.
fn names_set(view: &View<'_>) -> String {
    let setting = view.lines().filter(|line| {
        [
            "SetEnv",
            "SetEnvIf",
            "SetEnvIfNoCase",
            "SetEnvIfExpr",
            "PassEnv",
            "RewriteRule",
        ]
        .iter()
        .any(|name| line.is(name))
    });
    let relevant = setting.map(|line| {
        let args = line.directive.args.lossy().to_ascii_lowercase();
        if line.is("RewriteRule") {
            // Only flags set variables, and they stand at the end.
            args.rsplit_once('[')
                .map_or_else(String::new, |(_, flags)| flags.to_owned())
        } else {
            args
        }
    });
    relevant.collect::<Vec<_>>().join("\n")
}
