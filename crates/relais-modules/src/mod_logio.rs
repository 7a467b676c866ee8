//! mod_logio: the numbers of bytes are always there; the time to the first byte
//! is kept where it is asked for (mod_logio.html).

use relais_policy::{Context, Directive, HostSpec, Module, Set};

/// mod_logio.
pub struct Logio;

/// Per-server settings.
#[derive(Clone, Copy, Default, Debug)]
pub struct Host {
    first_byte: Option<bool>,
}

impl Module for Logio {
    const NAME: &'static str = "mod_logio";
    const IDENTIFIER: &'static str = "logio_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[Directive {
        name: "LogIOTrackTTFB",
        syntax: "LogIOTrackTTFB ON|OFF",
        context: Context::HOST,
        default: Some("OFF"),
        doc: "Whether `%^FB` knows when the first byte of an answer went out.",
        accepts: &["LogIOTrackTTFB ON", "LogIOTrackTTFB off"],
        refuses: &["LogIOTrackTTFB", "LogIOTrackTTFB x"],
        set: Set::Flag(|slot, on| {
            slot.host.first_byte = Some(on);
            Ok(())
        }),
    }];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            first_byte: inner.first_byte.or(outer.first_byte),
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}

    fn finish_host(host: &Host, _section: &(), spec: &mut HostSpec) {
        spec.first_byte = host.first_byte.unwrap_or(false);
    }
}
