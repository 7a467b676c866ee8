//! `mapping=servlet`: a path as servlet containers read it, whose segments may
//! have parameters (`alias_match_servlet`; mod_proxy.html#proxypass).
//!
//! `/app;v=1/x/..;y/b` is `/app/b`. Without this a rule for `/app` would not see
//! the first, and a section for `/app/b` would not see the second, while the
//! container behind does.

/// How much of a path a prefix covers.
pub(super) struct Covered {
    /// Bytes of the path; what is behind them goes on.
    pub(super) used: usize,
    /// The path without parameters and without what they have hidden.
    pub(super) path: Vec<u8>,
}

/// One segment of the path.
struct Segment {
    start: usize,
    /// The end of its name; parameters follow up to `end`.
    name_end: usize,
    end: usize,
}

impl Segment {
    fn name<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        path.get(self.start..self.name_end).unwrap_or_default()
    }
}

/// Looks for a prefix in front of a path; `None` where it is not there, or where
/// the path climbs above its root.
pub(super) fn covered(prefix: &[u8], path: &[u8]) -> Option<Covered> {
    let segments = segments(path)?;
    let wanted: Vec<&[u8]> = names(prefix).collect();
    let count = wanted.len();
    let own = segments.get(..count)?;
    let same = own.iter().zip(&wanted);
    if !same
        .clone()
        .all(|(segment, name)| segment.name(path) == *name)
    {
        return None;
    }
    let ends_in_slash = |at: usize| path.get(at..).is_some_and(|rest| rest.contains(&b'/'));
    let is_folder = segments.last().is_none_or(|last| ends_in_slash(last.end));
    let open = prefix.last() == Some(&b'/');
    if open && count > 0 && segments.len() == count && !is_folder {
        return None;
    }
    let mut used = segments.get(count).map_or(path.len(), |next| next.start);
    if let Some(last) = own.last().filter(|_| !open) {
        if segments.len() > count && last.name_end < last.end {
            // Parameters of the prefix' last segment go on with the rest.
            used = last.name_end;
        } else if path.get(used.wrapping_sub(1)) == Some(&b'/') {
            used -= 1;
        }
    }
    let mut plain = Vec::with_capacity(path.len());
    for segment in &segments {
        plain.push(b'/');
        plain.extend_from_slice(segment.name(path));
    }
    if is_folder {
        plain.push(b'/');
    }
    Some(Covered { used, path: plain })
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
}

/// The segments that are left when dots have had their effect.
fn segments(path: &[u8]) -> Option<Vec<Segment>> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut start = 0;
    for part in path.split(|&byte| byte == b'/') {
        let end = start + part.len();
        let name = part.iter().position(|&byte| byte == b';');
        let name_end = name.map_or(end, |at| start + at);
        match part.get(..name_end - start).unwrap_or_default() {
            b"" | b"." => {}
            b".." => {
                segments.pop()?;
            }
            _ => segments.push(Segment {
                start,
                name_end,
                end,
            }),
        }
        start = end + 1;
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What httpd 2.4.71 sends on behind the target, and the path that its
    /// sections see.
    #[test]
    fn paths() {
        type Row = (
            &'static str,
            &'static str,
            Option<(&'static str, &'static str)>,
        );
        let table: &[Row] = &[
            ("/srv", "/srv/a;x=1/b", Some(("/a;x=1/b", "/srv/a/b"))),
            ("/srv", "/srv/b/..;y/c", Some(("/c", "/srv/c"))),
            ("/srv", "/srv;q/b/;z/c", Some((";q/b/;z/c", "/srv/b/c"))),
            ("/srv", "/srv;q", Some(("", "/srv"))),
            ("/srv", "/srv", Some(("", "/srv"))),
            ("/srv", "/srv/", Some(("/", "/srv/"))),
            ("/srv", "/srv/c;d/e", Some(("/c;d/e", "/srv/c/e"))),
            ("/srv", "/x/..;/srv/z", Some(("/z", "/srv/z"))),
            ("/srv", "/srv/..;/q", None),
            ("/srv", "/srvx/a", None),
            ("/srv", "/..;/srv", None),
            ("/dir/", "/dir/a", Some(("a", "/dir/a"))),
            ("/dir/", "/dir/", Some(("", "/dir/"))),
            ("/dir/", "/dir", None),
            ("/", "/a;b/c", Some(("a;b/c", "/a/c"))),
            ("/a/b", "/a;1/b;2/c", Some((";2/c", "/a/b/c"))),
        ];
        for &(prefix, path, expected) in table {
            let found = covered(prefix.as_bytes(), path.as_bytes());
            let found = found.map(|found| {
                let rest = path.get(found.used..).unwrap_or_default().to_owned();
                (rest, String::from_utf8_lossy(&found.path).into_owned())
            });
            let expected = expected.map(|(rest, path)| (rest.to_owned(), path.to_owned()));
            assert_eq!(found, expected, "{prefix} {path}");
        }
    }
}
