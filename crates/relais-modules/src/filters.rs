//! Output filters by name, and which of them an answer goes through.
//!
//! httpd keeps filters in a chain by type, so that `DEFLATE;SUBSTITUTE` works in
//! the same order as `SUBSTITUTE;DEFLATE` (`util_filter.h`).

use relais_conf::Text;
use relais_filter::Filter;
use relais_policy::{Amount, Answered, Content, Exchange, FilterNote, Outgoing, Problem, Unfit};

use crate::values;
use crate::{core, mod_brotli, mod_deflate, mod_filter, mod_mime, mod_ratelimit, mod_substitute};

/// A filter that a configuration may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutputFilter {
    Inflate,
    Substitute,
    Deflate,
    Brotli,
    RateLimit,
}

impl OutputFilter {
    /// The filter of a name, in any case.
    pub(crate) fn parse(word: &Text) -> Result<Self, Problem> {
        let name = word.lossy().to_ascii_uppercase();
        Ok(match name.as_str() {
            "INFLATE" => Self::Inflate,
            "SUBSTITUTE" => Self::Substitute,
            "DEFLATE" => Self::Deflate,
            "BROTLI_COMPRESS" => Self::Brotli,
            "RATE_LIMIT" => Self::RateLimit,
            _ => {
                let why = REFUSED.iter().find(|(refused, _)| *refused == name);
                let message = match why {
                    Some((_, why)) => {
                        format!("the filter {} is not supported: {why}", word.lossy())
                    }
                    None => format!("there is no filter named {}", word.lossy()),
                };
                let help =
                    "the filters are DEFLATE, INFLATE, BROTLI_COMPRESS, SUBSTITUTE and RATE_LIMIT";
                return Err(Problem::at(word.span(), message).with_help(help));
            }
        })
    }
}

impl OutputFilter {
    /// Where in the chain it works; those of one rank in the order in which
    /// they are named.
    fn rank(self) -> u8 {
        match self {
            Self::Inflate => 0,
            Self::Substitute => 1,
            Self::Deflate | Self::Brotli => 2,
            Self::RateLimit => 3,
        }
    }
}

/// httpd's filters that relais will not have, and why.
const REFUSED: &[(&str, &str)] = &[
    ("INCLUDES", "relais serves files as they are"),
    (
        "PROXY-HTML",
        "links in pages are not rewritten; SUBSTITUTE may do",
    ),
    ("XML2ENC", "contents keep their character set"),
    ("CHARSET-LITE", "contents keep their character set"),
    ("SED", "SUBSTITUTE does the same"),
    ("CACHE", "relais keeps no copies of answers"),
    ("BUFFER", "answers go on as they come"),
    ("REFLECTOR", "relais does not answer with the request"),
    ("DUMP", "relais has no filter for it"),
];

/// The names of a list `filter;filter`.
pub(crate) fn names(word: &Text) -> Result<Vec<OutputFilter>, Problem> {
    let mut start = 0;
    let mut filters = Vec::new();
    for name in word.bytes().split(|&byte| byte == b';') {
        let end = start + name.len();
        if !name.is_empty() {
            filters.push(OutputFilter::parse(&word.slice(start..end))?);
        }
        start = end + 1;
    }
    Ok(filters)
}

/// httpd: the filters that `insert_filter` hooks put into the chain, each with
/// what it does to the head.
pub(crate) fn outgoing(exchange: &Exchange<'_>, outgoing: &mut Outgoing<'_>) -> Result<(), Unfit> {
    // httpd throws the chain away for an error page of its own; a filter that
    // sees an end and nothing else goes out of the way.
    if outgoing.own_error || matches!(outgoing.content, Content::None | Content::Length(0)) {
        return Ok(());
    }
    for filter in wanted(exchange, outgoing) {
        match filter {
            OutputFilter::Inflate => mod_deflate::inflate(exchange, outgoing)?,
            OutputFilter::Substitute => mod_substitute::substitute(exchange, outgoing),
            OutputFilter::Deflate => mod_deflate::deflate(exchange, outgoing)?,
            OutputFilter::Brotli => mod_brotli::compress(exchange, outgoing)?,
            OutputFilter::RateLimit => mod_ratelimit::limit(exchange, outgoing),
        }
    }
    Ok(())
}

/// The filters that the configuration asks for, in the order of their types.
fn wanted(exchange: &Exchange<'_>, outgoing: &Outgoing<'_>) -> Vec<OutputFilter> {
    let mut filters = exchange
        .section_settings::<core::Section>()
        .output_filters()
        .to_vec();
    let proxied = exchange.proxy.as_ref().map(|proxy| {
        let mut parts = proxy.url.split(|&byte| byte == b'?');
        parts.next().unwrap_or_default()
    });
    let name = proxied
        .or(exchange.file.as_deref())
        .unwrap_or(&exchange.path);
    filters.extend(mod_mime::output_filters(exchange, name));
    let answered = Answered {
        exchange,
        status: outgoing.status,
        fields: [outgoing.fields, outgoing.always],
    };
    mod_filter::chosen(&answered, &mut filters);
    filters.sort_by_key(|filter| filter.rank());
    filters
}

/// What `DeflateFilterNote` and `BrotliFilterNote` keep.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Notes(Vec<(Amount, Box<[u8]>)>);

impl Notes {
    /// Adds one of `[type] name`.
    pub(crate) fn add(&mut self, first: &Text, second: Option<&Text>) -> Result<(), Problem> {
        let (amount, name) = match second {
            None => (Amount::Ratio, first),
            Some(name) => {
                let amounts = [Amount::Input, Amount::Output, Amount::Ratio];
                let index = values::choice(first, "The type", &["Input", "Output", "Ratio"])?;
                (amounts[index], name)
            }
        };
        self.0.retain(|(have, _)| *have != amount);
        self.0.push((amount, name.bytes().into()));
        Ok(())
    }

    /// These, or those of an outer server.
    pub(crate) fn or(&self, outer: &Self) -> Self {
        match self.0.is_empty() {
            true => outer.clone(),
            false => self.clone(),
        }
    }
}

/// What becomes of the entity tag of content that a filter changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum AlterETag {
    /// The filter's name behind it: another representation, another tag.
    #[default]
    AddSuffix,
    /// It stays.
    NoChange,
    /// It goes.
    Remove,
}

impl AlterETag {
    pub(crate) fn parse(word: &Text, name: &str) -> Result<Self, Problem> {
        let choices = ["AddSuffix", "NoChange", "Remove"];
        let all = [Self::AddSuffix, Self::NoChange, Self::Remove];
        values::choice(word, name, &choices).map(|index| all[index])
    }
}

/// Compression to a content coding, as mod_deflate and mod_brotli both do it.
pub(crate) struct Coding<'c> {
    /// The coding's name (`gzip`).
    pub(crate) name: &'static str,
    /// The variable with which an operator switches it off (`no-gzip`).
    pub(crate) switch: &'static str,
    /// What is set in the environment to code whatever the client accepts.
    pub(crate) force: Option<&'static str>,
    pub(crate) filter: Filter,
    pub(crate) etag: AlterETag,
    pub(crate) notes: &'c Notes,
}

impl Coding<'_> {
    /// Codes the content if it may be and the client takes it.
    pub(crate) fn apply(
        self,
        exchange: &Exchange<'_>,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), Unfit> {
        if !self.may_code(exchange, outgoing) {
            return Ok(());
        }
        merge_vary(outgoing, "Accept-Encoding")?;
        let forced = self.force.is_some_and(|name| set(exchange, name));
        if !forced && !accepts(exchange, self.name.as_bytes()) {
            return Ok(());
        }
        outgoing.always.remove("Content-Encoding");
        outgoing
            .fields
            .set("Content-Encoding", self.name)
            .map_err(|_| Unfit)?;
        outgoing.fields.remove("Content-MD5");
        alter_etag(outgoing, self.etag, self.name)?;
        push(outgoing, self.filter, self.notes);
        Ok(())
    }

    /// Whether the content is of a kind that is coded.
    fn may_code(&self, exchange: &Exchange<'_>, outgoing: &Outgoing<'_>) -> bool {
        let field = |name: &str| {
            outgoing
                .always
                .get(name)
                .or_else(|| outgoing.fields.get(name))
        };
        let media_type = field("Content-Type").unwrap_or_default();
        let is_type = |name: &[u8]| {
            let part = media_type.get(..name.len()).unwrap_or_default();
            part.eq_ignore_ascii_case(name)
        };
        // An event stream is read as it comes; a buffering coder in the browser
        // or on the way would hold it back.
        !(set(exchange, self.switch)
            || is_type(b"text/event-stream")
            || set(exchange, "gzip-only-text/html") && !is_type(b"text/html")
            || field("Content-Range").is_some()
            || field("Content-Encoding").is_some_and(|coding| !is_identity(coding))
            || matches!(outgoing.content, Content::Length(length) if length < WORTHWHILE))
    }
}

/// Content so short that a coding makes it longer.
const WORTHWHILE: u64 = 60;

/// A variable that is set, and not to `0`.
fn set(exchange: &Exchange<'_>, name: &str) -> bool {
    let value = exchange.environment.get(name.as_bytes());
    value.is_some_and(|value| value != b"0")
}

fn is_identity(coding: &[u8]) -> bool {
    let names: [&[u8]; 4] = [b"identity", b"7bit", b"8bit", b"binary"];
    names.iter().any(|name| name.eq_ignore_ascii_case(coding))
}

/// Whether Accept-Encoding names a coding, and not with a quality of zero.
/// As in httpd, `*` does not.
fn accepts(exchange: &Exchange<'_>, coding: &[u8]) -> bool {
    let lists = exchange.fields().get_all("Accept-Encoding");
    let mut members = lists.flat_map(|list| list.split(|&byte| byte == b','));
    members.any(|member| {
        let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let named = parts
            .next()
            .unwrap_or_default()
            .eq_ignore_ascii_case(coding);
        named && !parts.any(is_zero_quality)
    })
}

/// `q=0`, with or without decimals.
fn is_zero_quality(parameter: &[u8]) -> bool {
    match parameter {
        [b'q' | b'Q', b'=', b'0', rest @ ..] => rest.iter().all(|byte| matches!(byte, b'.' | b'0')),
        _ => false,
    }
}

/// Adds a name to `Vary` unless it is there, as one line without spaces
/// (httpd's `fix_vary`).
fn merge_vary(outgoing: &mut Outgoing<'_>, name: &str) -> Result<(), Unfit> {
    let lists = outgoing.fields.get_all("Vary");
    let members = lists.flat_map(|list| list.split(|&byte| byte == b','));
    let mut members: Vec<&[u8]> = members.map(<[u8]>::trim_ascii).collect();
    let name = name.as_bytes();
    if members
        .iter()
        .any(|member| member.eq_ignore_ascii_case(name))
    {
        return Ok(());
    }
    members.push(name);
    let value = members.join(&b',');
    outgoing.fields.set("Vary", value).map_err(|_| Unfit)
}

/// Makes the entity tag that of the changed content: `"a"` becomes `"a-gzip"`.
pub(crate) fn alter_etag(
    outgoing: &mut Outgoing<'_>,
    how: AlterETag,
    suffix: &str,
) -> Result<(), Unfit> {
    match (how, outgoing.fields.get("ETag")) {
        (AlterETag::NoChange, _) | (_, None) => Ok(()),
        (AlterETag::Remove, _) => {
            outgoing.fields.remove("ETag");
            Ok(())
        }
        (AlterETag::AddSuffix, Some(tag)) => {
            let Some(open) = tag.strip_suffix(b"\"").filter(|open| open.contains(&b'"')) else {
                return Ok(());
            };
            let tag = [open, b"-", suffix.as_bytes(), b"\""].concat();
            outgoing.fields.set("ETag", tag).map_err(|_| Unfit)
        }
    }
}

/// Puts a filter behind those that there are.
pub(crate) fn push(outgoing: &mut Outgoing<'_>, filter: Filter, notes: &Notes) {
    outgoing.content = Content::Unknown;
    let place = outgoing.filters.chain.len();
    outgoing.filters.chain.push(filter);
    let notes = notes.0.iter().map(|(amount, name)| FilterNote {
        place,
        amount: *amount,
        name: name.clone(),
    });
    outgoing.filters.notes.extend(notes);
}
