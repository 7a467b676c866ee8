//! Log formats: what `LogFormat` and `CustomLog` may say, and lines made from it.
//!
//! A format is parsed once (`parse`), and turned into text per request (`render`) from a [`Record`]. The line of a
//! tunnel is written long after its request is gone: [`LogFormat::prepare`] renders what is known at the hand-off into
//! one small buffer, and [`PendingLine::finish`] fills in the rest.
//!
//! Source: httpd manual pages `mod_log_config` and `mod_logio`.

mod parse;
mod pending;
mod record;
mod render;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use parse::FormatError;
pub use pending::PendingLine;
pub use record::{ConnectionState, LineEnd, Record, TunnelFacts, TunnelKinds};

use crate::zone::Zone;
use parse::{Field, Item};

/// A parsed log format; clones share it.
#[derive(Clone, Debug)]
pub struct LogFormat {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    items: Vec<Item>,
    zone: Zone,
}

impl LogFormat {
    /// The format used where none is named: the common log format.
    pub const COMMON: &'static [u8] = b"%h %l %u %t \"%r\" %>s %b";

    /// Parses a format; times will be in the system's time zone.
    ///
    /// # Errors
    /// The first directive that is unknown or cut off.
    pub fn parse(format: &[u8]) -> Result<Self, FormatError> {
        Self::parse_in(format, Zone::system())
    }

    /// As [`parse`](Self::parse), with times in another zone.
    ///
    /// # Errors
    /// The first directive that is unknown or cut off.
    pub fn parse_in(format: &[u8], zone: Zone) -> Result<Self, FormatError> {
        let items = parse::parse(format)?;
        Ok(Self {
            shared: Arc::new(Shared { items, zone }),
        })
    }

    /// The common log format, parsed.
    pub fn common() -> Self {
        Self::parse(Self::COMMON).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// Appends the line of a request that is over, with its newline.
    pub fn write(&self, record: &dyn Record, out: &mut Vec<u8>) {
        let end = LineEnd::of(record);
        for item in &self.shared.items {
            match item {
                Item::Text(text) => out.extend_from_slice(text),
                Item::Field(field) if !field.applies(record) => out.push(b'-'),
                Item::Field(field) if render::is_late(&field.what) => {
                    render::late(&field.what, &end, &self.shared.zone, out);
                }
                Item::Field(field) => {
                    render::early(&field.what, field.of(record), &self.shared.zone, out)
                }
            }
        }
    }

    /// Renders what is known when a tunnel is handed off; the record is not needed any more afterwards.
    pub fn prepare(&self, record: &dyn Record) -> PendingLine {
        PendingLine::new(self, record)
    }
}

impl Field {
    fn applies(&self, record: &dyn Record) -> bool {
        self.when
            .as_ref()
            .is_none_or(|when| when.holds(record.status()))
    }

    fn of<'a>(&self, record: &'a dyn Record) -> &'a dyn Record {
        if self.original {
            record.original().unwrap_or(record)
        } else {
            record
        }
    }
}
