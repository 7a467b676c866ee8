//! Local time, with the last few seconds remembered per thread.
//!
//! `%t` stands in nearly every line, and most lines of a busy server fall into the same second. Its text, and the broken
//! down time other date forms are made from, are therefore kept for a few recent seconds, in the thread that asked.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// A time zone for log lines, normally the system's.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Tells zones apart in the per-thread memory without comparing their rules.
    id: u32,
    rules: TimeZone,
}

impl Zone {
    /// The system's time zone (`TZ` or `/etc/localtime`), looked up once per process.
    pub fn system() -> Self {
        static SYSTEM: OnceLock<Zone> = OnceLock::new();
        SYSTEM.get_or_init(|| Self::new(TimeZone::system())).clone()
    }

    /// A zone of the caller's choice.
    pub fn new(rules: TimeZone) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            rules,
        }
    }

    /// Calls `f` with the local time of `second` (seconds since 1970) and its rendered `%t`.
    pub(crate) fn with_second<R>(&self, second: i64, f: impl FnOnce(&Recent) -> R) -> R {
        RECENT.with_borrow_mut(|recent| {
            let slot = &mut recent[(second & 3) as usize];
            match slot {
                Some(known) if known.local.second == second && known.zone == self.id => f(known),
                _ => f(slot.insert(Recent::new(self, second))),
            }
        })
    }
}

/// A second as a local clock and calendar show it.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// Seconds since 1970.
    pub(crate) second: i64,
    pub(crate) datetime: DateTime,
    /// Seconds east of UTC.
    pub(crate) offset: i32,
    /// Such as `CET`; empty only if the zone data has none.
    pub(crate) abbreviation: Box<str>,
}

/// One remembered second.
pub(crate) struct Recent {
    zone: u32,
    pub(crate) local: Local,
    /// The common log format's time, `[22/Nov/2026:11:52:50 +0000]`.
    pub(crate) clf: Vec<u8>,
}

impl Recent {
    fn new(zone: &Zone, second: i64) -> Self {
        // A clock outside the years -9999..9999 is shown as the epoch instead of being an error nobody can handle.
        let timestamp = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        let info = zone.rules.to_offset_info(timestamp);
        let local = Local {
            second,
            datetime: info.offset().to_datetime(timestamp),
            offset: info.offset().seconds(),
            abbreviation: info.abbreviation().into(),
        };
        let clf = common_log_time(&local);
        Self {
            zone: zone.id,
            local,
            clf,
        }
    }
}

/// Splits a time into seconds since 1970, rounded down, and microseconds within that second.
pub(crate) fn split(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_micros()),
        Err(before) => {
            let micros = -(before.duration().as_micros() as i64);
            (
                micros.div_euclid(1_000_000),
                micros.rem_euclid(1_000_000) as u32,
            )
        }
    }
}

/// The civil time of `second` in UTC.
pub(crate) fn utc(second: i64) -> DateTime {
    let timestamp = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::UTC.to_datetime(timestamp)
}

/// The offset as `+hhmm`, in the form both `%t` and strftime's `%z` use.
pub(crate) fn write_offset(offset: i32, out: &mut Vec<u8>) {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60);
}

fn common_log_time(local: &Local) -> Vec<u8> {
    let at = &local.datetime;
    let mut out = Vec::with_capacity(32);
    let _ = write!(
        out,
        "[{:02}/{}/{}:{:02}:{:02}:{:02} ",
        at.day(),
        month(at.month()),
        at.year(),
        at.hour(),
        at.minute(),
        at.second(),
    );
    write_offset(local.offset, &mut out);
    out.push(b']');
    out
}

/// The three-letter name of month 1 to 12.
pub(crate) fn month(number: i8) -> &'static str {
    name(&MONTHS, number - 1).get(..3).unwrap_or_default()
}

/// The three-letter name of a weekday counted from Sunday.
pub(crate) fn weekday(from_sunday: i8) -> &'static str {
    name(&WEEKDAYS, from_sunday).get(..3).unwrap_or_default()
}

/// An entry of [`MONTHS`] or [`WEEKDAYS`], counted from 0.
pub(crate) fn name(names: &'static [&'static str], index: i8) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or_default()
}

/// English month names: httpd renders dates in the C locale.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// English weekday names, from Sunday.
pub(crate) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

thread_local! {
    static RECENT: RefCell<[Option<Recent>; 4]> = const { RefCell::new([None, None, None, None]) };
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;

    pub(crate) fn zone(name: &str) -> Zone {
        Zone::new(TimeZone::get(name).expect("zone data is installed or bundled"))
    }

    #[test]
    fn common_log_times_across_zones() {
        let cases = [
            ("UTC", 1_795_348_370, "[22/Nov/2026:11:52:50 +0000]"),
            (
                "America/St_Johns",
                1_795_532_725,
                "[24/Nov/2026:11:35:25 -0330]",
            ),
            (
                "Asia/Kathmandu",
                1_795_348_370,
                "[22/Nov/2026:17:37:50 +0545]",
            ),
            // The hour that summer time repeats: same clock, other offset.
            (
                "Europe/Paris",
                1_792_888_200,
                "[25/Oct/2026:02:30:00 +0200]",
            ),
            (
                "Europe/Paris",
                1_792_891_800,
                "[25/Oct/2026:02:30:00 +0100]",
            ),
            (
                "Pacific/Kiritimati",
                1_798_720_000,
                "[01/Jan/2027:02:26:40 +1400]",
            ),
            ("UTC", 951_782_400, "[29/Feb/2000:00:00:00 +0000]"),
            ("UTC", -1, "[31/Dec/1969:23:59:59 +0000]"),
            ("UTC", i64::MAX, "[01/Jan/1970:00:00:00 +0000]"),
        ];
        for (name, second, expected) in cases {
            let zone = zone(name);
            // Twice, so that the second answer comes from memory.
            for _ in 0..2 {
                let clf = zone.with_second(second, |recent| recent.clf.clone());
                assert_eq!(String::from_utf8_lossy(&clf), expected, "{name} {second}");
            }
        }
    }

    #[test]
    fn memory_keeps_zones_and_seconds_apart() {
        let (here, there) = (zone("UTC"), zone("Asia/Tokyo"));
        let clf = |zone: &Zone, second| zone.with_second(second, |recent| recent.clf.clone());
        let first = clf(&here, 1_000_000_000);
        assert_ne!(clf(&there, 1_000_000_000), first);
        assert_ne!(
            clf(&here, 1_000_000_004),
            first,
            "the same slot, another second"
        );
        assert_eq!(clf(&here, 1_000_000_000), first);
    }

    #[test]
    fn times_split_downwards() {
        let cases = [
            (UNIX_EPOCH, (0, 0)),
            (UNIX_EPOCH + Duration::from_micros(1_500_000), (1, 500_000)),
            (UNIX_EPOCH - Duration::from_micros(1), (-1, 999_999)),
            (UNIX_EPOCH - Duration::from_secs(2), (-2, 0)),
        ];
        for (time, expected) in cases {
            assert_eq!(split(time), expected);
        }
    }
}
