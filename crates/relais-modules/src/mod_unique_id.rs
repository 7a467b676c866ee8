//! mod_unique_id: a name for every request, in `UNIQUE_ID`.
//!
//! Like httpd's it has 27 characters of the URL-safe base64 alphabet. They
//! spell the twenty bytes that the front gives to each request: time, a random
//! number of the worker thread and a count.

use relais_policy::{Directive, Exchange, Flow, Module};

/// mod_unique_id.
pub struct UniqueId;

impl Module for UniqueId {
    const NAME: &'static str = "mod_unique_id";
    const IDENTIFIER: &'static str = "unique_id_module";
    type Host = ();
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[];

    fn merge_host(_outer: &(), _inner: &()) {}

    fn merge_section(_outer: &(), _inner: &()) {}
}

/// httpd: mod_unique_id's post_read_request.
pub(crate) fn post_read(exchange: &mut Exchange<'_>) -> Flow {
    let id = spelt(&exchange.identity);
    exchange.environment.set(b"UNIQUE_ID", Some(&id));
    Flow::Declined
}

/// 160 bits, six at a time, the last two of 27 characters padded with zeros.
fn spelt(identity: &[u8; 20]) -> [u8; 27] {
    let mut text = [0; 27];
    for (bytes, four) in identity.chunks(3).zip(text.chunks_mut(4)) {
        let byte = |at: usize| bytes.get(at).map_or(0, |&byte| u32::from(byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, character) in four.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bits_a_character() {
        let table: &[([u8; 20], &str)] = &[
            ([0; 20], "AAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ([255; 20], "__________________________8"),
            (*b"abcdefghijklmnopqrst", "YWJjZGVmZ2hpamtsbW5vcHFyc3Q"),
        ];
        for (identity, expected) in table {
            assert_eq!(spelt(identity), expected.as_bytes(), "{identity:?}");
        }
    }
}
