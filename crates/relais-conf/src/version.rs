//! The condition of `<IfVersion>` (mod_version).

use std::cmp::Ordering;

/// Whether the words of `<IfVersion [[!]operator] version>` hold for a version of the server.
///
/// # Errors
/// What is wrong with the words.
pub(crate) fn holds(words: &[String], server: (u32, u32, u32)) -> Result<bool, String> {
    let (operator, version) = match words {
        [version] => ("=", version.as_str()),
        [operator, version] => (operator.as_str(), version.as_str()),
        _ => return Err("<IfVersion> takes a version, or an operator and a version".to_owned()),
    };
    // A lone `!` has no operator to turn round, so it is not one itself.
    let negated = operator.strip_prefix('!').filter(|rest| !rest.is_empty());
    let plain = negated.unwrap_or(operator);
    let regex = version
        .strip_prefix('/')
        .filter(|_| matches!(plain, "=" | "=="));
    let holds = match (plain, regex) {
        ("~", _) => matches(version, server)?,
        (_, Some(delimited)) => {
            let missing = || "Missing delimiting / of regular expression".to_owned();
            matches(delimited.strip_suffix('/').ok_or_else(missing)?, server)?
        }
        ("=" | "==", None) => compare(version, server)? == Ordering::Equal,
        ("<", None) => compare(version, server)? == Ordering::Less,
        ("<=", None) => compare(version, server)? != Ordering::Greater,
        (">", None) => compare(version, server)? == Ordering::Greater,
        (">=", None) => compare(version, server)? != Ordering::Less,
        _ => return Err(format!("unrecognized operator '{operator}'")),
    };
    Ok(holds != negated.is_some())
}

/// How the server's version compares with a written one, whose missing parts count as 0.
fn compare(version: &str, server: (u32, u32, u32)) -> Result<Ordering, String> {
    let invalid = || {
        "Version appears to be invalid. It must have the format major[.minor[.patch]] where major, minor and patch are \
         numbers."
            .to_owned()
    };
    let parts: Vec<&str> = version.split('.').collect();
    let mut numbers = [0; 3];
    if version.is_empty() || parts.len() > numbers.len() {
        return Err(invalid());
    }
    for (number, part) in numbers.iter_mut().zip(parts) {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        *number = match part {
            "" => 0,
            _ if digits => part.parse().map_err(|_| invalid())?,
            _ => return Err(invalid()),
        };
    }
    Ok([server.0, server.1, server.2].cmp(&numbers))
}

fn matches(pattern: &str, server: (u32, u32, u32)) -> Result<bool, String> {
    let unable = |error: pcre2::Error| format!("Unable to compile regular expression: {error}");
    let regex = pcre2::bytes::Regex::new(pattern).map_err(unable)?;
    regex
        .is_match(format!("{}.{}.{}", server.0, server.1, server.2).as_bytes())
        .map_err(unable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases = [
            ("2.4", Some(false)),
            ("2.4.71", Some(true)),
            ("= 2.4.71", Some(true)),
            ("== 2.4.071", Some(true)),
            ("!= 2.4.71", Some(false)),
            (">= 2.4", Some(true)),
            ("> 2", Some(true)),
            ("> 2.4.71", Some(false)),
            ("< 2.5", Some(true)),
            ("<= 2.4.71", Some(true)),
            ("!< 2.5", Some(false)),
            ("~ ^2.4", Some(true)),
            ("!~ ^2.3", Some(true)),
            ("~ /2/", Some(false)),
            ("/^2\\.4/", Some(true)),
            ("== /2/", Some(true)),
            (">= 2.", Some(true)),
            (">= 2..1", Some(true)),
            (">= /2/", None),
            ("= /2", None),
            ("! 2.4", None),
            ("=> 2", None),
            ("~= 2", None),
            ("<= 2.4.71.5", None),
            (">= 2.x", None),
            (">=2.4", None),
            (">= -1", None),
            (">= 2.4 3", None),
            (">= 99999999999", None),
            ("~ (", None),
        ];
        for (condition, expected) in cases {
            let words: Vec<String> = condition.split(' ').map(str::to_owned).collect();
            assert_eq!(holds(&words, (2, 4, 71)).ok(), expected, "{condition}");
        }
    }
}
