//! The content of a response on its way to the client: through the filters
//! that the configuration asks for, and no faster than it says.

use std::io;
use std::time::Duration;

use relais_filter::{Chain, FilterError};
use relais_policy::{Amount, Environment, Filters, Rate};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::time::write_all_within;

/// The filters of one response at work.
pub(crate) struct Refiner {
    chain: Chain,
    made: Vec<u8>,
}

impl Refiner {
    /// The filters at work, if there are any.
    pub(crate) fn of(filters: &Filters) -> Option<Self> {
        let chain = (!filters.chain.is_empty()).then(|| Chain::new(&filters.chain));
        chain.map(|chain| Self {
            chain,
            made: Vec::new(),
        })
    }

    /// What becomes of some content, as far as it is ready.
    pub(crate) fn push(&mut self, content: &[u8]) -> Result<&[u8], FilterError> {
        self.made.clear();
        self.chain.push(content, &mut self.made)?;
        Ok(&self.made)
    }

    /// What has been held back and can come out, since more content may be
    /// long in coming.
    pub(crate) fn pause(&mut self) -> Result<&[u8], FilterError> {
        self.made.clear();
        self.chain.flush(&mut self.made)?;
        Ok(&self.made)
    }

    /// The rest, behind the content's end.
    pub(crate) fn end(&mut self) -> Result<&[u8], FilterError> {
        self.made.clear();
        self.chain.finish(&mut self.made)?;
        Ok(&self.made)
    }

    /// Leaves the notes that the configuration wants for the access log.
    pub(crate) fn note(&self, filters: &Filters, notes: &mut Environment) {
        for note in &filters.notes {
            let (input, output) = self.chain.traffic(note.place);
            let amount = match note.amount {
                Amount::Input => input,
                Amount::Output => output,
                Amount::Ratio => (output * 100).checked_div(input).unwrap_or(0),
            };
            notes.set(&note.name, Some(amount.to_string().as_bytes()));
        }
    }
}

/// Content that is all there, through filters.
pub(crate) fn refined(filters: &Filters, content: Vec<u8>) -> Result<Vec<u8>, FilterError> {
    let Some(mut refiner) = Refiner::of(filters) else {
        return Ok(content);
    };
    let mut made = refiner.push(&content)?.to_vec();
    made.extend_from_slice(refiner.end()?);
    Ok(made)
}

/// Sends at a limited speed (mod_ratelimit).
pub(crate) struct Pace {
    rate: Rate,
    begun: Instant,
    sent: u64,
}

impl Pace {
    /// Begins to count; the head, of `head` bytes, goes out at once.
    pub(crate) fn new(rate: Rate, head: usize) -> Self {
        Self {
            rate: Rate {
                burst: rate.burst.saturating_add(head as u64),
                ..rate
            },
            begun: Instant::now(),
            sent: 0,
        }
    }

    /// Writes all bytes in their time; `limit` is for each piece.
    pub(crate) async fn write_all(
        &mut self,
        limit: Duration,
        to: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<()> {
        let piece = usize::try_from(self.rate.bytes / PIECES_A_SECOND).unwrap_or(usize::MAX);
        for part in bytes.chunks(piece.max(1)) {
            self.sent += part.len() as u64;
            tokio::time::sleep_until(self.begun + self.due()).await;
            write_all_within(limit, to, part).await?;
        }
        Ok(())
    }

    /// When all that is counted may have gone out.
    fn due(&self) -> Duration {
        let over = self.sent.saturating_sub(self.rate.burst);
        let millis = u128::from(over) * 1000 / u128::from(self.rate.bytes.max(1));
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// Pieces into which a second's content is cut, as in httpd.
const PIECES_A_SECOND: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_is_timed() {
        let rate = Rate {
            bytes: 1000,
            burst: 500,
        };
        let mut pace = Pace::new(rate, 100);
        let table = [(600, 0), (1, 1), (999, 1000), (2000, 3000)];
        for (more, millis) in table {
            pace.sent += more;
            assert_eq!(pace.due(), Duration::from_millis(millis), "{}", pace.sent);
        }
    }
}
