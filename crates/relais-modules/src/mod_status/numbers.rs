//! Numbers and times as httpd's pages write them.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// C's `%g` with this many significant digits, as apr writes it: without a
/// zero in front of the point.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if magnitude >= digits as i32 || magnitude < -4 {
        return format!("{value:.*e}", digits - 1);
    }
    let places = usize::try_from(digits as i32 - 1 - magnitude).unwrap_or(0);
    let text = format!("{value:.places$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    match text.strip_prefix("0.") {
        Some(rest) => format!(".{rest}"),
        None => text.to_owned(),
    }
}

/// `%g`.
pub(super) fn general(value: f64) -> String {
    significant(value, 6)
}

/// Bytes in the unit that suits them (`format_byte_out`).
pub(super) fn bytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0..5120 => format!("{count} B"),
        5120..524_288 => format!("{:.1} kB", value / 1024.0),
        524_288..536_870_912 => format!("{:.1} MB", value / 1_048_576.0),
        _ => format!("{:.1} GB", value / 1_073_741_824.0),
    }
}

/// Kilobytes in the unit that suits them (`format_kbyte_out`).
pub(super) fn kilobytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0..1024 => format!("{count} kB"),
        1024..1_048_576 => format!("{:.1} MB", value / 1024.0),
        _ => format!("{:.1} GB", value / 1_048_576.0),
    }
}

/// A time in words, each with a space in front (`show_time`).
pub(super) fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let named = parts.iter().filter(|(count, _)| *count > 0);
    named
        .map(|(count, unit)| format!(" {count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect()
}

/// A moment as httpd shows it, in local time.
pub(crate) fn moment(time: SystemTime) -> String {
    let stamp = Timestamp::try_from(time).unwrap_or_default();
    let zone = TimeZone::system();
    let info = zone.to_offset_info(stamp);
    let local = info.offset().to_datetime(stamp);
    let shown = local.strftime("%A, %d-%b-%Y %H:%M:%S");
    format!("{shown} {}", info.abbreviation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_apr_writes_them() {
        let table: &[(f64, &str)] = &[
            (0.0, "0"),
            (0.5, ".5"),
            (5.0 / 14.0, ".357143"),
            (950.857_142, "950.857"),
            (4096.0, "4096"),
            (1e7, "1.00000e7"),
            (12.0, "12"),
        ];
        for &(value, expected) in table {
            assert_eq!(general(value), expected);
        }
        assert_eq!(significant(12.34, 3), "12.3");
        assert_eq!(
            words(Duration::from_secs(90_061)),
            " 1 day 1 hour 1 minute 1 second"
        );
        assert_eq!(words(Duration::from_secs(120)), " 2 minutes");
        assert_eq!(
            (bytes(5119), bytes(5120)),
            ("5119 B".to_owned(), "5.0 kB".to_owned())
        );
        assert_eq!(
            (kilobytes(1023), kilobytes(2048)),
            ("1023 kB".to_owned(), "2.0 MB".to_owned())
        );
    }
}
