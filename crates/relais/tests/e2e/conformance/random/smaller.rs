//! Leaves out of a sample what a disagreement does not need, and writes what is left as a case.

use super::requests::Request;
use super::{FILES, Sample};

/// What is left of a sample with one request without one of its parts, lines, flags, fields or segments.
pub(super) fn without_one(sample: &Sample) -> Vec<Sample> {
    let mut out = Vec::new();
    let half = sample.parts.len() / 2;
    if half > 1 {
        for parts in [&sample.parts[..half], &sample.parts[half..]] {
            let requests = sample.requests.clone();
            out.push(Sample {
                parts: parts.to_vec(),
                requests,
            });
        }
    }
    for index in 0..sample.parts.len() {
        let mut smaller = sample.clone();
        smaller.parts.remove(index);
        out.push(smaller);
    }
    for (index, part) in sample.parts.iter().enumerate() {
        for text in smaller_parts(part) {
            let mut smaller = sample.clone();
            smaller.parts[index] = text;
            out.push(smaller);
        }
    }
    for request in smaller_requests(&sample.requests[0]) {
        let mut smaller = sample.clone();
        smaller.requests[0] = request;
        out.push(smaller);
    }
    out.truncate(MOST);
    out
}

/// A part without one of its lines, and without one of its flags.
fn smaller_parts(part: &str) -> Vec<String> {
    let lines: Vec<&str> = part.lines().collect();
    let mut out = Vec::new();
    // A list of what is required is refused when nothing is left in it.
    if lines.len() > 1 && !part.contains("<Require") {
        for index in 0..lines.len() {
            out.push(without(&lines, index).join("\n"));
        }
        // What is inside of a section, without it.
        if lines[0].starts_with('<') {
            out.push(lines[1..lines.len() - 1].join("\n"));
        }
    }
    for (index, line) in lines.iter().enumerate() {
        let Some((start, flags)) = line.rsplit_once(" [").filter(|_| line.ends_with(']')) else {
            continue;
        };
        let flags: Vec<&str> = flags.trim_end_matches(']').split(',').collect();
        for flag in 0..flags.len() {
            let rest = without(&flags, flag).join(",");
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines[index] = if rest.is_empty() {
                start.to_owned()
            } else {
                format!("{start} [{rest}]")
            };
            out.push(lines.join("\n"));
        }
    }
    out
}

fn smaller_requests(request: &Request) -> Vec<Request> {
    let mut out: Vec<Request> = Vec::new();
    let mut add = |change: &dyn Fn(&mut Request)| {
        let mut smaller = request.clone();
        change(&mut smaller);
        if smaller != *request {
            out.push(smaller);
        }
    };
    for index in 0..request.fields.len() {
        add(&|smaller| drop(smaller.fields.remove(index)));
    }
    add(&|smaller| {
        smaller.line = format!("GET {}", request.target());
        smaller.body = "";
    });
    add(&|smaller| smaller.version = "HTTP/1.1");
    let (path, query) = request.line.split_once('?').unwrap_or((&request.line, ""));
    add(&|smaller| smaller.line = path.to_owned());
    let segments: Vec<&str> = path.split('/').collect();
    for index in 1..segments.len() {
        if segments.len() > 2 {
            let rest = without(&segments, index).join("/");
            let query = if request.line.contains('?') {
                format!("?{query}")
            } else {
                String::new()
            };
            add(&|smaller| smaller.line = format!("{rest}{query}"));
        }
    }
    out
}

fn without<'a>(list: &[&'a str], index: usize) -> Vec<&'a str> {
    let others = list.iter().enumerate().filter(|(other, _)| *other != index);
    others.map(|(_, one)| *one).collect()
}

/// A sample with one request as a case file.
pub(super) fn case(sample: &Sample, difference: &str) -> String {
    let configuration = sample.configuration();
    let has_hosts = configuration.matches("<VirtualHost ").count() > 1;
    let own = if has_hosts {
        configuration
    } else {
        let lines = configuration.lines().skip(2);
        let lines: Vec<&str> = lines.filter(|line| *line != "</VirtualHost>").collect();
        lines.join("\n") + "\n"
    };
    let mut text = own.replace("DIR/LOG", "DIR/access.log");
    let named = format!("{}\n{text}", sample.requests[0].line);
    let is_named = |name: &str| {
        name.split(['/', '.'])
            .skip(1)
            .any(|word| named.contains(&format!("/{word}")))
    };
    for (name, body) in FILES.iter().filter(|(name, _)| is_named(name)) {
        text += &format!("---- file {name}\n{body}");
    }
    let request = &sample.requests[0];
    text += &format!(
        "==== {}\n---- client\n{}\n",
        request.line,
        request.lines().join("\n")
    );
    text += &if request.body.is_empty() {
        "\n".to_owned()
    } else {
        format!("\n{}\\\n", request.body)
    };
    if let Some(reply) = request
        .fields
        .iter()
        .find(|field| field.starts_with("X-Reply: "))
    {
        let reply =
            String::from_utf8_lossy(&super::search::echo(format!("{reply}\r\n\r\n").as_bytes()))
                .into_owned();
        let head = reply.split("\r\n\r\n").next().unwrap_or_default();
        let head: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with("Content-Length"))
            .collect();
        text += &format!("---- origin\n{}\nContent-Length: 0\n\n", head.join("\n"));
    }
    let difference: String = difference
        .lines()
        .map(|line| format!("# {line}\n"))
        .collect();
    format!("{text}# - httpd, + relais\n{difference}")
}

/// How many variants are tried at once.
const MOST: usize = 140;
