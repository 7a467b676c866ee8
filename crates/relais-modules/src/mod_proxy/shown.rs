//! Balancers and members in the words of httpd's pages.

use relais_policy::{MemberStatus, Sticky};

/// A member's status (`ap_proxy_parse_wstatus`): `Init Stby Ok `.
pub(crate) fn status_words(status: u16) -> String {
    let mut words = "Init ".to_owned();
    for letter in b"INDSEHRC" {
        let known = MemberStatus::ALL.iter().find(|(have, ..)| have == letter);
        if let Some((_, _, word)) = known.filter(|(_, bit, _)| status & bit != 0) {
            words.push_str(word);
            words.push(' ');
        }
    }
    if status & MemberStatus::UNUSABLE == 0 {
        words.push_str("Ok ");
    }
    words
}

/// The names by which sessions are found.
pub(crate) fn sticky_words(sticky: Option<&Sticky>, between: &str, none: &str) -> String {
    match sticky {
        None => none.to_owned(),
        Some(Sticky::SockJs) => "sockjs".to_owned(),
        Some(Sticky::Route {
            cookie, parameter, ..
        }) if cookie == parameter => cookie.clone(),
        Some(Sticky::Route {
            cookie, parameter, ..
        }) => format!("{cookie}{between}{parameter}"),
    }
}

/// A number of bytes in four characters (`apr_strfsize`).
pub(crate) fn traffic_words(bytes: u64) -> String {
    if bytes < 973 {
        return format!("{bytes:3} ");
    }
    let mut size = bytes;
    for unit in "KMGTPE".chars() {
        let remainder = size & 1023;
        size >>= 10;
        if size >= 973 {
            continue;
        }
        if size < 9 || (size == 9 && remainder < 973) {
            let tenths = (remainder * 5 + 256) / 512;
            let (size, tenths) = if tenths >= 10 {
                (size + 1, 0)
            } else {
                (size, tenths)
            };
            return format!("{size}.{tenths}{unit}");
        }
        return format!("{:3}{unit}", size + u64::from(remainder >= 512));
    }
    "****".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        use MemberStatus as S;
        let table: &[(u16, &str)] = &[
            (0, "Init Ok "),
            (S::STANDBY, "Init Stby Ok "),
            (S::DISABLED, "Init Dis "),
            (S::IGNORE_ERRORS | S::DRAIN, "Init Ign Drn Ok "),
            (S::STOPPED | S::ERROR | S::UNHEALTHY, "Init Stop Err HcFl "),
        ];
        for &(status, expected) in table {
            assert_eq!(status_words(status), expected);
        }
        let table = [
            (0, "  0 "),
            (972, "972 "),
            (973, "1.0K"),
            (1536, "1.5K"),
            (20_000, " 20K"),
            (5 << 20, "5.0M"),
        ];
        for (bytes, expected) in table {
            assert_eq!(traffic_words(bytes), expected, "{bytes}");
        }
    }
}
