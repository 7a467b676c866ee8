//! Server variables of an exchange: what `%{NAME}` stands for in rewrite rules
//! and expressions (mod_rewrite.html#rewritecond, expr.html#vars).
//!
//! A variable that has no value here, such as a file's owner, is empty.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use relais_expr::{FileTest, Lookup, Variable};
use relais_http1::{Fields, split_host_port};

use crate::exchange::Exchange;
use crate::uri;

impl Lookup for Exchange<'_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::Header(name) => self.field(name, out),
            Variable::Env(name) => self.environment_variable(name, out),
            Variable::RequestEnv(name) => {
                out.extend_from_slice(self.environment.get(name).unwrap_or_default())
            }
            Variable::ProcessEnv(name) => process_variable(name, out),
            Variable::Ssl(name) => self.tls_variable(name, out),
            Variable::RequestMethod => out.extend_from_slice(self.head.method()),
            // Before the path has been decoded, httpd has what was sent.
            Variable::RequestUri | Variable::DocumentUri if self.path.is_empty() => {
                out.extend_from_slice(uri::split_target(self.head.target()).0);
            }
            Variable::QueryString if self.path.is_empty() => {
                let (_, query) = uri::split_target(self.head.target());
                out.extend_from_slice(query.unwrap_or_default());
            }
            Variable::RequestUri | Variable::DocumentUri => out.extend_from_slice(&self.path),
            Variable::RequestFilename | Variable::ScriptFilename => self.file_name(out),
            Variable::PathInfo => out.extend_from_slice(&self.path_info),
            Variable::QueryString => {
                out.extend_from_slice(self.query.as_deref().unwrap_or_default())
            }
            Variable::TheRequest => out.extend_from_slice(self.head.line()),
            Variable::RequestScheme => out.extend_from_slice(self.scheme().as_bytes()),
            Variable::ServerProtocol => {
                out.extend_from_slice(self.head.version().as_str().as_bytes())
            }
            // What it is before there is an answer, as in httpd.
            Variable::RequestStatus => out.extend_from_slice(b"200"),
            _ => self.server_variable(variable, out),
        }
    }

    fn file_test(&self, test: FileTest, path: &[u8]) -> bool {
        match test {
            FileTest::UrlByRequest if !path.is_empty() => self
                .look_up_path(path)
                .is_some_and(|found| found.status < 400),
            FileTest::FileByRequest if !path.is_empty() => {
                let found = self.look_up_file(path);
                let file = found
                    .as_ref()
                    .filter(|found| found.status < 300)
                    .and_then(|found| found.exchange.file.as_deref());
                file.is_some_and(|file| file_test(FileTest::Exists, file))
            }
            _ => file_test(test, path),
        }
    }

    fn file_contents(&self, path: &[u8]) -> Option<Vec<u8>> {
        fs::read(OsStr::from_bytes(path)).ok()
    }

    fn file_size(&self, path: &[u8]) -> Option<u64> {
        fs::metadata(OsStr::from_bytes(path))
            .ok()
            .map(|file| file.len())
    }
}

/// A request with the head of its answer: what expressions see when the answer
/// goes out, and when it is logged.
pub struct Answered<'a> {
    /// The request.
    pub exchange: &'a Exchange<'a>,
    /// The answer's status.
    pub status: u16,
    /// Its fields; the first list is asked first.
    pub fields: [&'a Fields; 2],
}

impl Answered<'_> {
    fn field(&self, name: &[u8], out: &mut Vec<u8>) {
        let value = self.fields.iter().find_map(|fields| fields.get(name));
        out.extend_from_slice(value.unwrap_or_default());
    }
}

impl Lookup for Answered<'_> {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::RequestStatus => show(self.status, out),
            Variable::ResponseHeader(name) => self.field(name, out),
            Variable::ContentType => self.field(b"Content-Type", out),
            _ => self.exchange.variable(variable, out),
        }
    }

    fn file_test(&self, test: FileTest, path: &[u8]) -> bool {
        self.exchange.file_test(test, path)
    }

    fn file_contents(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.exchange.file_contents(path)
    }

    fn file_size(&self, path: &[u8]) -> Option<u64> {
        self.exchange.file_size(path)
    }
}

impl Exchange<'_> {
    fn server_variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        let connection = &self.connection;
        let client = self.client.ip().to_canonical();
        match variable {
            Variable::RemoteHost if self.client_name.is_some() => {
                out.extend_from_slice(self.client_name.as_deref().unwrap_or_default());
            }
            Variable::RemoteAddr | Variable::RemoteHost => show(client, out),
            Variable::ConnRemoteAddr => show(connection.peer.ip().to_canonical(), out),
            Variable::RemotePort => show(self.client.port(), out),
            Variable::RemoteUser => out.extend_from_slice(self.user.as_deref().unwrap_or_default()),
            Variable::AuthType => {
                out.extend_from_slice(self.auth_type.unwrap_or_default().as_bytes())
            }
            Variable::ServerAddr => show(connection.local.ip().to_canonical(), out),
            Variable::ServerAdmin => show(&self.host.spec.server_admin, out),
            Variable::ServerName => self.server_name(out),
            Variable::ServerPort => show(self.server_port(), out),
            Variable::ServerSoftware => show(&self.host.spec.server_tokens, out),
            Variable::Https => show(on_off(connection.secure), out),
            Variable::Ipv6 => show(on_off(client.is_ipv6()), out),
            Variable::IsSubreq => show(self.is_subrequest(), out),
            Variable::LastModified => self.last_modified(out),
            Variable::DocumentRoot => {
                out.extend_from_slice(self.host.spec.document_root.as_deref().unwrap_or_default());
            }
            Variable::ContextDocumentRoot => {
                let own = self.alias.as_ref().map(|(folder, _)| folder);
                let root = own.or(self.host.spec.document_root.as_ref());
                out.extend_from_slice(root.map(Vec::as_slice).unwrap_or_default());
            }
            Variable::ContextPrefix => {
                let own = self.alias.as_ref().map(|(_, prefix)| prefix);
                out.extend_from_slice(own.map(Vec::as_slice).unwrap_or_default());
            }
            Variable::Http2 => show("off", out),
            Variable::RequestStatus => show("200", out),
            Variable::Handler => {
                out.extend_from_slice(self.handler.as_deref().unwrap_or_default());
            }
            Variable::ApiVersion => show(format_args!("{API_MAJOR}:{API_MINOR}"), out),
            Variable::ApiMajor => show(API_MAJOR, out),
            // The rest is about files, users and programs, which relais does
            // not have, or about the time.
            _ => self.time(variable, out),
        }
    }

    /// Appends a variable of mod_ssl (`%{SSL:NAME}`); names are upper case. One
    /// that has no value appends nothing.
    pub fn tls_variable(&self, name: &[u8], out: &mut Vec<u8>) {
        if name == b"HTTPS" {
            return show(on_off(self.connection.secure), out);
        }
        let name = std::str::from_utf8(name).unwrap_or_default();
        let value = self.tls.and_then(|tls| tls.variable(name));
        out.extend_from_slice(value.unwrap_or_default().as_bytes());
    }

    /// A variable of the request, else one of the process.
    fn environment_variable(&self, name: &[u8], out: &mut Vec<u8>) {
        if let Some(value) = self.environment.get(name) {
            out.extend_from_slice(value);
        } else {
            process_variable(name, out);
        }
    }

    /// A request field, its repetitions joined as httpd joins them.
    fn field(&self, name: &[u8], out: &mut Vec<u8>) {
        let fields = self
            .fields()
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name));
        for (index, (_, value)) in fields.enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(value);
        }
    }

    fn scheme(&self) -> &str {
        let by_connection = if self.connection.secure {
            "https"
        } else {
            "http"
        };
        self.host
            .spec
            .server_scheme
            .as_deref()
            .unwrap_or(by_connection)
    }

    /// `ap_get_server_name`: the client's name for us unless
    /// `UseCanonicalName` is On.
    fn server_name(&self, out: &mut Vec<u8>) {
        match self.client_host() {
            Some(client) => out.extend(client.host.to_ascii_lowercase()),
            None => out.extend_from_slice(self.host.spec.server_name.as_bytes()),
        }
    }

    /// `ap_get_server_port`: the client's, that of `ServerName`, or the
    /// scheme's; never the listening port.
    fn server_port(&self) -> u16 {
        let default = if self.scheme() == "https" { 443 } else { 80 };
        self.client_host()
            .and_then(|client| client.port)
            .or(self.host.spec.server_port)
            .unwrap_or(default)
    }

    fn client_host(&self) -> Option<relais_http1::HostPort<'_>> {
        if self.host.spec.canonical_name {
            return None;
        }
        self.fields().get("Host").and_then(split_host_port)
    }

    /// The name of the file, `proxy:` and the URL of a request that is proxied,
    /// or the path as long as it leads to neither.
    fn file_name(&self, out: &mut Vec<u8>) {
        match (&self.proxy, &self.file) {
            (Some(proxy), _) => {
                out.extend_from_slice(b"proxy:");
                out.extend_from_slice(&proxy.url);
            }
            (None, Some(file)) => out.extend_from_slice(file),
            (None, None) => out.extend_from_slice(&self.path),
        }
    }

    /// When the file was changed, in the system's time zone; httpd's answer for
    /// what is no file is the epoch.
    fn last_modified(&self, out: &mut Vec<u8>) {
        let at = self.modified.unwrap_or(SystemTime::UNIX_EPOCH);
        if let Ok(at) = Timestamp::try_from(at) {
            time_part(&Variable::Time, TimeZone::system().to_datetime(at), out);
        }
    }

    /// `TIME` and its parts, in the system's time zone.
    fn time(&self, variable: &Variable, out: &mut Vec<u8>) {
        if let Ok(now) = Timestamp::try_from(self.now) {
            time_part(variable, TimeZone::system().to_datetime(now), out);
        }
    }
}

fn time_part(variable: &Variable, at: DateTime, out: &mut Vec<u8>) {
    match variable {
        Variable::Time => show(at.strftime("%Y%m%d%H%M%S"), out),
        Variable::TimeYear => show(at.strftime("%Y"), out),
        Variable::TimeMon => show(at.strftime("%m"), out),
        Variable::TimeDay => show(at.strftime("%d"), out),
        Variable::TimeHour => show(at.strftime("%H"), out),
        Variable::TimeMin => show(at.strftime("%M"), out),
        Variable::TimeSec => show(at.strftime("%S"), out),
        Variable::TimeWday => show(at.strftime("%w"), out),
        _ => {}
    }
}

/// What the tests of expressions and conditions say about a path.
fn file_test(test: FileTest, path: &[u8]) -> bool {
    let name = OsStr::from_bytes(path);
    if path.is_empty() {
        return false;
    }
    if test == FileTest::Link {
        return fs::symlink_metadata(name).is_ok_and(|file| file.is_symlink());
    }
    fs::metadata(name).is_ok_and(|file| match test {
        FileTest::Directory => file.is_dir(),
        FileTest::Regular => file.is_file(),
        FileTest::NotEmpty => file.is_file() && file.len() > 0,
        FileTest::Executable => file.permissions().mode() & 0o111 != 0,
        FileTest::Exists | FileTest::Link => true,
        // These are asked of a request.
        FileTest::FileByRequest | FileTest::UrlByRequest => false,
    })
}

fn process_variable(name: &[u8], out: &mut Vec<u8>) {
    if !name.is_empty() && !name.contains(&b'=') && !name.contains(&0) {
        let value = std::env::var_os(OsStr::from_bytes(name)).unwrap_or_default();
        out.extend_from_slice(value.as_bytes());
    }
}

fn show(value: impl Display, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{value}");
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// `MODULE_MAGIC_NUMBER_MAJOR` and `_MINOR` of httpd 2.4.71, whose configuration
/// relais reads.
const API_MAJOR: u32 = 20_120_211;
const API_MINOR: u32 = 142;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_time() {
        let at = DateTime::constant(2026, 11, 2, 3, 4, 5, 0);
        let table: &[(Variable, &str)] = &[
            (Variable::Time, "20261102030405"),
            (Variable::TimeYear, "2026"),
            (Variable::TimeMon, "11"),
            (Variable::TimeDay, "02"),
            (Variable::TimeHour, "03"),
            (Variable::TimeMin, "04"),
            (Variable::TimeSec, "05"),
            (Variable::TimeWday, "1"),
            (Variable::DocumentRoot, ""),
        ];
        for (variable, expected) in table {
            let mut out = Vec::new();
            time_part(variable, at, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), *expected, "{variable:?}");
        }
    }

    #[test]
    fn tests_of_files() {
        use FileTest::{Directory, Executable, Exists, Link, NotEmpty, Regular};
        let root = env!("CARGO_MANIFEST_DIR");
        let file = format!("{root}/Cargo.toml");
        for (test, path, expected) in [
            (Exists, file.as_str(), true),
            (Exists, "/nonexistent", false),
            (Directory, root, true),
            (Directory, &file, false),
            (Regular, &file, true),
            (Regular, root, false),
            (NotEmpty, &file, true),
            (NotEmpty, "", false),
            (Link, &file, false),
            (Executable, root, true),
            (Executable, &file, false),
        ] {
            assert_eq!(
                file_test(test, path.as_bytes()),
                expected,
                "{test:?} {path}"
            );
        }
    }
}
