//! mod_ratelimit: content is sent no faster than the environment says.
//!
//! It has no directives: `SetOutputFilter RATE_LIMIT` with `rate-limit` and
//! `rate-initial-burst` in the environment, in KiB (mod_ratelimit.html).

use relais_policy::{Directive, Exchange, Module, Outgoing, Rate};

/// mod_ratelimit.
pub struct RateLimit;

impl Module for RateLimit {
    const NAME: &'static str = "mod_ratelimit";
    const IDENTIFIER: &'static str = "ratelimit_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}

/// httpd: the filter `RATE_LIMIT`. Without a speed in the environment there is
/// no limit.
pub(crate) fn limit(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) {
    let kibibytes = |name: &[u8]| {
        let value = std::str::from_utf8(exchange.environment.get(name)?).ok()?;
        let count: u64 = value.parse().ok().filter(|&count| count > 0)?;
        count.checked_mul(1024)
    };
    outgoing.filters.rate = kibibytes(b"rate-limit").map(|bytes| Rate {
        bytes,
        burst: kibibytes(b"rate-initial-burst").unwrap_or(0),
    });
}
