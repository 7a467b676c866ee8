//! `relais migrate`: one report for a whole configuration, from which a person
//! decides whether to switch.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use relais_conf::{Diagnostic, Item, Severity, SourceMap, Span, render_one};
use relais_modules::{Configuration, EVERYWHERE, Standing, standing};

use crate::cli::Arguments;
use crate::{Outcome, configuration, report};

/// `relais migrate`.
///
/// # Errors
/// When the configuration cannot be looked for.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let found = configuration::judge(arguments)?;
    report::print(&Report::new(&found).text(&found));
    Ok(())
}

/// The uses of one directive or section.
struct Uses {
    /// As httpd's manual spells it, or as the file does if nobody knows it.
    name: String,
    standing: Standing,
    places: Vec<Span>,
}

/// What there is to say.
struct Report {
    uses: Vec<Uses>,
}

impl Report {
    fn new(found: &Configuration) -> Self {
        let mut uses: BTreeMap<String, Uses> = BTreeMap::new();
        gather(&found.loaded.tree.items, &mut uses);
        Self {
            uses: uses.into_values().collect(),
        }
    }

    fn text(&self, found: &Configuration) -> String {
        let sources = &found.loaded.sources;
        let mut out = String::new();
        self.directives(sources, &mut out);
        let _ = writeln!(out, "\nDifferent from httpd whatever the lines say:");
        for difference in EVERYWHERE {
            let _ = writeln!(out, "  {difference}");
        }
        routes(found, &mut out);
        findings(found, &mut out);
        let _ = writeln!(out, "\n{}", self.verdict(found));
        out
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Uses> {
        self.uses
            .iter()
            .filter(move |uses| heading(&uses.standing) == kind)
    }

    /// The uses of a kind, counted in lines of the configuration.
    fn count(&self, kind: &str) -> usize {
        self.of(kind).map(|uses| uses.places.len()).sum()
    }

    fn directives(&self, sources: &SourceMap, out: &mut String) {
        let total: usize = self.uses.iter().map(|uses| uses.places.len()).sum();
        let _ = writeln!(out, "Directives: {total} lines, {} names", self.uses.len());
        for kind in HEADINGS {
            let _ = writeln!(out, "  {:>5} {kind}", self.count(kind));
        }
        for kind in HEADINGS.iter().filter(|kind| **kind != HONOURED) {
            if self.of(kind).next().is_none() {
                continue;
            }
            let _ = writeln!(out, "\n{}{}:", kind[..1].to_uppercase(), &kind[1..]);
            for uses in self.of(kind) {
                let note = match note(&uses.standing) {
                    "" => String::new(),
                    note => format!(": {note}"),
                };
                let _ = writeln!(out, "  {}{note}", uses.name);
                let _ = writeln!(out, "      {}", places(&uses.places, sources));
            }
        }
    }

    fn verdict(&self, found: &Configuration) -> String {
        let (errors, warnings, _) = found.diagnostics.counts();
        let refused = self.count(REFUSED) + self.count(NOT_YET) + self.count(UNKNOWN);
        if errors > 0 {
            let shape = if refused > 0 {
                format!("{refused} lines hold what relais does not have")
            } else {
                "they are about arguments and places, see above".to_owned()
            };
            return format!(
                "Verdict: not as it is. relais would not start: {errors} errors; {shape}."
            );
        }
        match (warnings, self.count(DIFFERENT)) {
            (0, 0) => "Verdict: it runs, and no line of it behaves differently.".to_owned(),
            (0, different) => format!(
                "Verdict: it runs; read the {different} lines that are honoured with a difference."
            ),
            (warnings, _) => format!(
                "Verdict: it runs; look at the {warnings} warnings first, which httpd has too but does not say."
            ),
        }
    }
}

const HONOURED: &str = "honoured";
const DIFFERENT: &str = "honoured with a difference";
const HARMLESS: &str = "harmless: accepted, with nothing to do here";
const NOT_YET: &str = "not implemented yet";
const REFUSED: &str = "refused";
const UNKNOWN: &str = "unknown to httpd and relais";
const HEADINGS: [&str; 6] = [HONOURED, DIFFERENT, HARMLESS, NOT_YET, REFUSED, UNKNOWN];

fn heading(standing: &Standing) -> &'static str {
    match standing {
        Standing::Honoured { difference: "" } => HONOURED,
        Standing::Honoured { .. } => DIFFERENT,
        Standing::Harmless(_) => HARMLESS,
        Standing::NotYet => NOT_YET,
        Standing::Refused(_) => REFUSED,
        Standing::Unknown => UNKNOWN,
    }
}

fn note(standing: &Standing) -> &'static str {
    match standing {
        Standing::Honoured { difference } => difference,
        Standing::Harmless(note) | Standing::Refused(note) => note,
        Standing::NotYet | Standing::Unknown => "",
    }
}

fn gather(items: &[Item], uses: &mut BTreeMap<String, Uses>) {
    for item in items {
        let (name, span) = match item {
            Item::Directive(directive) => (directive.name.lossy().into_owned(), directive.span),
            Item::Section(section) => (format!("<{}>", section.name.lossy()), section.span),
        };
        let entry = uses.entry(name.to_ascii_lowercase()).or_insert_with(|| {
            let (proper, standing) = standing(&name);
            Uses {
                name: proper.map_or(name, str::to_owned),
                standing,
                places: Vec::new(),
            }
        });
        entry.places.push(span);
        if let Item::Section(section) = item {
            gather(&section.items, uses);
        }
    }
}

/// Places as `FILE:LINE`, the file once for neighbours, and not more than a
/// line of them.
fn places(spans: &[Span], sources: &SourceMap) -> String {
    let mut text = String::new();
    let mut file = None;
    for span in spans.iter().take(PLACES_MAX) {
        let line = sources.line_column(*span).0;
        let _ = match file == Some(span.file) {
            true => write!(text, ", {line}"),
            false if text.is_empty() => write!(text, "{}", sources.file_line(*span)),
            false => write!(text, "; {}", sources.file_line(*span)),
        };
        file = Some(span.file);
    }
    if let Some(more) = spans.len().checked_sub(PLACES_MAX).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// Places of one directive that are listed.
const PLACES_MAX: usize = 12;

fn routes(found: &Configuration, out: &mut String) {
    let sources = &found.loaded.sources;
    let routes = relais_lint::routes(&found.loaded);
    let _ = writeln!(out, "\nRoutes: {}", routes.len());
    for route in &routes {
        let websocket = if route.websocket { "  WebSocket" } else { "" };
        let _ = writeln!(
            out,
            "  {} {} -> {}{websocket}  ({})",
            route.host,
            route.path,
            route.target,
            sources.file_line(route.span)
        );
    }
}

fn findings(found: &Configuration, out: &mut String) {
    let shown: Vec<&Diagnostic> = found
        .diagnostics
        .iter()
        .filter(|one| one.severity != Severity::Note)
        .collect();
    let (errors, warnings, notes) = found.diagnostics.counts();
    let _ = writeln!(
        out,
        "\nFindings: {errors} errors, {warnings} warnings, {notes} notes (`relais check` shows the notes)"
    );
    for one in shown {
        let _ = write!(out, "\n{}", render_one(one, &found.loaded.sources));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(config: &str) -> String {
        let mut found = configuration::read_text("/srv/main.conf", config);
        relais_lint::check(&found.loaded, false, &mut found.diagnostics);
        Report::new(&found).text(&found)
    }

    #[test]
    fn a_configuration_that_runs() {
        let text = report(
            "\
ServerTokens Prod
MaxRequestWorkers 100
<VirtualHost *:80>
    ServerName app.example
    ProxyTimeout 30
    RewriteEngine On
    RewriteCond %{HTTP:Upgrade} =websocket [NC]
    RewriteRule ^/ws/(.*)$ ws://10.0.0.1:9/$1 [P,L]
    ProxyPass /no !
    ProxyPass / http://10.0.0.1:9/
    ProxyPassReverse / http://10.0.0.1:9/
</VirtualHost>
",
        );
        for line in [
            "      3 honoured with a difference",
            "      1 harmless: accepted, with nothing to do here",
            "  ProxyTimeout: an origin that is silent for so long is answered with 504, where httpd says 502",
            "      /srv/main.conf:5",
            "Routes: 2",
            "  app.example ^/ws/(.*)$ -> ws://10.0.0.1:9/$1  WebSocket  (/srv/main.conf:8)",
            "  app.example / -> http://10.0.0.1:9/  (/srv/main.conf:10)",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(text.contains("\nVerdict: it runs"), "{text}");
    }

    #[test]
    fn a_configuration_that_does_not() {
        let text =
            report("NoSuchThing on\nProxyExpressEnable on\nTimeout x\nTimeout 5\nTimeout 6\n");
        for line in [
            "      1 refused",
            "      1 unknown to httpd and relais",
            "Routes: 0",
            "Verdict: not as it is. relais would not start: 3 errors; 2 lines hold what relais does not have.",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }
}
