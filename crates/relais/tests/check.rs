//! `relais check` by its output and its exit status, and over real configurations where they are at hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A configuration in a folder of its own, which goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, configuration: &str) -> Self {
        let path = std::env::temp_dir().join(format!("relais-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        let folder = Self(path);
        folder.write("test.conf", configuration);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("written");
    }

    fn check(&self, name: &str, arguments: &[&str]) -> Output {
        check(&self.0.join(name), arguments)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn check(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    command.arg("check").arg("-f").arg(file).args(arguments);
    command.output().expect("relais runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const LOST: &str = "Listen 127.0.0.1:8080\nTimeout 60\nRewriteEngine On\n\
    RewriteRule ^/eventbus/(.*)$ http://127.0.0.1:7018/eventbus$1 [P]\n";

#[test]
fn exit_status() {
    let table: &[(&str, &[&str], i32)] = &[
        ("Listen 127.0.0.1:8080\n", &["--deny", "warnings"], 0),
        (LOST, &[], 0),
        (LOST, &["--deny", "warnings"], 4),
        ("Timeout abc\n", &[], 1),
        ("Include nowhere.conf\n", &[], 1),
        (
            "Include nowhere.conf\n",
            &["--offline", "--deny", "warnings"],
            0,
        ),
        (
            "ServerRoot /no/such/folder\nInclude *.conf\n",
            &["--offline"],
            0,
        ),
    ];
    for (index, (configuration, arguments, expected)) in table.iter().enumerate() {
        let folder = Folder::new(&format!("status-{index}"), configuration);
        let output = folder.check("test.conf", arguments);
        let said = text(&output);
        assert_eq!(
            output.status.code(),
            Some(*expected),
            "{configuration} {arguments:?}\n{said}"
        );
    }
}

#[test]
fn people_see_the_line_and_what_to_write() {
    let folder = Folder::new("human", LOST);
    let said = text(&folder.check("test.conf", &[]));
    for expected in [
        "warning[RC0401]",
        "test.conf:4:60",
        "^^",
        "write `http://127.0.0.1:7018/eventbus/$1`",
        "0 errors, 1 warning, 0 notes",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
}

#[test]
fn tools_get_places_and_the_chain_of_includes() {
    let folder = Folder::new("json", "Listen 127.0.0.1:8080\nInclude inner.conf\n");
    folder.write("inner.conf", LOST.split_once('\n').expect("lines").1);
    let output = folder.check("test.conf", &["--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["warnings"], 1);
    let one = &report["diagnostics"][0];
    assert_eq!(one["code"], "RC0401");
    assert_eq!(
        (&one["place"]["line"], &one["place"]["column"]),
        (&3.into(), &60.into())
    );
    assert_eq!(one["included_from"][0]["line"], 2);
    assert_eq!(
        one["suggestion"]["replacement"],
        "http://127.0.0.1:7018/eventbus/$1"
    );
}

#[test]
fn sarif_has_rules_results_and_fixes() {
    let folder = Folder::new("sarif", LOST);
    let output = folder.check("test.conf", &["--format", "sarif"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["version"], "2.1.0");
    let run = &report["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let result = &run["results"][0];
    assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]));
    assert_eq!(
        result["locations"][0]["physicalLocation"]["region"]["startLine"],
        4
    );
    let change = &result["fixes"][0]["artifactChanges"][0]["replacements"][0];
    assert_eq!(
        change["insertedContent"]["text"],
        "http://127.0.0.1:7018/eventbus/$1"
    );
}

/// What SARIF 2.1.0 demands of the objects that relais writes, by the section of the standard.
#[test]
fn sarif_is_as_the_standard_wants_it() {
    let folder = Folder::new(
        "sarif shape",
        "Listen 127.0.0.1:8080\nTimeout abc\nInclude inner.conf\nInclude nowhere.conf\n\
        Listen 127.0.0.1:8080\nProxyRequests On\n<VirtualHost *:80>\n",
    );
    folder.write("inner.conf", LOST.split_once('\n').expect("lines").1);
    let output = folder.check("test.conf", &["--format", "sarif"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // 3.13: version and runs; 3.14.6 and 3.18.2: the tool has a driver.
    assert_eq!(report["version"], "2.1.0");
    assert!(
        report["$schema"]
            .as_str()
            .expect("a URI")
            .contains("sarif-2.1.0")
    );
    let run = &report["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "relais");
    // 3.14.17: the unit of columns.
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    // 3.19.23 and 3.49: rules have ids, each once.
    let ids: Vec<&str> = list(&driver["rules"])
        .map(|rule| text_of(&rule["id"]))
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let results: Vec<&Value> = list(&run["results"]).collect();
    assert!(results.len() >= 6, "{report:#}");
    for result in &results {
        assert!(ids.contains(&text_of(&result["ruleId"])), "{result:#}");
        // 3.27.10 and 3.27.11.
        assert!(["none", "note", "warning", "error"].contains(&text_of(&result["level"])));
        assert!(!text_of(&result["message"]["text"]).is_empty());
        for location in list(&result["locations"]).chain(list(&result["relatedLocations"])) {
            assert_is_place(&location["physicalLocation"]);
        }
        for fix in result["fixes"].as_array().into_iter().flatten() {
            // 3.55.3, 3.56.2, 3.56.3 and 3.57.3: a fix has changes, and these say where and what.
            for change in list(&fix["artifactChanges"]) {
                for replacement in list(&change["replacements"]) {
                    let region = &replacement["deletedRegion"];
                    let place =
                        json!({ "artifactLocation": change["artifactLocation"], "region": region });
                    assert_is_place(&place);
                    text_of(&replacement["insertedContent"]["text"]);
                }
            }
        }
    }
    let levels: BTreeSet<&str> = results.iter().map(|one| text_of(&one["level"])).collect();
    assert!(levels.contains("error") && levels.contains("warning"));
}

/// 3.4.3: a URI reference; 3.30.5 to 3.30.8: a region that begins at 1 and does not end before it begins.
fn assert_is_place(place: &Value) {
    let uri = text_of(&place["artifactLocation"]["uri"]);
    assert!(uri.contains("sarif%20shape"), "{uri}");
    let number = |name: &str| place["region"][name].as_u64().expect("a number");
    let start = (number("startLine"), number("startColumn"));
    let end = (number("endLine"), number("endColumn"));
    assert!(start.0 >= 1 && start.1 >= 1 && end >= start, "{place:#}");
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("an array").iter()
}

fn text_of(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn debians_variables_are_known() {
    let folder = Folder::new("debian", "");
    folder.write("apache2.conf", "PidFile ${APACHE_RUN_DIR}/apache2.pid\n");
    folder.write("envvars", "export APACHE_RUN_DIR=/var/run/apache2$SUFFIX\n");
    let said = text(&folder.check("apache2.conf", &[]));
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

#[test]
fn hosts_are_listed_as_httpd_lists_them() {
    let folder = Folder::new(
        "hosts",
        "ServerName main.example\nListen 127.0.0.1:8080\nDefine FOO bar\n\
        <VirtualHost 127.0.0.1:8081>\nServerName ip1.example\n</VirtualHost>\n\
        <VirtualHost *:8080>\nServerName first.example\nServerAlias al.example *.wild.example\n</VirtualHost>\n\
        <VirtualHost *:8080>\nServerName Second.Example\n</VirtualHost>\n\
        <VirtualHost _default_:8082>\nServerName d.example:8443\nServerAlias x.example\n</VirtualHost>\n\
        <VirtualHost *:* 127.0.0.1:8082>\nServerName any.example\n</VirtualHost>\n\
        <VirtualHost [::1]:8083>\nServerName six.example\n</VirtualHost>\n\
        <VirtualHost 127.0.0.9>\nServerName nine.example\n</VirtualHost>\n",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    let output = command
        .arg("-S")
        .arg("-f")
        .arg(folder.0.join("test.conf"))
        .output()
        .expect("relais runs");
    let place = format!("{}/", folder.0.display());
    let said = text(&output).replace(&place, "");
    // What httpd 2.4.71 prints of the same file.
    let expected = "\
VirtualHost configuration:
[::1]:8083             six.example (test.conf:21)
127.0.0.9:*            nine.example (test.conf:24)
127.0.0.1:8081         ip1.example (test.conf:4)
127.0.0.1:8082         any.example (test.conf:18)
*:8080                 is a NameVirtualHost
         default server first.example (test.conf:7)
         port 8080 namevhost first.example (test.conf:7)
                 alias al.example
                 wild alias *.wild.example
         port 8080 namevhost Second.Example (test.conf:11)
*:8082                 d.example (test.conf:14)
*:*                    any.example (test.conf:18)
";
    assert!(said.starts_with(expected), "{said}");
    assert!(
        said.contains("\nDefine: DUMP_VHOSTS\nDefine: DUMP_RUN_CFG\nDefine: FOO=bar\n"),
        "{said}"
    );
}

/// Real configurations, where the folder with them stands beside the workspace. They lack their certificates,
/// includes and main files, and some name modules of third parties: what is asked is that each is read to its end.
#[test]
fn real_configurations_are_read_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Ok(folder) = std::fs::read_dir(root.join("../shared/corpus/apache-configs")) else {
        eprintln!("skipped: the configurations are not beside the workspace");
        return;
    };
    let files = folder.map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    let mut clean = 0;
    for file in &files {
        let output = check(file, &["--offline", "--format", "json"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}: {errors}",
            file.display()
        );
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        clean += usize::from(report["errors"] == 0);
    }
    eprintln!("{clean} of {} files have no error", files.len());
    // The others hold what relais refuses for good, or what httpd refuses too.
    assert!(
        clean * 100 >= files.len() * 82,
        "{clean} of {}",
        files.len()
    );
}
