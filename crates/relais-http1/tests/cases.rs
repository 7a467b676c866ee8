//! The byte cases of the HTTP/1 suite: each must be refused, or be framed so that nothing is smuggled.
//!
//! `RELAIS_HTTP1_CASES` names the file of cases; without it a checkout of the suite beside this one is looked for.

mod common;

use std::path::PathBuf;

use base64::Engine as _;
use common::{End, Message, read_requests, read_response};
use serde_json::Value;

/// Statuses of a case that a rule of the configuration gives, not the parser.
const BY_RULE: [u64; 2] = [403, 404];

fn cases() -> Option<Vec<Value>> {
    let beside =
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/http1-dev.json");
    let path = std::env::var_os("RELAIS_HTTP1_CASES").map_or_else(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!(
            "skipped: no cases at {}; set RELAIS_HTTP1_CASES",
            path.display()
        );
        return None;
    };
    serde_json::from_str(&text).expect("the file of cases is a JSON list")
}

/// The bytes of a `raw` or `backend` value; pauses do not matter here.
fn bytes(raw: &Value) -> Vec<u8> {
    match raw {
        Value::Array(parts) => parts.iter().flat_map(bytes).collect(),
        Value::String(text) => latin1(text),
        _ => match (raw["b64"].as_str(), raw["repeat"].as_str()) {
            (Some(text), _) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("base64"),
            (_, Some(text)) => latin1(text).repeat(raw["n"].as_u64().expect("a number") as usize),
            _ => Vec::new(),
        },
    }
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("one byte a character"))
        .collect()
}

/// Whether `status` stands in the list `expected`.
fn allows(expected: &Value, status: u64) -> bool {
    expected
        .as_array()
        .is_some_and(|list| list.iter().any(|item| item.as_u64() == Some(status)))
}

/// Whether `found` is the string `expected` or one of its strings; anything is if there is none.
fn is_one_of(expected: &Value, found: &[u8]) -> bool {
    match expected {
        Value::Null => true,
        Value::Array(list) => list.iter().any(|item| is_one_of(item, found)),
        _ => expected.as_str().is_some_and(|text| latin1(text) == found),
    }
}

fn check_request(case: &Value, messages: &[Message], end: End) -> Result<(), String> {
    let smuggled = messages
        .iter()
        .any(|message| message.line.windows(10).any(|part| part == b" /smuggled"));
    if smuggled {
        return Err("a smuggled request".to_owned());
    }
    let expect = &case["expect"];
    let status = match end {
        End::Request(error) => u64::from(error.status()),
        End::Body(_) => 400,
        _ => return check_accepted(expect, messages),
    };
    if allows(&expect["status"], status) || expect["upstream_none"] == true {
        return Ok(());
    }
    Err(format!("refused with {status}"))
}

/// Checks a case that the parser did not refuse.
fn check_accepted(expect: &Value, messages: &[Message]) -> Result<(), String> {
    let others = ["forward", "client", "responses", "upstream_none"];
    let by_rule = BY_RULE
        .iter()
        .any(|&status| allows(&expect["status"], status));
    let may_hang = expect["status"]
        .as_array()
        .is_some_and(|list| list.iter().any(|item| item == -1));
    if !by_rule && !may_hang && others.iter().all(|name| expect[name].is_null()) {
        return Err("not refused".to_owned());
    }
    let Some(first) = messages.first() else {
        return Ok(());
    };
    if first.complete && !is_one_of(&expect["forward"]["body"], &first.content) {
        return Err(format!("content {}", first.content.escape_ascii()));
    }
    Ok(())
}

fn check_response(case: &Value, messages: &[Message], end: End) -> Result<(), String> {
    let client = &case["expect"]["client"];
    if let End::Response(error) = end {
        return if allows(&client["status"], u64::from(error.status())) {
            Ok(())
        } else {
            Err("refused".to_owned())
        };
    }
    let Some(last) = messages.last() else {
        return if allows(&client["status"], 504) {
            Ok(())
        } else {
            Err("nothing came".to_owned())
        };
    };
    if !is_one_of(&client["body"], &last.content) {
        return Err(format!("content {}", last.content.escape_ascii()));
    }
    if client["complete"]
        .as_bool()
        .is_some_and(|expected| expected != last.complete)
    {
        return Err(format!("complete is {}", last.complete));
    }
    let text = last
        .fields
        .iter()
        .flat_map(|(name, value)| [name, value])
        .chain([&last.line]);
    let clean = |bytes: &Vec<u8>| !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    if text.into_iter().all(clean) {
        Ok(())
    } else {
        Err("a line end or NUL in a head".to_owned())
    }
}

#[test]
fn requests_of_the_suite_are_safe() {
    let mut failures = Vec::new();
    for case in cases().iter().flatten() {
        let raw = bytes(&case["raw"]);
        let whole = read_requests(&raw, &mut || usize::MAX);
        // Megabytes in single bytes would take too long; the limits speak long before.
        let split = read_requests(&raw[..raw.len().min(400_000)], &mut || 1);
        let outcome = if whole == split {
            check_request(case, &whole.0, whole.1)
        } else {
            Err("split differs".into())
        };
        failures.extend(
            outcome
                .err()
                .map(|why| format!("{}: {why}, {:?}", case["id"], whole.1)),
        );
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn responses_of_the_suite_are_safe() {
    let mut failures = Vec::new();
    for case in cases()
        .iter()
        .flatten()
        .filter(|case| !case["backend"].is_null())
    {
        let raw = bytes(&case["backend"]);
        let whole = read_response(&raw, &mut || usize::MAX);
        let split = read_response(&raw[..raw.len().min(1_200_000)], &mut || 1);
        let outcome = if whole == split {
            check_response(case, &whole.0, whole.1)
        } else {
            Err("split differs".into())
        };
        failures.extend(
            outcome
                .err()
                .map(|why| format!("{}: {why}, {:?}", case["id"], whole.1)),
        );
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
