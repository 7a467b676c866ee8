//! The demonstration page in headless Chromium: what is typed in one tab arrives in the other.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::program::Program;
use crate::harness::wire::{Conn, Kind, find, status};
use crate::harness::{Dir, eventually, installed};

#[test]
fn a_message_typed_in_one_tab_arrives_in_the_other() {
    if !installed(&[
        ("chromium", "chromium"),
        ("chromedriver", "chromium-driver"),
    ]) {
        return;
    }
    let demo = Demo::start();
    let browser = Browser::start(&[]);
    let first = browser.open_tab(&demo.url);
    let second = browser.open_tab(&demo.url);
    for tab in [&first, &second] {
        browser.switch_to(tab);
        assert!(
            eventually(|| browser.text("#state").contains("connected")),
            "{}",
            browser.text("body")
        );
    }
    browser.switch_to(&first);
    browser.type_into("#message", "hello from the first tab");
    browser.click("#send");
    browser.switch_to(&second);
    let arrived = eventually(|| browser.text("#log li").contains("hello from the first tab"));
    assert!(arrived, "the second tab shows: {}", browser.text("body"));
    browser.type_into("#message", "and back: ü €");
    browser.click("#send");
    browser.switch_to(&first);
    assert!(
        eventually(|| browser.text("#log").contains("and back: ü €")),
        "{}",
        browser.text("body")
    );
}

/// `relais demo` on a port that the kernel picks.
struct Demo {
    child: Child,
    url: String,
}

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(Program::Relais.path());
        command
            .args(["demo", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("start the demonstration");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let url = output.lines().map_while(Result::ok).find_map(|line| {
            let start = line.find("Open http://127.0.0.1:")? + "Open ".len();
            line.get(start..)?
                .split_whitespace()
                .next()
                .map(str::to_owned)
        });
        Self {
            child,
            url: url.expect("the address of the demonstration"),
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser session, driven as the WebDriver recommendation of the W3C says.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
    profile: Dir,
}

impl Browser {
    /// Starts Chromium with more flags.
    pub(crate) fn start(more: &[&str]) -> Self {
        let mut command = Command::new("chromedriver");
        command
            .args(["--port=0", "--allowed-ips="])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut driver = command.spawn().expect("start chromedriver");
        let output = BufReader::new(driver.stdout.take().expect("its output"));
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            let rest = line.split("started successfully on port ").nth(1)?;
            Some(rest.trim_end_matches('.').to_owned())
        });
        let profile = Dir::new();
        let address = format!("127.0.0.1:{}", port.expect("chromedriver's port"));
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
            profile,
        };
        browser.begin(more);
        browser
    }

    /// Starts Chromium without its sandbox, which root cannot have, and without its own talk to the network.
    fn begin(&mut self, more: &[&str]) {
        let user_data = format!("--user-data-dir={}", self.profile.path().display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &user_data,
        ];
        let flags = flags.iter().chain(more).map(|flag| quoted(flag));
        let flags: Vec<String> = flags.collect();
        let answer = self.post(
            "/session",
            &format!("{{\"capabilities\":{{\"alwaysMatch\":{{\"goog:chromeOptions\":{{\"args\":[{}]}}}}}}}}", flags.join(",")),
        );
        self.session = format!("/session/{}", string_after(&answer, "\"sessionId\":"));
    }

    /// Opens a page in a new tab and returns the tab's name.
    pub(crate) fn open_tab(&self, url: &str) -> String {
        let answer = self.post(
            &format!("{}/window/new", self.session),
            "{\"type\":\"tab\"}",
        );
        let tab = string_after(&answer, "\"handle\":");
        self.switch_to(&tab);
        self.post(
            &format!("{}/url", self.session),
            &format!("{{\"url\":{}}}", quoted(url)),
        );
        tab
    }

    fn switch_to(&self, tab: &str) {
        self.post(
            &format!("{}/window", self.session),
            &format!("{{\"handle\":{}}}", quoted(tab)),
        );
    }

    fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(
            &format!("{element}/value"),
            &format!("{{\"text\":{}}}", quoted(text)),
        );
    }

    fn click(&self, selector: &str) {
        self.post(&format!("{}/click", self.element(selector)), "{}");
    }

    fn element(&self, selector: &str) -> String {
        let body = format!(
            "{{\"using\":\"css selector\",\"value\":{}}}",
            quoted(selector)
        );
        let answer = self.post(&format!("{}/element", self.session), &body);
        format!(
            "{}/element/{}",
            self.session,
            string_after(&answer, "\"element-6066-11e4-a52e-4f735466cecf\":")
        )
    }

    /// The text of all elements that the selector finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent).join('\\\\n')";
        let body = format!(
            "{{\"script\":\"{script}\",\"args\":[{}]}}",
            quoted(selector)
        );
        string_after(
            &self.post(&format!("{}/execute/sync", self.session), &body),
            "\"value\":",
        )
    }

    fn post(&self, path: &str, body: &str) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.exchange(&(head + body))
            .unwrap_or_else(|answer| panic!("{path}: {answer}"))
    }

    /// The answer to a WebDriver command; an error carries the answer too.
    fn exchange(&self, request: &str) -> Result<String, String> {
        let mut conn = Conn::connect(self.address.parse().expect("an address"));
        conn.send(request.as_bytes());
        let answer = conn.message(Kind::Response);
        let body = find(&answer, b"\r\n\r\n").map_or(0, |at| at + 4);
        let text = String::from_utf8_lossy(&answer[body..]).into_owned();
        if status(&answer) == 200 {
            Ok(text)
        } else {
            Err(text)
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ending the session ends Chromium, which is chromedriver's child and not ours.
        let _ = self.exchange(&format!(
            "DELETE {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.session, self.address
        ));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The JSON string that follows `key`, without its escapes.
fn string_after(json: &str, key: &str) -> String {
    let Some((_, rest)) = json.split_once(key) else {
        panic!("no {key} in {json}")
    };
    let mut out = String::new();
    let mut chars = rest.trim_start().chars().skip(1);
    while let Some(char) = chars.next().filter(|char| *char != '"') {
        out.push(if char == '\\' {
            unescaped(&mut chars)
        } else {
            char
        });
    }
    out
}

/// The character for the escape whose backslash has been read. Surrogate pairs do not occur in these tests.
fn unescaped(chars: &mut impl Iterator<Item = char>) -> char {
    match chars.next().unwrap_or('?') {
        'n' => '\n',
        't' => '\t',
        'u' => {
            let digits: String = chars.take(4).collect();
            u32::from_str_radix(&digits, 16)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('?')
        }
        other => other,
    }
}

#[test]
fn json_strings_are_read() {
    let rows = [
        (r#"{"value":"a"}"#, "a"),
        (r#"{"value": "a\"b\\c\nd"}"#, "a\"b\\c\nd"),
        (r#"{"value":"\u00fc \u20ac"}"#, "ü €"),
        (r#"{"value":""}"#, ""),
    ];
    for (json, expected) in rows {
        assert_eq!(string_after(json, "\"value\":"), expected);
    }
}
