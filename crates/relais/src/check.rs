//! `relais check`: everything that can be said about a configuration, for people and for tools.

use std::io::Write as _;

use relais_conf::{Diagnostic, SourceMap, Span};
use relais_modules::Configuration;
use serde_json::{Value, json};

use crate::cli::{Arguments, Form};
use crate::{Failure, Outcome, configuration};

/// Reads the configuration and prints what there is to say, to standard output.
///
/// # Errors
/// [`Failure::Told`] with errors, [`Failure::Denied`] with warnings that are not wanted.
pub(crate) fn run(arguments: &Arguments, form: Form) -> Outcome {
    let found = configuration::judge(arguments)?;
    let text = match form {
        Form::Human => human(&found),
        Form::Json => format!("{:#}\n", json_report(&found)),
        Form::Sarif => format!("{:#}\n", sarif(&found)),
    };
    // Whoever reads only the head of the list is no reason to panic.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let (errors, warnings, _) = found.diagnostics.counts();
    if errors > 0 {
        Err(Failure::Told)
    } else if warnings > 0 && arguments.deny_warnings {
        Err(Failure::Denied)
    } else {
        Ok(())
    }
}

fn human(found: &Configuration) -> String {
    let mut text = found.diagnostics.render(&found.loaded.sources);
    let (errors, warnings, notes) = found.diagnostics.counts();
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!(
        "{}, {}, {}\n",
        counted(errors, "error"),
        counted(warnings, "warning"),
        counted(notes, "note")
    ));
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// One object: counts, and a list in source order.
fn json_report(found: &Configuration) -> Value {
    let sources = &found.loaded.sources;
    let (errors, warnings, notes) = found.diagnostics.counts();
    let list: Vec<Value> = found
        .diagnostics
        .iter()
        .map(|one| json_diagnostic(one, sources))
        .collect();
    json!({
        "version": 1,
        "errors": errors,
        "warnings": warnings,
        "notes": notes,
        "diagnostics": list,
    })
}

fn json_diagnostic(one: &Diagnostic, sources: &SourceMap) -> Value {
    let labels = one.labels.iter().map(|label| {
        let mut place = place(label.span, sources);
        place["text"] = json!(label.text);
        place
    });
    let suggestion = one.suggestion.as_ref().map(|(span, replacement)| {
        let mut place = place(*span, sources);
        place["replacement"] = json!(replacement);
        place
    });
    json!({
        "code": one.code,
        "severity": one.severity.name(),
        "message": one.message,
        "place": one.span.map(|span| place(span, sources)),
        "source": one.span.map(|span| source_line(span, sources)),
        "included_from": one.span.map(|span| chain(span, sources)).unwrap_or_default(),
        "labels": labels.collect::<Vec<_>>(),
        "help": one.help,
        "suggestion": suggestion,
    })
}

/// File, and line and column from 1 of both ends; columns count characters, and the last one stands behind the span.
fn place(span: Span, sources: &SourceMap) -> Value {
    let (line, column) = sources.line_column(span);
    let (end_line, end_column) = sources.line_column(Span {
        start: span.end,
        ..span
    });
    json!({
        "file": sources.get(span.file).name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    })
}

fn source_line(span: Span, sources: &SourceMap) -> String {
    let file = sources.get(span.file);
    let (start, end) = file.line_range(file.line(span.start));
    String::from_utf8_lossy(file.bytes(start, end)).into_owned()
}

/// The `Include` and `Use` lines that lead to a place, the nearest first.
fn chain(span: Span, sources: &SourceMap) -> Vec<Value> {
    let mut at = span;
    let mut found = Vec::new();
    while let Some(from) = sources.get(at.file).included_from {
        let mut one = place(from, sources);
        one["macro"] = json!(sources.get(at.file).expansion_of);
        found.push(one);
        at = from;
    }
    found
}

/// SARIF 2.1.0 (OASIS standard, section 3), with every code that relais has as a rule.
fn sarif(found: &Configuration) -> Value {
    let sources = &found.loaded.sources;
    let own = [
        relais_conf::CODES,
        relais_policy::CODES,
        relais_modules::CODES,
    ]
    .concat();
    let lints = relais_lint::RULES
        .iter()
        .map(|rule| (rule.code, rule.summary));
    let rules: Vec<Value> = own
        .into_iter()
        .chain(lints)
        .map(|(code, meaning)| json!({ "id": code, "shortDescription": { "text": meaning } }))
        .collect();
    let results: Vec<Value> = found
        .diagnostics
        .iter()
        .map(|one| sarif_result(one, sources))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "columnKind": "unicodeCodePoints",
            "tool": { "driver": {
                "name": "relais",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "results": results,
        }],
    })
}

fn sarif_result(one: &Diagnostic, sources: &SourceMap) -> Value {
    let location = |span: Span| json!({ "physicalLocation": physical(span, sources) });
    let related: Vec<Value> = one
        .labels
        .iter()
        .map(|label| {
            let mut place = location(label.span);
            place["message"] = json!({ "text": label.text });
            place
        })
        .collect();
    let text = match &one.help {
        Some(help) => format!("{}\n{help}", one.message),
        None => one.message.clone(),
    };
    let mut result = json!({
        "ruleId": one.code,
        "level": one.severity.name(),
        "message": { "text": text },
        "locations": one.span.map(location).into_iter().collect::<Vec<_>>(),
        "relatedLocations": related,
    });
    if let Some((span, replacement)) = &one.suggestion {
        let physical = physical(*span, sources);
        result["fixes"] = json!([{
            "artifactChanges": [{
                "artifactLocation": physical["artifactLocation"],
                "replacements": [{
                    "deletedRegion": physical["region"],
                    "insertedContent": { "text": replacement },
                }],
            }],
        }]);
    }
    result
}

/// A file's name as a URI reference (RFC 3986 §4.2).
fn uri(name: &str) -> String {
    let mut uri = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

fn physical(span: Span, sources: &SourceMap) -> Value {
    let place = place(span, sources);
    json!({
        "artifactLocation": { "uri": uri(&sources.get(span.file).name) },
        "region": {
            "startLine": place["line"],
            "startColumn": place["column"],
            "endLine": place["end_line"],
            "endColumn": place["end_column"],
        },
    })
}
