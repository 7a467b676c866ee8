//! `LogLevel`: how much each module says.

/// Importance of a message, from `emerg` down to `trace8` (httpd manual page `core`, `LogLevel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are httpd's and say it all")]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
    Trace1,
    Trace2,
    Trace3,
    Trace4,
    Trace5,
    Trace6,
    Trace7,
    Trace8,
}

impl Level {
    /// Reads a level's name, without regard to case.
    pub fn parse(name: &str) -> Option<Self> {
        let (_, level) = NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(*level)
    }

    /// The level of a number as `syslog` and httpd count, 0 for `emerg`;
    /// `trace8` beyond.
    pub(crate) fn from_number(number: usize) -> Self {
        NAMES.get(number).map_or(Self::Trace8, |(_, level)| *level)
    }

    /// The name as `LogLevel` and the error log write it.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, level)| *level == self)
            .map_or("", |(name, _)| name)
    }
}

/// The levels of one virtual host or section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    default: Option<Level>,
    modules: Vec<(String, Level)>,
}

impl Levels {
    /// Reads the arguments of `LogLevel`, such as `warn rewrite:trace3 mod_proxy.c:debug`.
    ///
    /// Whether a module exists is for the caller to say, who gets the names from [`modules`](Self::modules). As in httpd,
    /// a level without a module sets aside what was said about modules before it.
    ///
    /// # Errors
    /// The index of the word that is wrong, and what is wrong with it.
    pub fn parse<W: AsRef<str>>(words: &[W]) -> Result<Self, (usize, String)> {
        let mut levels = Self::default();
        for (index, word) in words.iter().enumerate() {
            levels
                .add(word.as_ref())
                .map_err(|message| (index, message))?;
        }
        if words.is_empty() {
            return Err((
                0,
                "LogLevel requires level keyword or module level specifier".to_owned(),
            ));
        }
        Ok(levels)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        let Some((module, name)) = word.split_once(':') else {
            self.default = Some(Level::parse(word).ok_or_else(|| KEYWORDS.to_owned())?);
            self.modules.clear();
            return Ok(());
        };
        if name.is_empty() {
            return Err(format!(
                "Module specifier '{module}' must be followed by a log level keyword"
            ));
        }
        let level = Level::parse(name).ok_or_else(|| format!("{word}: {KEYWORDS}"))?;
        let module = short_name(module);
        if module.is_empty() {
            return Err("Cannot find module ''".to_owned());
        }
        self.modules.retain(|(known, _)| known != module);
        self.modules.push((module.to_owned(), level));
        Ok(())
    }

    /// These levels, with those of an inner virtual host or section laid over them.
    ///
    /// A level without a module in the inner one sets aside the outer one's modules, as it does within one directive.
    #[must_use]
    pub fn overlaid_with(&self, inner: &Self) -> Self {
        let mut levels = if inner.default.is_some() {
            Self::default()
        } else {
            self.clone()
        };
        levels.default = inner.default.or(self.default);
        for (module, level) in &inner.modules {
            levels.modules.retain(|(known, _)| known != module);
            levels.modules.push((module.clone(), *level));
        }
        levels
    }

    /// The short names of the modules that have a level of their own.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(|(module, _)| module.as_str())
    }

    /// The level of a module, named shortly as the error log does: `rewrite`, `proxy`, `core`.
    pub fn level(&self, module: &str) -> Level {
        let own = self.modules.iter().find(|(known, _)| known == module);
        own.map(|(_, level)| *level)
            .or(self.default)
            .unwrap_or(DEFAULT)
    }

    /// Whether a message of that level is to be written.
    pub fn enabled(&self, module: &str, level: Level) -> bool {
        level <= self.level(module)
    }
}

/// `rewrite` for `rewrite`, `mod_rewrite.c` and `rewrite_module`.
fn short_name(module: &str) -> &str {
    let name = module
        .strip_suffix(".c")
        .map_or(module, |file| file.strip_prefix("mod_").unwrap_or(file));
    name.strip_suffix("_module").unwrap_or(name)
}

const DEFAULT: Level = Level::Warn;

const KEYWORDS: &str = "Log level keyword must be one of emerg/alert/crit/error/warn/notice/info/debug/trace1/.../trace8";

const NAMES: [(&str, Level); 16] = [
    ("emerg", Level::Emerg),
    ("alert", Level::Alert),
    ("crit", Level::Crit),
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace1", Level::Trace1),
    ("trace2", Level::Trace2),
    ("trace3", Level::Trace3),
    ("trace4", Level::Trace4),
    ("trace5", Level::Trace5),
    ("trace6", Level::Trace6),
    ("trace7", Level::Trace7),
    ("trace8", Level::Trace8),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Levels, (usize, String)> {
        Levels::parse(&words.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn accepted() {
        // (words, module, its level)
        let cases = [
            ("warn", "core", Level::Warn),
            ("WARN", "core", Level::Warn),
            ("info rewrite:trace3", "rewrite", Level::Trace3),
            ("info rewrite:trace3", "proxy", Level::Info),
            ("rewrite:trace3", "proxy", Level::Warn),
            ("warn mod_proxy.c:debug", "proxy", Level::Debug),
            ("warn ssl_module:Debug", "ssl", Level::Debug),
            ("warn core.c:debug", "core", Level::Debug),
            ("rewrite:debug info", "rewrite", Level::Info),
            ("rewrite:debug rewrite:trace8", "rewrite", Level::Trace8),
        ];
        for (words, module, level) in cases {
            assert_eq!(
                parse(words).map(|levels| levels.level(module)),
                Ok(level),
                "{words} {module}"
            );
        }
    }

    #[test]
    fn refused() {
        let cases = [
            (
                "",
                0,
                "LogLevel requires level keyword or module level specifier",
            ),
            ("foo", 0, KEYWORDS),
            ("trace9", 0, KEYWORDS),
            (
                "warn core:",
                1,
                "Module specifier 'core' must be followed by a log level keyword",
            ),
            ("warn :warn", 1, "Cannot find module ''"),
        ];
        for (words, index, message) in cases {
            assert_eq!(parse(words), Err((index, message.to_owned())), "{words}");
        }
        assert_eq!(
            parse("info warn:x:y"),
            Err((1, format!("warn:x:y: {KEYWORDS}")))
        );
    }

    #[test]
    fn enabled_up_to_the_level() {
        let levels = parse("warn rewrite:trace3").unwrap();
        let cases = [
            ("core", Level::Emerg, true),
            ("core", Level::Warn, true),
            ("core", Level::Notice, false),
            ("rewrite", Level::Trace3, true),
            ("rewrite", Level::Trace4, false),
        ];
        for (module, level, expected) in cases {
            assert_eq!(
                levels.enabled(module, level),
                expected,
                "{module} {}",
                level.name()
            );
        }
    }

    #[test]
    fn inner_levels_win() {
        // (outer, inner, module, level)
        let cases = [
            ("info", "proxy:debug", "core", Level::Info),
            ("info", "proxy:debug", "proxy", Level::Debug),
            ("info proxy:debug", "error", "proxy", Level::Error),
            ("info proxy:debug", "ssl:crit", "proxy", Level::Debug),
            ("info proxy:debug", "error ssl:crit", "proxy", Level::Error),
            ("info proxy:debug", "proxy:warn", "proxy", Level::Warn),
            ("info proxy:debug", "crit", "core", Level::Crit),
        ];
        for (outer, inner, module, level) in cases {
            let merged = parse(outer).unwrap().overlaid_with(&parse(inner).unwrap());
            assert_eq!(merged.level(module), level, "{outer} + {inner}: {module}");
        }
    }

    #[test]
    fn names_round_trip() {
        for (name, level) in NAMES {
            assert_eq!(Level::parse(name), Some(level));
            assert_eq!(level.name(), name);
        }
    }
}
