//! The list of known differences, and how two outcomes differ.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The differences that `known-differences.toml` lists, by `case/exchange`.
pub(super) struct Known {
    listed: BTreeMap<String, String>,
    /// Lines that may differ in any exchange: `ids = ["*"]`.
    everywhere: Vec<String>,
}

impl Known {
    /// Reads the list. In an id two single quotes stand for a double one. The file keeps to the part of TOML that the list needs: `[[difference]]` tables with `ids`, a
    /// list of strings on one line, `reason`, a string, and `diff`, a literal string over several lines.
    pub(super) fn read(file: &Path) -> Self {
        Self::parse(&fs::read_to_string(file).expect("read the known differences"))
    }

    fn parse(text: &str) -> Self {
        let mut listed = BTreeMap::new();
        let mut everywhere = Vec::new();
        for table in text.split("[[difference]]\n").skip(1) {
            let line = |key: &str| {
                table
                    .lines()
                    .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))
            };
            let reason = line("reason").unwrap_or_default();
            assert!(
                reason.len() > 12,
                "a known difference without a reason:\n{table}"
            );
            let diff = table
                .split("'''")
                .nth(1)
                .unwrap_or_default()
                .trim_matches('\n')
                .to_owned();
            for id in line("ids")
                .unwrap_or_default()
                .split('"')
                .skip(1)
                .step_by(2)
            {
                if id == "*" {
                    everywhere.push(diff.clone());
                    continue;
                }
                let id = id.replace("''", "\"");
                assert!(
                    listed.insert(id.clone(), diff.clone()).is_none(),
                    "listed twice: {id}"
                );
            }
        }
        Self { listed, everywhere }
    }

    /// A difference without the lines that may differ in any exchange.
    pub(super) fn without_everywhere(&self, difference: &str) -> String {
        let mut lines: Vec<&str> = difference.lines().collect();
        for lines_of_one in &self.everywhere {
            let one: Vec<&str> = lines_of_one.lines().collect();
            while let Some(at) = lines.windows(one.len()).position(|part| part == one) {
                lines.drain(at..at + one.len());
            }
        }
        lines.join("\n")
    }

    /// The listed difference of an exchange.
    pub(super) fn get(&self, id: &str) -> Option<&str> {
        self.listed.get(id).map(String::as_str)
    }

    /// A sentence for each listed exchange, of those whose name contains `only`, that does not differ.
    pub(super) fn unused(&self, used: &[String], only: &str) -> Vec<String> {
        let unused = self
            .listed
            .keys()
            .filter(|id| !used.contains(id) && id.contains(only));
        unused
            .map(|id| format!("{id}: listed in known-differences.toml, and does not occur"))
            .collect()
    }
}

/// The lines that only one of the texts has, in order: `-` before those of `old`, `+` before those of `new`.
pub(super) fn changed_lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let common = common_lengths(&old, &new);
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("-{}", old[i]));
            i += 1;
        } else {
            out.push(format!("+{}", new[j]));
            j += 1;
        }
    }
    out.join("\n")
}

/// The length of the longest common subsequence of `old[i..]` and `new[j..]`, for all `i` and `j`.
fn common_lengths(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut lengths = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i][j] = if old[i] == new[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    lengths
}

#[test]
fn changed_lines_are_the_smallest_difference() {
    let rows = [
        ("a\nb\nc", "a\nb\nc", ""),
        ("a\nb\nc", "a\nc", "-b"),
        ("a\nc", "a\nb\nc", "+b"),
        ("a\nb\nc", "a\nx\nc", "-b\n+x"),
        ("", "a", "+a"),
    ];
    for (old, new, expected) in rows {
        assert_eq!(changed_lines(old, new), expected);
    }
}

#[test]
fn a_listed_difference_belongs_to_each_of_its_exchanges() {
    let known = Known::parse(
        "# Comment.\n[[difference]]\nids = [\"a/one\", \"b/two\"]\nreason = \"httpd sends nothing here\"\n\
         diff = '''\n-x\n+y\n'''\n",
    );
    assert_eq!(known.get("a/one"), Some("-x\n+y"));
    assert_eq!(known.get("b/two"), Some("-x\n+y"));
    assert_eq!(known.get("a/three"), None);
    let everywhere = Known::parse(
        "[[difference]]\nids = [\"*\"]\nreason = \"better in general\"\ndiff = '''\n-x\n+y\n'''\n",
    );
    assert_eq!(everywhere.without_everywhere("-a\n-x\n+y"), "-a");
    assert_eq!(known.unused(&["a/one".to_owned()], "").len(), 1);
}
