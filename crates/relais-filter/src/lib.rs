//! What is done to the content of a response on its way: compression,
//! decompression and substitution.
//!
//! A [`Filter`] is what a configuration asks for, plain data that is shared by
//! all requests. A [`Chain`] is the filters of one response at work: bytes go
//! in as they come and come out as soon as they can. Nothing here knows where
//! the bytes are from, what a header field is, or what time it is.

mod brotli;
mod gzip;
mod substitute;

use std::fmt;
use std::sync::Arc;

pub use brotli::Brotli;
pub use gzip::{Deflate, Inflate};
pub use substitute::{Rule, Search, Substitution};

/// One filter, as a configuration has it.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Content in gzip becomes plain (mod_deflate's `INFLATE`).
    Inflate(Inflate),
    /// Texts in lines are replaced (mod_substitute).
    Substitute(Arc<Substitution>),
    /// Content becomes gzip (mod_deflate's `DEFLATE`).
    Deflate(Deflate),
    /// Content becomes brotli (mod_brotli).
    Brotli(Brotli),
}

/// Why content cannot be filtered on. The response is broken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterError {
    /// What should be gzip is not, or ends too early.
    Corrupt,
    /// It grows more than the configuration lets it.
    Ratio,
    /// A line is longer than the configuration lets it be.
    LineTooLong,
    /// A pattern was given up on this line.
    Pattern,
    /// A coder refuses its own output.
    Coder,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "the content is no valid gzip",
            Self::Ratio => "the content grows more than DeflateInflateRatioLimit when inflated",
            Self::LineTooLong => "a line is longer than SubstituteMaxLineLength",
            Self::Pattern => "a Substitute pattern reached its match limit",
            Self::Coder => "the content could not be compressed",
        })
    }
}

impl std::error::Error for FilterError {}

/// The filters of one response at work, the first of them nearest to where the
/// content comes from.
pub struct Chain {
    stages: Vec<Stage>,
    /// Whether something may be held back.
    holds: bool,
}

/// One filter at work, and what it has made on its way to the next.
struct Stage {
    coder: Coder,
    made: Vec<u8>,
    input: u64,
    output: u64,
}

enum Coder {
    Inflate(gzip::Inflater),
    Substitute(substitute::Editor),
    Deflate(gzip::Deflater),
    Brotli(brotli::Compressor),
}

/// What follows the bytes that a filter gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// More, soon.
    More,
    /// Nothing for a while: what can come out has to.
    Pause,
    /// Nothing.
    End,
}

impl Chain {
    /// Begins to filter a response.
    #[must_use]
    pub fn new(filters: &[Filter]) -> Self {
        let stages = filters.iter().map(|filter| Stage {
            coder: Coder::new(filter),
            made: Vec::new(),
            input: 0,
            output: 0,
        });
        Self {
            stages: stages.collect(),
            holds: false,
        }
    }

    /// How many bytes have gone into the filter in a place, and come out of it.
    #[must_use]
    pub fn traffic(&self, place: usize) -> (u64, u64) {
        let stage = self.stages.get(place);
        stage.map_or((0, 0), |stage| (stage.input, stage.output))
    }

    /// Filters some content; what is ready is put behind `out`.
    ///
    /// # Errors
    /// When the content cannot be filtered; `out` is of no use then.
    pub fn push(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        // Inflated content is up to a thousand times as long, and what is made
        // of one piece is in memory as a whole.
        self.holds |= !content.is_empty();
        for piece in content.chunks(PIECE) {
            self.drive(piece, Ending::More, out)?;
        }
        Ok(())
    }

    /// Lets out what is held back, as far as the filters can part with it:
    /// there may be no more content for a while.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        if !std::mem::take(&mut self.holds) {
            return Ok(());
        }
        self.drive(b"", Ending::Pause, out)
    }

    /// Ends the content.
    ///
    /// # Errors
    /// As [`Self::push`], and when the content ends too early.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        self.drive(b"", Ending::End, out)
    }

    fn drive(
        &mut self,
        content: &[u8],
        ending: Ending,
        out: &mut Vec<u8>,
    ) -> Result<(), FilterError> {
        let Some(last) = self.stages.len().checked_sub(1) else {
            out.extend_from_slice(content);
            return Ok(());
        };
        for at in 0..=last {
            let (before, rest) = self.stages.split_at_mut(at);
            let input = before.last().map_or(content, |stage| &stage.made);
            let Some(stage) = rest.first_mut() else {
                break;
            };
            stage.input += input.len() as u64;
            let before = out.len();
            stage.output += if at == last {
                stage.coder.run(input, ending, out)?;
                out.len() - before
            } else {
                stage.made.clear();
                stage.coder.run(input, ending, &mut stage.made)?;
                stage.made.len()
            } as u64;
        }
        Ok(())
    }
}

impl Coder {
    fn new(filter: &Filter) -> Self {
        match filter {
            Filter::Inflate(inflate) => Self::Inflate(gzip::Inflater::new(inflate)),
            Filter::Substitute(rules) => Self::Substitute(substitute::Editor::new(rules)),
            Filter::Deflate(deflate) => Self::Deflate(gzip::Deflater::new(deflate)),
            Filter::Brotli(brotli) => Self::Brotli(brotli::Compressor::new(brotli)),
        }
    }

    fn run(&mut self, input: &[u8], ending: Ending, out: &mut Vec<u8>) -> Result<(), FilterError> {
        match self {
            Self::Inflate(coder) => coder.run(input, ending, out),
            Self::Substitute(coder) => coder.run(input, ending, out),
            Self::Deflate(coder) => coder.run(input, ending, out),
            Self::Brotli(coder) => coder.run(input, ending, out),
        }
    }
}

/// Bytes that go through the filters at a time.
const PIECE: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The content after the filters, given in pieces of some length with a
    /// pause behind each.
    fn filtered(filters: &[Filter], content: &[u8], piece: usize) -> Result<Vec<u8>, FilterError> {
        let (mut chain, mut out) = (Chain::new(filters), Vec::new());
        for bytes in content.chunks(piece) {
            chain.push(bytes, &mut out)?;
            chain.flush(&mut out)?;
        }
        chain.finish(&mut out)?;
        Ok(out)
    }

    fn text() -> Vec<u8> {
        b"hello world, hello again\n".repeat(400)
    }

    #[test]
    fn gzip_there_and_back_in_pieces() {
        let there = [Filter::Deflate(Deflate::default())];
        let back = [Filter::Inflate(Inflate::default())];
        for piece in [1, 7, 1000, 100_000] {
            let gzip = filtered(&there, &text(), piece).unwrap();
            assert_eq!(gzip[..2], [0x1f, 0x8b], "{piece}");
            assert_eq!(filtered(&back, &gzip, piece).unwrap(), text(), "{piece}");
        }
    }

    #[test]
    fn several_filters_work_on_each_others_output() {
        let there = [Filter::Deflate(Deflate::default())];
        let rule = Rule {
            search: Search::literal(b"hello", false),
            replacement: b"bye".to_vec(),
            flatten: true,
        };
        let rules = Substitution {
            rules: vec![Arc::new(rule)],
            line_max: 1024,
        };
        let all = [
            Filter::Inflate(Inflate::default()),
            Filter::Substitute(Arc::new(rules)),
            Filter::Brotli(Brotli::default()),
        ];
        let gzip = filtered(&there, &text(), 999).unwrap();
        let brotli = filtered(&all, &gzip, 50).unwrap();
        let mut plain = Vec::new();
        ::brotli::BrotliDecompress(&mut brotli.as_slice(), &mut plain).unwrap();
        let expected = String::from_utf8(text()).unwrap().replace("hello", "bye");
        assert_eq!(plain, expected.as_bytes());
    }

    #[test]
    fn a_pause_lets_everything_out() {
        let (mut out, mut plain) = (Vec::new(), Vec::new());
        let mut there = Chain::new(&[Filter::Deflate(Deflate::default())]);
        let mut back = Chain::new(&[Filter::Inflate(Inflate::default())]);
        there.push(b"data: 1\n\n", &mut out).unwrap();
        there.flush(&mut out).unwrap();
        back.push(&out, &mut plain).unwrap();
        assert_eq!(plain, b"data: 1\n\n");
    }

    #[test]
    fn broken_gzip_is_an_error() {
        let back = [Filter::Inflate(Inflate::default())];
        let there = [Filter::Deflate(Deflate::default())];
        let gzip = filtered(&there, &text(), 5000).unwrap();
        let cut = &gzip[..gzip.len() - 9];
        assert_eq!(filtered(&back, cut, 100), Err(FilterError::Corrupt));
        assert_eq!(filtered(&back, b"hello", 100), Err(FilterError::Corrupt));
        assert_eq!(filtered(&back, b"", 100), Ok(Vec::new()));
    }

    #[test]
    fn what_grows_too_much_is_an_error() {
        let there = [Filter::Deflate(Deflate::default())];
        let back = [Filter::Inflate(Inflate::default())];
        let gzip = filtered(&there, &vec![0; 4 << 20], 1 << 20).unwrap();
        assert_eq!(filtered(&back, &gzip, 512), Err(FilterError::Ratio));
    }
}
