//! mod_headers: edits of request and response fields.
//!
//! The table and the phases are here, `edit` knows the actions, `format` the
//! values (mod_headers.html).

mod edit;
mod format;

use std::sync::Arc;
use std::time::Duration;

use relais_conf::Text;
use relais_expr::State;
use relais_policy::{
    Answered, Context, Decision, Directive, Exchange, Flow, Module, Outgoing, Problem, Respond,
    Set, SetResult, Slot, Unfit,
};

use edit::{Edit, When};

/// mod_headers.
pub struct Headers;

/// Per-section settings: edits in file order.
#[derive(Clone, Default, Debug)]
pub struct Section {
    request: Vec<Arc<Edit>>,
    always: Vec<Arc<Edit>>,
    success: Vec<Arc<Edit>>,
}

impl Module for Headers {
    const NAME: &'static str = "mod_headers";
    const IDENTIFIER: &'static str = "headers_module";
    type Host = ();
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "Header",
            syntax: "Header [always|onsuccess] add|append|echo|edit|edit*|merge|set|setifempty|unset|note header [value [replacement]] [early|env=[!]varname|expr=expression]",
            context: Context::ANY,
            default: None,
            doc: "Edits the fields of responses: those of origins, or with `always` a list that goes out with every answer.",
            accepts: &[
                "Header set X-Frame-Options DENY",
                "Header always set Strict-Transport-Security \"max-age=63072000\"",
                "Header onsuccess append Vary Origin",
                "Header merge Cache-Control no-transform",
                "Header add Set-Cookie \"a=b\" env=first",
                "Header unset X-Powered-By",
                "Header echo ^X-Req",
                "Header edit Set-Cookie ^(.*)$ \"$1; Secure\"",
                "Header edit* Location http: https: env=!plain",
                "Header set X-Time \"%t %D %l %i %b %{UNIQUE_ID}e %{SSL_PROTOCOL}s %%\"",
                "Header setifempty X-A b",
                "Header note X-A copy",
                "Header set X-Path \"expr=%{REQUEST_URI} %{resp:ETag}\"",
                "Header set X-Error yes \"expr=%{REQUEST_STATUS} -ge 400\"",
                "Header always set X-Early 1 early",
            ],
            refuses: &[
                "Header",
                "Header set",
                "Header set X-A",
                "Header put X-A b",
                "Header unset X-A b",
                "Header edit X-A b",
                "Header edit X-A ( b",
                "Header echo (",
                "Header set X-A %h",
                "Header set X-A b env=",
                "Header set X-A b late",
                "Header set X-A b expr=",
                "Header set X-A expr=%{NO_SUCH}",
                "Header set X-A b env=c d",
                "Header set \"X A\" b",
            ],
            set: Set::Words(header),
        },
        Directive {
            name: "RequestHeader",
            syntax: "RequestHeader add|append|edit|edit*|merge|set|setifempty|unset header [value [replacement]] [early|env=[!]varname|expr=expression]",
            context: Context::ANY,
            default: None,
            doc: "Edits the fields of requests before they are forwarded, or with `early` before anything else looks at them.",
            accepts: &[
                "RequestHeader set X-RP-UNIQUE_ID %{UNIQUE_ID}e",
                "RequestHeader unset Accept-Encoding",
                "RequestHeader edit Host ^www\\. \"\" early",
                "RequestHeader append X-Via relais env=!direct",
            ],
            refuses: &[
                "RequestHeader",
                "RequestHeader echo X-A",
                "RequestHeader note X-A b",
                "RequestHeader set X-A",
                "RequestHeader always set X-A b",
            ],
            set: Set::Words(request_header),
        },
    ];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        let joined = |outer: &[Arc<Edit>], inner: &[Arc<Edit>]| [outer, inner].concat();
        Section {
            request: joined(&outer.request, &inner.request),
            always: joined(&outer.always, &inner.always),
            success: joined(&outer.success, &inner.success),
        }
    }
}

fn header(slot: &mut Slot<'_, Headers>, words: &[Text]) -> SetResult {
    let (always, rest) = match words {
        [first, rest @ ..] if first.eq_ignore_case("always") => (true, rest),
        [first, rest @ ..] if first.eq_ignore_case("onsuccess") => (false, rest),
        _ => (false, words),
    };
    let edit = Arc::new(Edit::parse(rest, "Header", true)?);
    match always {
        true => slot.section.always.push(edit),
        false => slot.section.success.push(edit),
    }
    Ok(())
}

fn request_header(slot: &mut Slot<'_, Headers>, words: &[Text]) -> SetResult {
    let edit = Edit::parse(words, "RequestHeader", false)?;
    slot.section.request.push(Arc::new(edit));
    Ok(())
}

/// httpd: mod_headers' post_read_request, for `RequestHeader … early`.
pub(crate) fn post_read(exchange: &mut Exchange<'_>) -> Flow {
    edit_request(exchange, When::Early)
}

/// httpd: mod_headers' fixups, behind all others.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    edit_request(exchange, When::Late)
}

fn edit_request(exchange: &mut Exchange<'_>, when: When) -> Flow {
    let section = Arc::clone(&exchange.section);
    let (mut value, mut state) = (Vec::new(), State::default());
    for edit in &section.get::<Section>().request {
        state.reset();
        let holds = edit.holds(exchange, exchange, &mut state, when);
        state.headers_read().for_each(|name| exchange.vary_on(name));
        if !holds {
            continue;
        }
        value.clear();
        // As in httpd, the groups of a condition are not those of the value.
        state.reset();
        let format = &edit.value;
        format.write(exchange, exchange, &mut state, Duration::ZERO, &mut value);
        if edit.apply(&value, exchange.fields_mut()).is_err() {
            let why = "RequestHeader made a field that may not be sent";
            return Flow::Decide(Decision::Respond(Respond::logged(500, why)));
        }
    }
    Flow::Declined
}

/// httpd: mod_headers' output filter, and its error filter for own pages.
pub(crate) fn outgoing(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    let section: &Section = exchange.section_settings();
    // The list of `always` first; an early edit was made long before.
    edit_list(exchange, outgoing, &section.always, When::Early, true)?;
    edit_list(exchange, outgoing, &section.always, When::Late, true)?;
    if outgoing.own_error {
        return Ok(());
    }
    edit_list(exchange, outgoing, &section.success, When::Late, false)
}

fn edit_list(
    exchange: &Exchange<'_>,
    outgoing: &mut Outgoing<'_>,
    edits: &[Arc<Edit>],
    when: When,
    always: bool,
) -> Result<(), Unfit> {
    if edits.is_empty() {
        return Ok(());
    }
    let (mut value, mut state) = (Vec::new(), State::default());
    for edit in edits {
        state.reset();
        value.clear();
        let answered = Answered {
            exchange,
            status: outgoing.status,
            fields: [outgoing.fields, outgoing.always],
        };
        let holds = edit.holds(exchange, &answered, &mut state, when);
        vary(outgoing, &state);
        if !holds {
            continue;
        }
        let answered = Answered {
            exchange,
            status: outgoing.status,
            fields: [outgoing.fields, outgoing.always],
        };
        state.reset();
        let format = &edit.value;
        format.write(
            exchange,
            &answered,
            &mut state,
            outgoing.elapsed,
            &mut value,
        );
        // What is echoed is never in the list of `always`.
        let fields = match always && !edit.is_echo() {
            true => &mut *outgoing.always,
            false => &mut *outgoing.fields,
        };
        edit.respond(exchange, &value, fields, outgoing.notes)?;
    }
    Ok(())
}

/// The answer depends on the request fields that a condition has looked at
/// (`ap_expr_exec`), whether or not the edit was made. In httpd it does not on
/// those that are part of a value.
fn vary(outgoing: &mut Outgoing<'_>, state: &State) {
    for name in state.headers_read() {
        let fields = &mut *outgoing.fields;
        let have = fields.get("Vary").map(<[u8]>::to_vec).unwrap_or_default();
        let mut names = have.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if names.any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        let value = if have.is_empty() {
            name.to_vec()
        } else {
            [&have, &b","[..], name].concat()
        };
        // A list of names of fields is a value.
        let _ = fields.set("Vary", value);
    }
}

/// A problem of one argument, or of the whole directive.
fn problem(word: Option<&Text>, message: impl Into<String>) -> Problem {
    match word {
        Some(word) => Problem::at(word.span(), message),
        None => Problem::new(message),
    }
}
