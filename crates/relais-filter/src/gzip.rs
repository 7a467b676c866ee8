//! gzip (RFC 1952), as mod_deflate's filters have it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::{Ending, FilterError};

/// `DEFLATE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    /// 1 to 9; higher is smaller and slower.
    pub level: u32,
    /// The window's size as a power of two, 9 to 15.
    pub window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            level: 6,
            window_bits: 15,
        }
    }
}

/// `INFLATE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inflate {
    /// How many times as long as the gzip the content may be.
    pub ratio_max: u64,
    /// How many pieces in a row may be longer than that.
    pub burst: u32,
}

impl Default for Inflate {
    fn default() -> Self {
        Self {
            ratio_max: 200,
            burst: 3,
        }
    }
}

/// Compresses one response.
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new(deflate: &Deflate) -> Self {
        let level = Compression::new(deflate.level);
        Self(Compress::new_gzip(level, deflate.window_bits))
    }

    pub(crate) fn run(
        &mut self,
        mut input: &[u8],
        ending: Ending,
        out: &mut Vec<u8>,
    ) -> Result<(), FilterError> {
        let flush = match ending {
            Ending::More => FlushCompress::None,
            Ending::Pause => FlushCompress::Sync,
            Ending::End => FlushCompress::Finish,
        };
        loop {
            out.reserve(input.len() / 4 + ROOM);
            let before = self.0.total_in();
            let status = self
                .0
                .compress_vec(input, out, flush)
                .map_err(|_| FilterError::Coder)?;
            input = &input[taken(before, self.0.total_in())..];
            let done = match ending {
                Ending::End => status == Status::StreamEnd,
                // A full buffer may have more behind it.
                _ => input.is_empty() && out.len() < out.capacity(),
            };
            if done {
                return Ok(());
            }
        }
    }
}

/// Decompresses one response.
pub(crate) struct Inflater {
    coder: Decompress,
    limits: Inflate,
    /// Pieces in a row that were above the limit.
    over: u32,
    begun: bool,
    ended: bool,
}

impl Inflater {
    pub(crate) fn new(inflate: &Inflate) -> Self {
        Self {
            coder: Decompress::new_gzip(WINDOW_BITS_MAX),
            limits: *inflate,
            over: 0,
            begun: false,
            ended: false,
        }
    }

    pub(crate) fn run(
        &mut self,
        mut input: &[u8],
        ending: Ending,
        out: &mut Vec<u8>,
    ) -> Result<(), FilterError> {
        self.begun |= !input.is_empty();
        let (given, start) = (input.len(), out.len());
        // What follows the end of a gzip member is dropped, as in httpd.
        while !self.ended && !input.is_empty() {
            out.reserve(input.len().saturating_mul(4) + ROOM);
            let before = self.coder.total_in();
            let status = self
                .coder
                .decompress_vec(input, out, FlushDecompress::None)
                .map_err(|_| FilterError::Corrupt)?;
            input = &input[taken(before, self.coder.total_in())..];
            match status {
                Status::StreamEnd => self.ended = true,
                Status::Ok => {}
                // Nothing moved though there is input and room.
                Status::BufError if out.len() == out.capacity() => {}
                Status::BufError => return Err(FilterError::Corrupt),
            }
            self.drain(out)?;
        }
        self.watch(given, out.len() - start)?;
        match ending {
            Ending::End if self.begun && !self.ended => Err(FilterError::Corrupt),
            _ => Ok(()),
        }
    }

    /// Takes out what a full buffer has kept inside.
    fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        while !self.ended && out.len() == out.capacity() {
            out.reserve(ROOM);
            let before = out.len();
            match self
                .coder
                .decompress_vec(b"", out, FlushDecompress::None)
                .map_err(|_| FilterError::Corrupt)?
            {
                Status::StreamEnd => self.ended = true,
                _ if out.len() == before => break,
                _ => {}
            }
        }
        Ok(())
    }

    /// Counts pieces that grow too much (`DeflateInflateRatioLimit`).
    fn watch(&mut self, given: usize, made: usize) -> Result<(), FilterError> {
        if given == 0 {
            return Ok(());
        }
        if made as u64 / given as u64 > self.limits.ratio_max {
            self.over += 1;
            if self.over > self.limits.burst {
                return Err(FilterError::Ratio);
            }
        } else {
            self.over = 0;
        }
        Ok(())
    }
}

fn taken(before: u64, after: u64) -> usize {
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

/// Least room for output at a time.
const ROOM: usize = 1024;

/// The largest window there is; any gzip fits.
const WINDOW_BITS_MAX: u8 = 15;
