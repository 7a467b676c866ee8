//! `relais explain` over the fixtures in `testdata/explain`: a configuration, then questions with what they are
//! answered. `RELAIS_BLESS=1` writes the answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A fixture: a configuration and the questions about it.
struct Fixture {
    path: PathBuf,
    configuration: String,
    questions: Vec<Question>,
}

/// A command line behind `relais explain`, and the answer.
struct Question {
    line: String,
    answer: String,
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a fixture");
        let (configuration, rest) = text.split_once("\n---- ").expect("a question");
        let questions = rest.split("\n---- ").map(|part| {
            let (line, answer) = part.split_once('\n').expect("an answer");
            Question {
                line: line.to_owned(),
                answer: answer.trim_end().to_owned(),
            }
        });
        Self {
            path: path.to_owned(),
            configuration: configuration.to_owned(),
            questions: questions.collect(),
        }
    }

    fn text(&self) -> String {
        let questions = self.questions.iter();
        let questions = questions.map(|one| format!("\n---- {}\n{}", one.line, one.answer));
        format!("{}{}\n", self.configuration, questions.collect::<String>())
    }
}

/// Asks the program, in a folder that has the configuration.
struct Program(PathBuf);

impl Program {
    fn new(fixture: &Fixture, purpose: &str) -> Self {
        let name = fixture.path.file_stem().expect("a name").display();
        let name = format!("relais-explain-{purpose}-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("test.conf"), &fixture.configuration).expect("written");
        Self(folder)
    }

    fn ask(&self, line: &str, more: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
        command.arg("explain").args(words(line)).args(more);
        let file = self.0.join("test.conf");
        let output = command.arg("-f").arg(file).output().expect("relais runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("UTF-8");
        let said = said.replace(&format!("{}/", self.0.display()), "");
        // It is another one for each request.
        let lines = said.lines().filter(|line| !line.contains("UNIQUE_ID"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The words of a line; blanks between quotes belong to a word.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/explain");
    let files = std::fs::read_dir(folder).expect("the fixtures");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "{paths:?}");
    paths.iter().map(|path| Fixture::read(path)).collect()
}

#[test]
fn answers() {
    for mut fixture in fixtures() {
        let program = Program::new(&fixture, "answers");
        for question in &mut fixture.questions {
            let said = program.ask(&question.line, &[]);
            if std::env::var_os("RELAIS_BLESS").is_some() {
                question.answer = said.clone();
            }
            let (path, line) = (fixture.path.display(), &question.line);
            assert_eq!(said, question.answer, "{path}: {line}\n{said}");
        }
        if std::env::var_os("RELAIS_BLESS").is_some() {
            std::fs::write(&fixture.path, fixture.text()).expect("written");
        }
    }
}

#[test]
fn json_says_as_much() {
    for fixture in fixtures() {
        let program = Program::new(&fixture, "json");
        for question in &fixture.questions {
            let json = program.ask(&question.line, &["--format", "json"]);
            let Ok(json) = serde_json::from_str::<Value>(&json) else {
                assert!(!question.answer.contains("decision"), "{json}");
                continue;
            };
            let mut texts = Vec::new();
            collect(&json, &mut texts);
            for line in question.answer.lines() {
                let row = row(line);
                assert!(
                    texts.iter().any(|text| text.contains(row)),
                    "{}: {row}\n{json:#}",
                    fixture.path.display()
                );
            }
        }
    }
}

/// A row without its topic and its place, and of a row of values the first.
fn row(line: &str) -> &str {
    let line = line.strip_prefix("    > ").unwrap_or(line);
    let topic = line.strip_prefix("  ").and_then(|line| line.get(9..));
    let text = topic.unwrap_or(line).trim();
    let text = text.split("  (").next().unwrap_or(text);
    let text = text.strip_suffix(" gets").unwrap_or(text);
    text.split("='").next().unwrap_or(text)
}

/// Every text of a document, names among them.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                texts.push(name.clone());
                collect(value, texts);
            }
        }
        _ => {}
    }
}
