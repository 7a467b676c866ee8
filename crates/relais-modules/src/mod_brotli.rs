//! mod_brotli: content in brotli.

use relais_filter::{Brotli, Filter};
use relais_policy::{Context, Directive, Exchange, Module, Outgoing, Set, Unfit};

use crate::filters::{AlterETag, Coding, Notes};
use crate::values;

/// mod_brotli.
pub struct BrotliModule;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    quality: Option<u32>,
    window_bits: Option<u32>,
    etag: Option<AlterETag>,
    notes: Notes,
}

impl Module for BrotliModule {
    const NAME: &'static str = "mod_brotli";
    const IDENTIFIER: &'static str = "brotli_module";
    type Host = Host;
    type Section = ();
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "BrotliCompressionQuality",
            syntax: "BrotliCompressionQuality value",
            context: Context::HOST,
            default: Some("5"),
            doc: "How hard BROTLI_COMPRESS tries, from 0 to 11.",
            accepts: &["BrotliCompressionQuality 0", "BrotliCompressionQuality 11"],
            refuses: &["BrotliCompressionQuality", "BrotliCompressionQuality 12"],
            set: Set::Take1(|slot, word| {
                slot.host.quality = Some(values::small(word, "BrotliCompressionQuality", 0..=11)?);
                Ok(())
            }),
        },
        Directive {
            name: "BrotliCompressionWindow",
            syntax: "BrotliCompressionWindow value",
            context: Context::HOST,
            default: Some("18"),
            doc: "How far back BROTLI_COMPRESS looks, as a power of two.",
            accepts: &["BrotliCompressionWindow 10", "BrotliCompressionWindow 24"],
            refuses: &["BrotliCompressionWindow 9", "BrotliCompressionWindow 25"],
            set: Set::Take1(|slot, word| {
                let bits = values::small(word, "BrotliCompressionWindow", 10..=24)?;
                slot.host.window_bits = Some(bits);
                Ok(())
            }),
        },
        Directive {
            name: "BrotliCompressionMaxInputBlock",
            syntax: "BrotliCompressionMaxInputBlock value",
            context: Context::HOST,
            default: None,
            doc: "How much content is looked at in one piece.",
            accepts: &["BrotliCompressionMaxInputBlock 18"],
            refuses: &[],
            set: Set::Ignored("the coder chooses by the quality"),
        },
        Directive {
            name: "BrotliAlterETag",
            syntax: "BrotliAlterETag AddSuffix|NoChange|Remove",
            context: Context::HOST,
            default: Some("AddSuffix"),
            doc: "What becomes of the ETag of coded content: `\"a\"` to `\"a-br\"` without it.",
            accepts: &["BrotliAlterETag NoChange"],
            refuses: &["BrotliAlterETag", "BrotliAlterETag Yes"],
            set: Set::Take1(|slot, word| {
                slot.host.etag = Some(AlterETag::parse(word, "BrotliAlterETag")?);
                Ok(())
            }),
        },
        Directive {
            name: "BrotliFilterNote",
            syntax: "BrotliFilterNote [Input|Output|Ratio] notename",
            context: Context::HOST,
            default: None,
            doc: "Notes for the access log of how much content BROTLI_COMPRESS has read and made.",
            accepts: &[
                "BrotliFilterNote ratio",
                "BrotliFilterNote Output outstream",
            ],
            refuses: &["BrotliFilterNote", "BrotliFilterNote Size x"],
            set: Set::Take12(|slot, first, second| slot.host.notes.add(first, second)),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            quality: inner.quality.or(outer.quality),
            window_bits: inner.window_bits.or(outer.window_bits),
            etag: inner.etag.or(outer.etag),
            notes: inner.notes.or(&outer.notes),
        }
    }

    fn merge_section(_outer: &(), _inner: &()) {}
}

/// httpd: the filter `BROTLI_COMPRESS`.
pub(crate) fn compress(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    let host: &Host = exchange.host_settings();
    let usual = Brotli::default();
    let coding = Coding {
        name: "br",
        switch: "no-brotli",
        force: None,
        filter: Filter::Brotli(Brotli {
            quality: host.quality.unwrap_or(usual.quality),
            window_bits: host.window_bits.unwrap_or(usual.window_bits),
        }),
        etag: host.etag.unwrap_or_default(),
        notes: &host.notes,
    };
    coding.apply(exchange, outgoing)
}
