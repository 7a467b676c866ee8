//! Debian's `envvars`: the variables that `apachectl` gives to httpd, and that `apache2.conf` refers to.
//!
//! The file is a shell script. Its plain assignments are understood, outside of `if`, with the variables that stand
//! before them; what only a shell could tell is left out, so that the configuration's `${NAME}` is reported as not
//! defined instead of being wrong. Variables of the environment come before all of these.

use std::collections::HashMap;
use std::path::Path;

use relais_conf::Files;

/// Variables by name.
#[derive(Default)]
pub(crate) struct Variables(HashMap<String, String>);

impl Variables {
    /// Those of the file `envvars` in the folder of a main file that has Debian's name, `apache2.conf`.
    pub(crate) fn beside(main_file: &Path, files: &dyn Files) -> Self {
        if main_file
            .file_name()
            .is_none_or(|name| name != "apache2.conf")
        {
            return Self::default();
        }
        let text = files.read(&main_file.with_file_name("envvars"));
        text.map(|text| Self::parse(&String::from_utf8_lossy(&text)))
            .unwrap_or_default()
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.0.get(name).map(|value| value.clone().into_bytes())
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut depth = 0_usize;
        for line in text.lines().map(str::trim) {
            match line.split_whitespace().next() {
                Some("if" | "case" | "for" | "while") => depth += 1,
                Some("fi" | "esac" | "done") => depth = depth.saturating_sub(1),
                _ if depth == 0 => found.assignment(line),
                _ => {}
            }
        }
        found
    }

    fn assignment(&mut self, line: &str) {
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, value)) = line.split_once('=') else {
            return;
        };
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if let Some(value) = is_name.then(|| self.word(value)).flatten() {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// A shell word without what needs a shell; variables that are not known are empty, as there.
    fn word(&self, text: &str) -> Option<String> {
        let (text, literal) = match text.chars().next() {
            Some(quote @ ('"' | '\'')) => (text.get(1..)?.split_once(quote)?.0, quote == '\''),
            _ => (text.split([' ', '\t', ';', '#']).next()?, false),
        };
        if literal {
            return Some(text.to_owned());
        }
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, behind)) = rest.split_once('$') {
            out.push_str(before);
            let (name, after) = variable(behind)?;
            out.push_str(self.0.get(name).map_or("", String::as_str));
            rest = after;
        }
        out.push_str(rest);
        (!out.contains(['`', '\\'])).then_some(out)
    }
}

/// The name behind a `$`, with or without braces, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let plain = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(inner) = text.strip_prefix('{') {
        return inner.split_once('}').filter(|(name, _)| plain(name));
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use relais_conf::MemoryFiles;

    use super::*;

    const DEBIAN: &str = "\
# envvars - default environment variables for apache2ctl
unset HOME
if [ \"${APACHE_CONFDIR##/etc/apache2-}\" != \"${APACHE_CONFDIR}\" ] ; then
\tSUFFIX=\"-${APACHE_CONFDIR##/etc/apache2-}\"
else
\tSUFFIX=
fi
export APACHE_RUN_USER=www-data
export APACHE_PID_FILE=/var/run/apache2$SUFFIX/apache2.pid
export APACHE_LOG_DIR=\"/var/log/apache2${SUFFIX}\" # logs
LITERAL='$SUFFIX'
TWICE=$APACHE_RUN_USER-${APACHE_RUN_USER}
HOSTNAME=`hostname`
TODAY=$(date)
export LANG
";

    #[test]
    fn what_debian_has() {
        let variables = Variables::parse(DEBIAN);
        let table: &[(&str, Option<&str>)] = &[
            ("APACHE_RUN_USER", Some("www-data")),
            ("APACHE_PID_FILE", Some("/var/run/apache2/apache2.pid")),
            ("APACHE_LOG_DIR", Some("/var/log/apache2")),
            ("LITERAL", Some("$SUFFIX")),
            ("TWICE", Some("www-data-www-data")),
            ("SUFFIX", None),
            ("HOSTNAME", None),
            ("TODAY", None),
            ("LANG", None),
        ];
        for &(name, expected) in table {
            let found = variables
                .get(name)
                .map(|value| String::from_utf8_lossy(&value).into_owned());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn only_beside_apache2_conf() {
        let files = MemoryFiles::new().with("/etc/apache2/envvars", "A=1\n");
        let value = |main: &str| Variables::beside(Path::new(main), &files).get("A");
        assert_eq!(
            value("/etc/apache2/apache2.conf").as_deref(),
            Some(&b"1"[..])
        );
        assert_eq!(value("/etc/apache2/other.conf"), None);
        assert_eq!(value("/srv/apache2.conf"), None);
    }
}
