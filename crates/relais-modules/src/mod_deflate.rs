//! mod_deflate: content in gzip, there (`DEFLATE`) and back (`INFLATE`).

use relais_conf::Text;
use relais_filter::{Deflate, Filter, Inflate};
use relais_policy::{Context, Directive, Exchange, Module, Outgoing, Problem, Set, Unfit};

use crate::filters::{self, AlterETag, Coding, Notes};
use crate::values;

/// mod_deflate.
pub struct DeflateModule;

/// Per-server settings.
#[derive(Clone, Default, Debug)]
pub struct Host {
    level: Option<u32>,
    window_bits: Option<u8>,
    etag: Option<AlterETag>,
    notes: Notes,
}

/// Per-section settings.
#[derive(Clone, Default, Debug)]
pub struct Section {
    ratio_max: Option<u64>,
    burst: Option<u32>,
}

impl Module for DeflateModule {
    const NAME: &'static str = "mod_deflate";
    const IDENTIFIER: &'static str = "deflate_module";
    type Host = Host;
    type Section = Section;
    const DIRECTIVES: &'static [Directive<Self>] = &[
        Directive {
            name: "DeflateCompressionLevel",
            syntax: "DeflateCompressionLevel value",
            context: Context::HOST,
            default: None,
            doc: "How hard DEFLATE tries, from 1 to 9; 6 without it.",
            accepts: &["DeflateCompressionLevel 1", "DeflateCompressionLevel 9"],
            refuses: &["DeflateCompressionLevel", "DeflateCompressionLevel 10"],
            set: Set::Take1(|slot, word| {
                slot.host.level = Some(values::small(word, "DeflateCompressionLevel", 1..=9)?);
                Ok(())
            }),
        },
        Directive {
            name: "DeflateWindowSize",
            syntax: "DeflateWindowSize value",
            context: Context::HOST,
            default: Some("15"),
            doc: "How far back DEFLATE looks, as a power of two.",
            accepts: &["DeflateWindowSize 15", "DeflateWindowSize 9"],
            refuses: &["DeflateWindowSize", "DeflateWindowSize 16"],
            set: Set::Take1(|slot, word| {
                slot.host.window_bits = Some(window_bits(word)?);
                Ok(())
            }),
        },
        Directive {
            name: "DeflateMemLevel",
            syntax: "DeflateMemLevel value",
            context: Context::HOST,
            default: Some("9"),
            doc: "Memory that DEFLATE uses.",
            accepts: &["DeflateMemLevel 9"],
            refuses: &[],
            set: Set::Ignored("the coder chooses by the level"),
        },
        Directive {
            name: "DeflateBufferSize",
            syntax: "DeflateBufferSize value",
            context: Context::HOST,
            default: Some("8096"),
            doc: "Bytes that are coded at a time.",
            accepts: &["DeflateBufferSize 8096"],
            refuses: &[],
            set: Set::Ignored("content is coded as it comes"),
        },
        Directive {
            name: "DeflateAlterETag",
            syntax: "DeflateAlterETag AddSuffix|NoChange|Remove",
            context: Context::HOST,
            default: Some("AddSuffix"),
            doc: "What becomes of the ETag of coded content: `\"a\"` to `\"a-gzip\"` without it.",
            accepts: &["DeflateAlterETag NoChange", "DeflateAlterETag remove"],
            refuses: &["DeflateAlterETag", "DeflateAlterETag Yes"],
            set: Set::Take1(|slot, word| {
                slot.host.etag = Some(AlterETag::parse(word, "DeflateAlterETag")?);
                Ok(())
            }),
        },
        Directive {
            name: "DeflateFilterNote",
            syntax: "DeflateFilterNote [Input|Output|Ratio] notename",
            context: Context::HOST,
            default: None,
            doc: "Notes for the access log of how much content DEFLATE has read and made.",
            accepts: &[
                "DeflateFilterNote ratio",
                "DeflateFilterNote Input instream",
            ],
            refuses: &["DeflateFilterNote", "DeflateFilterNote Size x"],
            set: Set::Take12(|slot, first, second| slot.host.notes.add(first, second)),
        },
        Directive {
            name: "DeflateInflateRatioLimit",
            syntax: "DeflateInflateRatioLimit value",
            context: Context::ANY,
            default: Some("200"),
            doc: "How many times as long as its gzip inflated content may be.",
            accepts: &["DeflateInflateRatioLimit 100"],
            refuses: &["DeflateInflateRatioLimit", "DeflateInflateRatioLimit 0"],
            set: Set::Take1(|slot, word| {
                let name = "DeflateInflateRatioLimit";
                slot.section.ratio_max = Some(values::number(word, name, 1..=u64::from(u32::MAX))?);
                Ok(())
            }),
        },
        Directive {
            name: "DeflateInflateRatioBurst",
            syntax: "DeflateInflateRatioBurst value",
            context: Context::ANY,
            default: Some("3"),
            doc: "How many pieces in a row may be above DeflateInflateRatioLimit.",
            accepts: &["DeflateInflateRatioBurst 10"],
            refuses: &["DeflateInflateRatioBurst", "DeflateInflateRatioBurst x"],
            set: Set::Take1(|slot, word| {
                let name = "DeflateInflateRatioBurst";
                slot.section.burst = Some(values::small(word, name, 0..=u32::MAX)?);
                Ok(())
            }),
        },
    ];

    fn merge_host(outer: &Host, inner: &Host) -> Host {
        Host {
            level: inner.level.or(outer.level),
            window_bits: inner.window_bits.or(outer.window_bits),
            etag: inner.etag.or(outer.etag),
            notes: inner.notes.or(&outer.notes),
        }
    }

    fn merge_section(outer: &Section, inner: &Section) -> Section {
        Section {
            ratio_max: inner.ratio_max.or(outer.ratio_max),
            burst: inner.burst.or(outer.burst),
        }
    }
}

fn window_bits(word: &Text) -> Result<u8, Problem> {
    // zlib takes 8 for 9 when it compresses.
    let bits = values::small(word, "DeflateWindowSize", 1..=15)?;
    Ok(u8::try_from(bits.max(9)).unwrap_or(15))
}

/// httpd: the filter `DEFLATE`.
pub(crate) fn deflate(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    let host: &Host = exchange.host_settings();
    let usual = Deflate::default();
    let coding = Coding {
        name: "gzip",
        switch: "no-gzip",
        force: Some("force-gzip"),
        filter: Filter::Deflate(Deflate {
            level: host.level.unwrap_or(usual.level),
            window_bits: host.window_bits.unwrap_or(usual.window_bits),
        }),
        etag: host.etag.unwrap_or_default(),
        notes: &host.notes,
    };
    coding.apply(exchange, outgoing)
}

/// httpd: the filter `INFLATE`, for content that came in gzip and is wanted
/// plain.
pub(crate) fn inflate(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    let coding = outgoing.fields.get("Content-Encoding").unwrap_or_default();
    let names: [&[u8]; 2] = [b"gzip", b"x-gzip"];
    let plain = !names.iter().any(|name| coding.eq_ignore_ascii_case(name));
    if plain || outgoing.fields.contains("Content-Range") {
        return Ok(());
    }
    outgoing.fields.remove("Content-Encoding");
    outgoing.fields.remove("Content-MD5");
    let host: &Host = exchange.host_settings();
    filters::alter_etag(outgoing, host.etag.unwrap_or_default(), "gunzip")?;
    let section: &Section = exchange.section_settings();
    let usual = Inflate::default();
    let inflate = Inflate {
        ratio_max: section.ratio_max.unwrap_or(usual.ratio_max),
        burst: section.burst.unwrap_or(usual.burst),
    };
    filters::push(outgoing, Filter::Inflate(inflate), &Notes::default());
    Ok(())
}
