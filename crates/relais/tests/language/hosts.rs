//! `-S` against httpd: the same list of virtual hosts, line by line.
//!
//! The last part of each case of `conformance/hosts.cases` is what httpd 2.4.71 prints, without its mutexes, of which
//! relais has none. relais must print the same; httpd is asked again where it is installed.
//!
//! Three things are not the same and in no case: of a host in a macro httpd says the macro's name and both lines where
//! relais has a place, of a continued `<VirtualHost` line the last line, and a host without a name for one address is
//! called what the DNS says, which relais does not ask.

use std::path::Path;

use crate::cases::{Case, Folder, HTTPD, httpd_is_there, judge, text};

/// What a program lists, without the place of the files.
fn listed(program: &Path, folder: &Path) -> String {
    let said = text(&judge(program, folder, &["-S"]));
    let said = said.replace(&folder.display().to_string(), "DIR");
    let start = said.find("VirtualHost configuration:").unwrap_or(0);
    let lines = said[start..].lines();
    let lines = lines.take_while(|line| !line.is_empty() && !line.starts_with("note["));
    let kept = lines.filter(|line| !line.starts_with("Mutex ") && !line.contains("] ["));
    kept.map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn the_list_of_hosts_is_that_of_httpd() {
    let root = Folder::new("hosts");
    let httpd = httpd_is_there();
    for (index, mut case) in Case::all("hosts.cases").into_iter().enumerate() {
        let (_, expected) = case.files.pop().expect("what is expected");
        let folder = root.0.join(index.to_string());
        case.write(&folder);
        if httpd {
            assert_eq!(
                listed(Path::new(HTTPD), &folder),
                expected,
                "httpd, {}",
                case.name
            );
        }
        let own = listed(Path::new(env!("CARGO_BIN_EXE_relais")), &folder);
        assert_eq!(own, expected, "{}", case.name);
    }
}
