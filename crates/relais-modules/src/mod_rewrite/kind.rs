//! `[T=…]` and `[H=…]`: what a rule says of a file's type and of who answers
//! (httpd's `hook_mimetype`).

use relais_policy::{Environment, Exchange, Flow};
use relais_telemetry::Level;

use super::log::log;

/// The note with the type, as in httpd.
const TYPE: &[u8] = b"rewrite-forced-mimetype";
/// The note with the handler, as in httpd.
const HANDLER: &[u8] = b"rewrite-forced-handler";

/// Keeps a type for the end of the fixups.
pub(super) fn set_type(notes: &mut Environment, kind: &[u8]) {
    notes.set(TYPE, Some(kind));
}

/// Keeps a handler for the end of the fixups.
pub(super) fn set_handler(notes: &mut Environment, handler: &[u8]) {
    notes.set(HANDLER, Some(handler));
}

/// Forgets both: another request begins.
pub(super) fn forget(notes: &mut Environment) {
    notes.set(TYPE, None);
    notes.set(HANDLER, None);
}

/// The type that a rule has forced on the answer.
pub(crate) fn forced_type<'x>(exchange: &'x Exchange<'_>) -> Option<&'x [u8]> {
    exchange.notes.get(TYPE)
}

/// The last of the fixups: the handler of a rule goes before all others.
pub(crate) fn fixup(exchange: &mut Exchange<'_>) -> Flow {
    if exchange.notes.get(TYPE).is_none() && exchange.notes.get(HANDLER).is_none() {
        return Flow::Declined;
    }
    let mut name = Vec::new();
    relais_expr::Lookup::variable(exchange, &relais_expr::Variable::RequestFilename, &mut name);
    let name = name.escape_ascii();
    if let Some(kind) = forced_type(exchange).map(<[u8]>::escape_ascii) {
        let line = format!("force filename {name} to have MIME-type '{kind}'");
        log(exchange, Level::Trace1, &line);
    }
    if let Some(handler) = exchange.notes.get(HANDLER).map(<[u8]>::to_vec) {
        let shown = handler.escape_ascii();
        let line = format!("force filename {name} to have the Content-handler '{shown}'");
        log(exchange, Level::Trace1, &line);
        exchange.handler = Some(handler.into());
    }
    Flow::Declined
}
