//! Runs `testdata/*.test`: configurations with the tree and the diagnostics they give.
//!
//! A file is cases, each starting with `==== title`. A case is the main file, then parts that start with `---- kind`:
//! `file PATH` is another file, `define NAME[=VALUE]`, `environment NAME=VALUE`, `module NAME`, `before LINE` and
//! `after LINE` set things up, and `tree`, `diagnostics` and `includes` are expected. In files, `«bom»`, `«cr»`, `«nul»`,
//! `«blank»` and `«ff»` stand for bytes that editors do not keep. With `RELAIS_BLESS=1` in the environment expectations are rewritten.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use relais_conf::{Diagnostics, Host, Loaded, MemoryFiles, Options, Text, load};

#[derive(Default)]
struct Modules {
    present: BTreeSet<String>,
}

impl Host for Modules {
    fn load_module(&mut self, name: &Text, _: &Text, _: &mut Diagnostics) {
        self.present.insert(name.lossy().into_owned());
    }

    fn module_present(&self, name: &str) -> bool {
        self.present.contains(name)
    }

    fn directive_known(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("Listen") || name.eq_ignore_ascii_case("<Location")
    }
}

struct Case {
    title: String,
    main: String,
    /// Kind with its argument, and text.
    parts: Vec<(String, String)>,
}

impl Case {
    fn parse(text: &str) -> Self {
        let (title, rest) = text.split_once('\n').expect("a title");
        let mut parts = rest.split_inclusive('\n').fold(
            vec![(String::new(), String::new())],
            |mut parts, line| {
                match line.strip_prefix("---- ") {
                    Some(kind) => parts.push((kind.trim_end().to_owned(), String::new())),
                    None => parts.last_mut().expect("a part").1.push_str(line),
                }
                parts
            },
        );
        Self {
            title: title.to_owned(),
            main: parts.remove(0).1,
            parts,
        }
    }

    fn settings<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.parts
            .iter()
            .filter_map(move |(name, _)| name.strip_prefix(kind)?.strip_prefix(' '))
    }

    fn load(&self) -> Loaded {
        let mut files = MemoryFiles::new()
            .with("/etc/main.conf", raw(&self.main))
            .with("/srv/keep", "");
        for (kind, text) in &self.parts {
            if let Some(path) = kind.strip_prefix("file ") {
                files.insert(Path::new("/etc").join(path), raw(text));
            }
        }
        let pairs = |kind| {
            self.settings(kind).map(|pair| {
                pair.split_once('=')
                    .map_or((pair, None), |(n, v)| (n, Some(v)))
            })
        };
        let environment: Vec<_> = pairs("environment")
            .map(|(n, v)| (n.to_owned(), v.unwrap_or("").into()))
            .collect();
        let mut host = Modules {
            present: self.settings("module").map(str::to_owned).collect(),
        };
        let options = Options {
            defines: pairs("define")
                .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
                .collect(),
            before: self.settings("before").map(str::to_owned).collect(),
            after: self.settings("after").map(str::to_owned).collect(),
            environment: Box::new(move |name| {
                environment
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, v): &(_, Vec<u8>)| v.clone())
            }),
            ..Options::new("/etc/main.conf")
        };
        load(options, &files, &mut host)
    }

    /// The case with what it really gives in place of what it expects.
    fn actual(&self) -> String {
        let loaded = self.load();
        let mut out = format!("==== {}\n{}", self.title, self.main);
        for (kind, text) in &self.parts {
            let text = match kind.as_str() {
                "tree" => loaded.tree.dump(),
                "diagnostics" => loaded.diagnostics.render(&loaded.sources),
                "includes" => includes(&loaded),
                _ => text.clone(),
            };
            let _ = writeln!(out, "---- {kind}");
            let text = text.trim_end_matches('\n');
            out.push_str(text);
            out.push_str(if text.is_empty() { "" } else { "\n" });
        }
        out
    }
}

fn includes(loaded: &Loaded) -> String {
    let name = |file| &loaded.sources.get(file).name;
    let line = |(file, from): &(_, Option<(_, u32)>)| match from {
        Some((from, line)) => format!("{} from {}:{line}\n", name(*file), name(*from)),
        None => format!("{}\n", name(*file)),
    };
    loaded.includes.iter().map(line).collect()
}

fn raw(text: &str) -> Vec<u8> {
    let bytes = text
        .replace("«bom»", "\u{feff}")
        .replace("«cr»", "\r")
        .replace("«nul»", "\0")
        .replace("«blank»", " ");
    let mut out = Vec::new();
    for (index, part) in bytes.split("«ff»").enumerate() {
        out.extend((index > 0).then_some(0xff));
        out.extend(part.as_bytes());
    }
    out
}

fn normal(text: &str) -> String {
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn fixtures() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let bless = std::env::var_os("RELAIS_BLESS").is_some();
    let mut cases_seen = 0;
    for entry in std::fs::read_dir(directory).expect("testdata") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("fixture");
        let mut all = Vec::new();
        for source in format!("\n{text}").split("\n==== ").skip(1) {
            let actual = Case::parse(source).actual();
            if !bless {
                assert_eq!(
                    normal(&actual),
                    normal(&format!("==== {source}")),
                    "{}",
                    path.display()
                );
            }
            all.push(actual);
        }
        cases_seen += all.len();
        if bless {
            std::fs::write(&path, all.join("\n")).expect("writing");
        }
    }
    assert!(cases_seen > 20, "only {cases_seen} cases were found");
}
