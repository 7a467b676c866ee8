//! brotli (RFC 7932), as mod_brotli's filter has it.

use std::io::Write as _;

use brotli::CompressorWriter;

use crate::{Ending, FilterError};

/// `BROTLI_COMPRESS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Brotli {
    /// 0 to 11; higher is smaller and slower.
    pub quality: u32,
    /// The window's size as a power of two, 10 to 24.
    pub window_bits: u32,
}

impl Default for Brotli {
    fn default() -> Self {
        Self {
            quality: 5,
            window_bits: 18,
        }
    }
}

/// Compresses one response; `None` once it has ended.
pub(crate) struct Compressor(Option<Box<CompressorWriter<Vec<u8>>>>);

impl Compressor {
    pub(crate) fn new(brotli: &Brotli) -> Self {
        let writer = CompressorWriter::new(Vec::new(), BUFFER, brotli.quality, brotli.window_bits);
        Self(Some(Box::new(writer)))
    }

    pub(crate) fn run(
        &mut self,
        input: &[u8],
        ending: Ending,
        out: &mut Vec<u8>,
    ) -> Result<(), FilterError> {
        let Some(writer) = &mut self.0 else {
            return Err(FilterError::Coder);
        };
        writer.write_all(input).map_err(|_| FilterError::Coder)?;
        match ending {
            Ending::More => {}
            Ending::Pause => writer.flush().map_err(|_| FilterError::Coder)?,
            Ending::End => {
                let last = self.0.take().map(|writer| writer.into_inner());
                out.extend_from_slice(&last.unwrap_or_default());
                return Ok(());
            }
        }
        out.append(writer.get_mut());
        Ok(())
    }
}

/// Bytes that the compressor gives to its writer at a time.
const BUFFER: usize = 4096;
