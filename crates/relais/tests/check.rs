//! `relais check` by its output and its exit status, and over real configurations where they are at hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
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
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
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
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        clean += usize::from(report["errors"] == 0);
    }
    eprintln!("{clean} of {} files have no error", files.len());
}
