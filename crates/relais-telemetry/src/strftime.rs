//! `strftime` in the C locale, for `%{format}t`.
//!
//! httpd hands the format to the C library, so this follows glibc: flags `_ - 0 ^ #`, a width, the modifiers `E` and
//! `O` (without effect in the C locale), and an unknown conversion stands for itself.

use std::io::Write as _;

use crate::zone::{self, Local, MONTHS, WEEKDAYS};

/// Appends `local` in the given format.
pub(crate) fn write(format: &[u8], local: &Local, out: &mut Vec<u8>) {
    let mut rest = format;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let (spec, length) = Spec::parse(tail);
        let (text, after) = tail.split_at(length);
        match spec {
            Some(spec) if spec.write(local, out) => {}
            _ => out.extend_from_slice(text),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// One conversion, such as `%_5d`.
struct Spec {
    pad: Option<u8>,
    upper: bool,
    swap: bool,
    width: usize,
    conversion: u8,
}

impl Spec {
    /// Reads the conversion at the start of `text`, which begins with `%`; the second value is its length.
    fn parse(text: &[u8]) -> (Option<Self>, usize) {
        let mut spec = Self {
            pad: None,
            upper: false,
            swap: false,
            width: 0,
            conversion: b'%',
        };
        let mut at = 1;
        let mut modified = false;
        while let Some(&byte) = text.get(at) {
            match byte {
                b'_' | b'-' | b'0' if spec.width == 0 => spec.pad = Some(byte),
                b'^' => spec.upper = true,
                b'#' => spec.swap = true,
                b'0'..=b'9' => {
                    spec.width = (spec.width * 10 + usize::from(byte - b'0')).min(WIDTH_MAX)
                }
                b'E' | b'O' if !modified => modified = true,
                _ => {
                    spec.conversion = byte;
                    return (Some(spec), at + 1);
                }
            }
            at += 1;
        }
        (None, text.len())
    }

    /// Appends the conversion's value; false if there is no such conversion.
    fn write(&self, local: &Local, out: &mut Vec<u8>) -> bool {
        if let Some((value, digits, pad)) = number(self.conversion, local) {
            self.write_number(value, digits, pad, out);
            return true;
        }
        let start = out.len();
        if !self.write_text(local, out) {
            return false;
        }
        let length = out.len() - start;
        if length < self.width {
            let fill = if self.pad == Some(b'0') { b'0' } else { b' ' };
            out.splice(start..start, std::iter::repeat_n(fill, self.width - length));
        }
        true
    }

    fn write_number(&self, value: i64, digits: usize, pad: u8, out: &mut Vec<u8>) {
        let (pad, digits) = match self.pad {
            Some(b'-') => (b'_', self.width),
            chosen => (chosen.unwrap_or(pad), digits.max(self.width)),
        };
        let _ = match pad {
            b'0' => write!(out, "{value:0digits$}"),
            _ => write!(out, "{value:digits$}"),
        };
    }

    fn write_text(&self, local: &Local, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let lower = self.swap && matches!(self.conversion, b'p' | b'Z');
        let upper = self.upper
            || (self.swap && matches!(self.conversion, b'a' | b'A' | b'b' | b'B' | b'h'));
        if !write_plain(self.conversion, local, out) {
            return false;
        }
        let written = out.get_mut(start..).unwrap_or_default();
        if lower {
            written.make_ascii_lowercase();
        } else if upper {
            written.make_ascii_uppercase();
        }
        true
    }
}

/// Numeric conversions: value, least number of digits, default padding.
fn number(conversion: u8, local: &Local) -> Option<(i64, usize, u8)> {
    let at = &local.datetime;
    let hour_12 = i64::from((at.hour() + 11) % 12 + 1);
    let day = i64::from(at.day_of_year());
    let from_sunday = i64::from(at.weekday().to_sunday_zero_offset());
    let from_monday = i64::from(at.weekday().to_monday_zero_offset());
    let iso = at.iso_week_date();
    Some(match conversion {
        b'C' => (i64::from(at.year()).div_euclid(100), 2, b'0'),
        b'd' => (at.day().into(), 2, b'0'),
        b'e' => (at.day().into(), 2, b'_'),
        b'G' => (iso.year().into(), 1, b'0'),
        b'g' => (i64::from(iso.year()).rem_euclid(100), 2, b'0'),
        b'H' => (at.hour().into(), 2, b'0'),
        b'I' => (hour_12, 2, b'0'),
        b'j' => (day, 3, b'0'),
        b'k' => (at.hour().into(), 2, b'_'),
        b'l' => (hour_12, 2, b'_'),
        b'M' => (at.minute().into(), 2, b'0'),
        b'm' => (at.month().into(), 2, b'0'),
        b'S' => (at.second().into(), 2, b'0'),
        b's' => (local.second, 1, b'0'),
        b'U' => ((day + 6 - from_sunday) / 7, 2, b'0'),
        b'u' => (from_monday + 1, 1, b'0'),
        b'V' => (iso.week().into(), 2, b'0'),
        b'W' => ((day + 6 - from_monday) / 7, 2, b'0'),
        b'w' => (from_sunday, 1, b'0'),
        b'Y' => (at.year().into(), 1, b'0'),
        b'y' => (i64::from(at.year()).rem_euclid(100), 2, b'0'),
        _ => return None,
    })
}

/// Conversions to text, without padding or change of case; false if there is no such conversion.
fn write_plain(conversion: u8, local: &Local, out: &mut Vec<u8>) -> bool {
    let at = &local.datetime;
    let day = at.weekday().to_sunday_zero_offset();
    let half = if at.hour() < 12 { "AM" } else { "PM" };
    let text = match conversion {
        b'a' => zone::weekday(day),
        b'A' => zone::name(&WEEKDAYS, day),
        b'b' | b'h' => zone::month(at.month()),
        b'B' => zone::name(&MONTHS, at.month() - 1),
        b'n' => "\n",
        b'P' if at.hour() < 12 => "am",
        b'P' => "pm",
        b'p' => half,
        b't' => "\t",
        b'Z' => &local.abbreviation,
        b'%' => "%",
        b'z' => {
            zone::write_offset(local.offset, out);
            return true;
        }
        _ => return write_composite(conversion, local, out),
    };
    out.extend_from_slice(text.as_bytes());
    true
}

fn write_composite(conversion: u8, local: &Local, out: &mut Vec<u8>) -> bool {
    let format: &[u8] = match conversion {
        b'c' => b"%a %b %e %H:%M:%S %Y",
        b'D' | b'x' => b"%m/%d/%y",
        b'F' => b"%Y-%m-%d",
        b'R' => b"%H:%M",
        b'r' => b"%I:%M:%S %p",
        b'T' | b'X' => b"%H:%M:%S",
        _ => return false,
    };
    write(format, local, out);
    true
}

/// Bounds what `%9999999d` can add to a line.
const WIDTH_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tests::zone;

    /// Expected values were printed by httpd 2.4 for `TZ=America/St_Johns`.
    #[test]
    fn table() {
        let cases = [
            ("", ""),
            ("%Y-%m-%d %H:%M:%S %z %Z", "2026-11-24 11:35:25 -0330 NST"),
            (
                "%e|%k|%l|%I|%p|%P|%j|%U|%W|%V|%G|%g|%u|%w|%C|%y",
                "24|11|11|11|AM|am|328|47|47|48|2026|26|2|2|20|26",
            ),
            (
                "%c|%x|%X|%r|%R|%T|%D|%F|%h|%n|%t|%%",
                "Tue Nov 24 11:35:25 2026|11/24/26|11:35:25|11:35:25 AM|11:35|11:35:25|11/24/26|2026-11-24|Nov|\n|\t|%",
            ),
            ("%s|%N|%f|%Q|%E|%O|%+", "1795532725|%N|%f|%Q|%E|%O|%+"),
            (
                "%-d|%_m|%^a|%#Z|%5Y|%010Y|%-H|%Ey|%Od|%q",
                "24|11|TUE|nst|02026|0000002026|11|26|24|%q",
            ),
            ("%a %A %b %B", "Tue Tuesday Nov November"),
            ("x%", "x%"),
            ("%:z|%::z", "%:z|%::z"),
            (
                "%_5d|%-5d|%^B|%#B|%#p|%_H|%0e|%5T|%10F|%3n.",
                "   24|   24|NOVEMBER|NOVEMBER|am|11|24|11:35:25|2026-11-24|  \n.",
            ),
            ("no conversion", "no conversion"),
        ];
        check("America/St_Johns", 1_795_532_725, &cases);
    }

    #[test]
    fn small_numbers_and_turns_of_the_year() {
        check(
            "UTC",
            1_136_088_005, // Sunday, 1 January 2006, 04:00:05, of which ISO 8601 says 2005, week 52.
            &[
                ("%d %e %-d %_d", "01  1 1  1"),
                ("%H %k %-H %l %I", "04  4 4  4 04"),
                ("%j %-j %_j", "001 1   1"),
                ("%U %W %V %G %g", "01 00 52 2005 05"),
                ("%u %w", "7 0"),
                ("%y %C", "06 20"),
                ("%c", "Sun Jan  1 04:00:05 2006"),
            ],
        );
        check("UTC", 1_136_073_600, &[("%I %p %l", "12 AM 12")]);
        check("UTC", 1_136_116_800, &[("%I %p %P %l", "12 PM pm 12")]);
        check("Europe/Paris", 1_792_888_200, &[("%Z %z", "CEST +0200")]);
    }

    fn check(name: &str, second: i64, cases: &[(&str, &str)]) {
        let zone = zone(name);
        for (format, expected) in cases {
            let mut out = Vec::new();
            zone.with_second(second, |recent| {
                write(format.as_bytes(), &recent.local, &mut out)
            });
            assert_eq!(String::from_utf8_lossy(&out), *expected, "{format}");
        }
    }
}
