//! The corpora of earlier hunts, and all configurations of the fixtures, through the functions that are hunted in.

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let files = std::fs::read_dir(&corpus).expect("a corpus");
    let mut count = 0;
    for file in files {
        run(&std::fs::read(file.expect("an entry").path()).expect("an input"));
        count += 1;
    }
    assert!(count >= 10, "{} holds {count} inputs", corpus.display());
}

#[test]
fn lexer() {
    replay("lexer", relais_fuzz::lexer);
}

#[test]
fn parser() {
    replay("parser", relais_fuzz::parser);
}

#[test]
fn expression() {
    replay("expression", relais_fuzz::expression);
}

#[test]
fn rule() {
    replay("rule", relais_fuzz::rule);
}

#[test]
fn record() {
    replay("record", relais_fuzz::record);
}

#[test]
fn configuration() {
    replay("configuration", relais_fuzz::configuration);
}
