//! Files: what httpd's `default_handler`, mod_dir and the directory walk make
//! of a request that no rule proxies.
//!
//! The file is found and opened in a `Lookup`, off the worker's thread; the
//! front sends it in pieces.

mod conditional;
mod find;
mod htaccess;
mod map;

use std::sync::Arc;
use std::time::SystemTime;

use relais_policy::{Decision, Exchange, FileBody, Flow, Lookup, Respond, Restart};
use relais_telemetry::{Level, httpdate};

use self::conditional::{Range, Verdict};
pub(crate) use self::find::Links;
use self::find::{Found, Kind};
pub(crate) use self::htaccess::Htaccess;
pub(crate) use self::map::map;
use crate::{core, mod_dir, mod_mime, own_url};

/// Maps the path below `DocumentRoot` (httpd's core `translate_name`, the last
/// of them).
pub(crate) fn translate(exchange: &mut Exchange<'_>) -> Flow {
    match root(exchange) {
        Some(root) if exchange.path.first() == Some(&b'/') => {
            exchange.file = Some([root, &exchange.path].concat());
            Flow::Done
        }
        _ => Flow::Declined,
    }
}

/// Whether a name has a segment that leads upwards.
pub(crate) fn climbs(file: &[u8]) -> bool {
    file.split(|&byte| byte == b'/').any(|name| name == b"..")
}

/// `DocumentRoot` without its last slash.
pub(crate) fn root<'a>(exchange: &Exchange<'a>) -> Option<&'a [u8]> {
    let root = exchange.host_settings::<core::Host>().document_root()?;
    let root = root.as_os_str().as_encoded_bytes();
    Some(root.strip_suffix(b"/").unwrap_or(root))
}

/// Answers with the file that the request has been mapped to.
pub(crate) fn respond(exchange: &mut Exchange<'_>) -> Flow {
    if exchange.proxy.is_some() {
        return Flow::Declined;
    }
    let Some(file) = &exchange.file else {
        return Flow::Declined;
    };
    let file = [file.as_slice(), &exchange.path_info].concat();
    match exchange.head.method() {
        b"GET" | b"HEAD" | b"POST" => {}
        b"OPTIONS" => {
            return answer(Respond {
                fields: vec![("Allow", allowed(exchange))],
                body: Some(Vec::new()),
                ..Respond::status(200)
            });
        }
        _ => {
            return answer(Respond {
                fields: vec![("Allow", allowed(exchange))],
                ..Respond::status(405)
            });
        }
    }
    let key = [b"file\0".as_slice(), &file].concat();
    let Some(found) = exchange.answer::<Arc<Found>>(&key).cloned() else {
        let links = exchange.section_settings::<core::Section>().links();
        let names = mod_dir::indexes(exchange);
        let types = mod_mime::types_file(exchange);
        return Flow::Wait(Lookup::new(key, move || {
            types.load();
            Arc::new(find::find(&file, links, &names))
        }));
    };
    serve(exchange, &found, &file)
}

fn serve(exchange: &mut Exchange<'_>, found: &Found, file: &[u8]) -> Flow {
    match &found.kind {
        Kind::File {
            file: handle,
            length,
            modified,
        } => send(exchange, file, (handle, *length, *modified)),
        Kind::Folder if !exchange.path.ends_with(b"/") => mod_dir::add_slash(exchange),
        Kind::Folder => missing_index(exchange, file),
        Kind::Index(name) => Flow::Restart(Restart {
            path: [exchange.path.as_slice(), name].concat(),
            query: exchange.query.clone(),
        }),
        Kind::Missing => match mod_dir::fallback(exchange) {
            Some(path) => Flow::Restart(Restart {
                path,
                query: exchange.query.clone(),
            }),
            None => {
                let shown = String::from_utf8_lossy(file).into_owned();
                answer(Respond::logged(
                    404,
                    format!("AH00128: File does not exist: {shown}"),
                ))
            }
        },
        Kind::Forbidden(why) => {
            let shown = String::from_utf8_lossy(file).into_owned();
            exchange.note("core", Level::Error, || format!("{why}: {shown}"));
            answer(Respond::status(403))
        }
    }
}

/// A folder without an index: relais makes no listings. httpd answers 404
/// where mod_autoindex is not there, and so does relais.
fn missing_index(exchange: &mut Exchange<'_>, file: &[u8]) -> Flow {
    if let Some(path) = mod_dir::fallback(exchange) {
        return Flow::Restart(Restart {
            path,
            query: exchange.query.clone(),
        });
    }
    let shown = String::from_utf8_lossy(file).into_owned();
    answer(Respond::logged(
        404,
        format!("AH00129: Attempt to serve directory: {shown}"),
    ))
}

fn send(
    exchange: &mut Exchange<'_>,
    name: &[u8],
    (file, length, modified): (&Arc<std::fs::File>, u64, SystemTime),
) -> Flow {
    let tag = conditional::tag(length, modified);
    let mut fields = vec![
        ("Last-Modified", httpdate::date_header(modified).to_vec()),
        ("ETag", tag.clone()),
        ("Accept-Ranges", b"bytes".to_vec()),
    ];
    let kept = Respond {
        body: Some(Vec::new()),
        ..Respond::status(200)
    };
    let method = exchange.head.method();
    match conditional::judge(exchange.fields(), method, &tag, modified) {
        Verdict::Serve => {}
        Verdict::NotModified => {
            return answer(Respond {
                status: 304,
                fields,
                ..kept
            });
        }
        Verdict::Failed => return answer(Respond::status(412)),
    }
    fields.extend(mod_mime::fields(exchange, name));
    let range = match method {
        b"GET" => conditional::range(exchange.fields(), length, &tag, modified),
        _ => Range::Whole,
    };
    let (status, offset, count) = match range {
        Range::Whole => (200, 0, length),
        Range::Part(offset, count) => {
            let last = offset + count - 1;
            let value = format!("bytes {offset}-{last}/{length}");
            fields.push(("Content-Range", value.into_bytes()));
            (206, offset, count)
        }
        Range::Outside => {
            let value = format!("bytes */{length}").into_bytes();
            return answer(Respond {
                fields: vec![("Content-Range", value)],
                ..Respond::status(416)
            });
        }
    };
    answer(Respond {
        status,
        fields,
        file: Some(Box::new(FileBody {
            file: Arc::clone(file),
            offset,
            length: count,
        })),
        ..kept
    })
}

/// What httpd names for files.
fn allowed(exchange: &Exchange<'_>) -> Vec<u8> {
    let trace = exchange.host.spec.trace_enabled;
    let methods: &[u8] = if trace {
        b"HEAD,GET,POST,OPTIONS,TRACE"
    } else {
        b"HEAD,GET,POST,OPTIONS"
    };
    methods.to_vec()
}

fn answer(respond: Respond) -> Flow {
    Flow::Decide(Decision::Respond(respond))
}

/// The redirect to the same path with a slash behind it.
pub(crate) fn to_folder(exchange: &Exchange<'_>) -> Flow {
    let mut path = Vec::new();
    for &byte in &exchange.path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => path.push(byte),
            b'/' | b'.' | b'-' | b'_' | b'~' | b'$' | b'+' | b'!' | b'*' | b'\'' | b'(' | b')'
            | b',' | b':' | b'@' | b'&' | b'=' => path.push(byte),
            _ => path.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    path.push(b'/');
    if let Some(query) = &exchange.query {
        path.push(b'?');
        path.extend_from_slice(query);
    }
    Flow::Decide(Decision::Redirect {
        status: 301,
        location: own_url::absolute(exchange, &path),
    })
}

/// 404 without a line in the log.
pub(crate) fn not_found() -> Flow {
    answer(Respond::status(404))
}
