//! One program with the samples of a batch.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::requests::Request;
use super::{FILES, Sample};
use crate::conformance::run::{loads, normal, quiet_address};
use crate::harness::program::{Program, Site};
use crate::harness::text::escape;
use crate::harness::wire::Conn;
use crate::harness::{Dir, eventually, within};

/// A folder with the files that samples name, for both programs: so their names are the same in either.
pub(super) fn files() -> Dir {
    let dir = Dir::new();
    for (name, text) in FILES {
        let path = dir.join(name);
        let folder = path.parent().expect("a folder");
        fs::create_dir_all(folder).expect("create a folder of the samples");
        fs::write(&path, text).expect("write a file of the samples");
        // httpd's tag of a file that has just been changed is a weak one.
        let file = fs::File::options().append(true).open(&path);
        file.and_then(|file| file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)))
            .expect("make a file of the samples older");
    }
    dir
}

/// A program that runs samples.
pub(super) struct Side {
    site: Site,
    addresses: Vec<SocketAddr>,
}

impl Side {
    /// Writes the samples, each at an address of its own.
    pub(super) fn new(
        program: Program,
        samples: &[Sample],
        origin: SocketAddr,
        files: &Path,
    ) -> Self {
        let site = Site::at(quiet_address(), program, "");
        let mut addresses = Vec::new();
        for (index, sample) in samples.iter().enumerate() {
            let host = u8::try_from(100 + index).expect("at most 150 samples in one program");
            let address = SocketAddr::from(([127, 0, 1, host], site.address.port()));
            let log = site.dir.join(&log_name(index));
            let text = format!("Listen LISTEN\n{}", sample.configuration())
                .replace("DIR/LOG", &log.display().to_string())
                .replace("DIR", &files.display().to_string())
                .replace("LISTEN", &address.to_string())
                .replace("ORIGIN", &origin.to_string());
            fs::write(site.dir.join(&format!("{index:03}.conf")), text)
                .expect("write a sample's configuration");
            addresses.push(address);
        }
        let side = Self { site, addresses };
        side.include(&[]);
        side
    }

    /// Writes the main file, without the samples in `out`.
    fn include(&self, out: &[usize]) {
        let mut body = loads();
        // What stands for a folder is another matter than where a request goes.
        body += "LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so\nDirectorySlash Off\nDirectoryIndex disabled\n";
        for index in (0..self.addresses.len()).filter(|index| !out.contains(index)) {
            body += &format!("Include DIR/{index:03}.conf\n");
        }
        self.site.configure(&body);
    }

    /// The samples that relais refuses, with what it says. It names all of them at once.
    pub(super) fn refused_by_relais(&self) -> Vec<(usize, String)> {
        let output = self.site.run(&["-t"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let blocks: Vec<&str> = said
            .split("\n\n")
            .filter(|block| block.contains("error["))
            .collect();
        let refused = (0..self.addresses.len()).filter_map(|index| {
            let file = format!("/{index:03}.conf:");
            let block = blocks.iter().find(|block| block.contains(&file))?;
            Some((index, (*block).to_owned()))
        });
        refused.collect()
    }

    /// The samples that httpd refuses, with what it says. It names one file at a time.
    pub(super) fn refused_by_httpd(&self) -> Vec<(usize, String)> {
        let mut refused: Vec<(usize, String)> = Vec::new();
        loop {
            let out: Vec<usize> = refused.iter().map(|(index, _)| *index).collect();
            self.include(&out);
            let output = self.site.run(&["-t"]);
            if output.status.success() {
                return refused;
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let named = said.split(".conf").find_map(|part| {
                let digits = part.get(part.len().checked_sub(3)?..)?;
                digits.parse::<usize>().ok()
            });
            let index = named.unwrap_or_else(|| panic!("httpd refuses what no sample has: {said}"));
            assert!(!out.contains(&index), "httpd does not load it: {said}");
            refused.push((index, said));
        }
    }

    /// The responses of each sample but those in `out`, in the form in which they are compared.
    pub(super) fn run(self, samples: &[Sample], out: &[usize]) -> Vec<Vec<String>> {
        self.include(out);
        let Self { site, addresses } = self;
        let running = site.start();
        let results: Vec<Mutex<Vec<String>>> = samples.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed))
                        .filter(|index| *index < samples.len())
                    {
                        if !out.contains(&index) {
                            let log = running.site.dir.join(&log_name(index));
                            let seen = ask_all(addresses[index], &samples[index], &log);
                            *results[index].lock().expect("a sample's responses") = seen;
                        }
                    }
                });
            }
        });
        drop(running);
        let results = results.into_iter().map(|one| one.into_inner());
        results
            .map(|one| one.expect("a sample's responses"))
            .collect()
    }
}

/// What is seen of each request of a sample: the response, and the lines that it adds to the log if there is one.
fn ask_all(address: SocketAddr, sample: &Sample, log: &Path) -> Vec<String> {
    eventually(|| TcpStream::connect(address).is_ok());
    let is_logged = sample
        .parts
        .iter()
        .any(|part| part.starts_with("CustomLog "));
    let (mut lines, mut missing) = (0, false);
    let ask_one = |request: &Request| {
        let mut seen = ask(address, request);
        if is_logged {
            // Where one line never comes, the next are not waited for as long.
            let limit = if missing {
                LOG_PATIENCE / 40
            } else {
                LOG_PATIENCE
            };
            missing |= !within(limit, || read(log).len() > lines);
            let all = read(log);
            let new: String = all
                .iter()
                .skip(lines)
                .map(|line| format!("\n{LOG}{line}"))
                .collect();
            lines = all.len();
            seen += &format!(
                "\n---- access log{}",
                new.replace(&address.to_string(), "LISTEN")
            );
        }
        seen
    };
    sample.requests.iter().map(ask_one).collect()
}

fn read(log: &Path) -> Vec<String> {
    let bytes = fs::read(log).unwrap_or_default();
    // A line that is still being written is none yet.
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    String::from_utf8_lossy(&bytes[..whole])
        .lines()
        .map(str::to_owned)
        .collect()
}

fn ask(address: SocketAddr, request: &Request) -> String {
    let mut conn = Conn::connect(address);
    conn.send(&request.bytes());
    let response = conn.rest();
    let lines = escape(&response).into_iter().map(|line| {
        let line = line.replace(&address.to_string(), "LISTEN");
        in_order(normal(&line))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The methods of `Allow` and the names in `Vary` in order. httpd's hash table has the methods in another order in each
/// of its processes, and the order of names depends on the compiler's order of evaluation.
fn in_order(line: String) -> String {
    let Some((name @ ("Allow" | "Vary"), list)) = line.split_once(": ") else {
        return line;
    };
    let mut list: Vec<&str> = list.split(',').map(str::trim).collect();
    list.sort_unstable();
    format!("{name}: {}", list.join(","))
}

/// What a line of the access log begins with in what is compared.
pub(super) const LOG: &str = "log: ";

fn log_name(index: usize) -> String {
    format!("{index:03}.log")
}

/// How many samples are asked at the same time.
const AT_A_TIME: usize = 4;
/// How long a line of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(8);
