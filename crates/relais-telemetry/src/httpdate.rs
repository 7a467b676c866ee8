//! The `Date` field's value (RFC 9110 §5.6.7, IMF-fixdate), made once per second and thread.

use std::cell::Cell;
use std::io::Write as _;
use std::time::SystemTime;

use crate::zone;

/// The IMF-fixdate of `now`, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// A time outside the years 0 to 9999, which the format cannot express, is shown as the start of 1970.
pub fn date_header(now: SystemTime) -> [u8; 29] {
    let (second, _) = zone::split(now);
    CURRENT.with(|current| {
        let (known, text) = current.get();
        if known == second {
            return text;
        }
        let text = render(second);
        current.set((second, text));
        text
    })
}

fn render(second: i64) -> [u8; 29] {
    let mut at = zone::utc(second);
    if at.year() < 0 {
        at = zone::utc(0);
    }
    let mut text = EPOCH;
    let mut room = &mut text[..];
    // The text has exactly as many bytes as the array has room for.
    let _ = write!(
        room,
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        zone::weekday(at.weekday().to_sunday_zero_offset()),
        at.day(),
        zone::month(at.month()),
        at.year(),
        at.hour(),
        at.minute(),
        at.second(),
    );
    text
}

const EPOCH: [u8; 29] = *b"Thu, 01 Jan 1970 00:00:00 GMT";

thread_local! {
    static CURRENT: Cell<(i64, [u8; 29])> = const { Cell::new((0, EPOCH)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates() {
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_207_200, "Thu, 30 Dec 9999 22:00:00 GMT"),
            (1_000_000_000_000, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        ];
        for (second, expected) in cases {
            let now = UNIX_EPOCH + Duration::from_secs(second) + Duration::from_millis(999);
            assert_eq!(String::from_utf8_lossy(&date_header(now)), expected);
        }
    }

    #[test]
    fn before_1970() {
        let now = UNIX_EPOCH - Duration::from_millis(1);
        assert_eq!(&date_header(now), b"Wed, 31 Dec 1969 23:59:59 GMT");
    }
}
