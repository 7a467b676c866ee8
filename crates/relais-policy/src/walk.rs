//! Which sections a request meets, in which order their settings are merged,
//! and the memory that makes a set of sections cost one merge and not one per
//! request (sections.html#merging).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use relais_expr::Expression;

use crate::module::{AnyModule, Settings};
use crate::section::{Condition, Matcher, SectionHead, SectionKind};

/// One section of a host, ready for requests.
struct Section {
    head: SectionHead,
    settings: Settings,
    /// `<Files>` sections inside of it.
    files: Vec<u32>,
    /// `<If>` sections and their alternatives inside of it.
    conditions: Vec<u32>,
}

/// The sections of a host, those of the main server first.
#[derive(Default)]
pub(crate) struct Sections {
    all: Vec<Section>,
    proxies: Vec<u32>,
    /// Paths by length, then patterns, each in file order.
    directories: Vec<u32>,
    files: Vec<u32>,
    locations: Vec<u32>,
    conditions: Vec<u32>,
    /// Whether a section's pattern has groups with names.
    has_names: bool,
}

/// Settings that stand in a folder among the files that are served
/// (`.htaccess`): a section for that folder, with the sections inside of it.
pub struct Fragment {
    /// The folder is the first of them.
    pub(crate) sections: Sections,
}

/// Says whether an expression is true of the request.
pub(crate) type Judge<'j> = &'j mut dyn FnMut(&Expression) -> bool;

/// A section's pattern was given up at its limit: what the log says. Access
/// control may stand in that section, so that the request can't go on.
pub(crate) type GaveUp = String;

/// What sections are asked about.
#[derive(Clone, Copy, Default)]
pub(crate) struct Subject<'s> {
    /// The request's path, decoded and normalised: `<Location>`.
    pub path: &'s [u8],
    /// The URL that the request is proxied to: `<Proxy>`.
    pub url: Option<&'s [u8]>,
    /// The absolute name of the file that is served, with a slash at its end
    /// for a folder: `<Directory>` and `<Files>`.
    pub file: Option<&'s [u8]>,
    /// Whether it is a folder, whatever its end.
    pub is_folder: bool,
    /// What stands in that folder and those around it, outermost first.
    pub fragments: &'s [Arc<Fragment>],
}

impl<'s> Subject<'s> {
    /// What sections of this kind are asked about.
    pub(crate) fn of(&self, kind: SectionKind) -> &'s [u8] {
        let file = self.file.unwrap_or_default();
        let slash = file.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let (folder, name) = file.split_at(slash);
        let folder = match self.is_folder {
            true => file.strip_suffix(b"/").unwrap_or(file),
            false => folder,
        };
        match kind {
            SectionKind::Location | SectionKind::If => self.path,
            SectionKind::Proxy => self.url.unwrap_or_default(),
            SectionKind::Directory => folder,
            SectionKind::Files => name.get(1..).unwrap_or_default(),
        }
    }
}

impl Fragment {
    /// The folder of this fragment without its last slash, whose `head` it is.
    fn depth(&self) -> usize {
        let first = self.sections.all.first();
        first
            .and_then(|section| section.head.depth())
            .unwrap_or_default()
    }
}

impl Sections {
    /// Adds a section; `outer` is the one around it. The answer is its number.
    pub(crate) fn push(
        &mut self,
        head: SectionHead,
        settings: Settings,
        outer: Option<u32>,
    ) -> u32 {
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let list = match (head.kind, outer) {
            (SectionKind::Files, Some(outer)) => &mut self.all[outer as usize].files,
            (SectionKind::Files, None) => &mut self.files,
            (SectionKind::If, Some(outer)) => &mut self.all[outer as usize].conditions,
            (SectionKind::If, None) => &mut self.conditions,
            (SectionKind::Proxy, _) => &mut self.proxies,
            (SectionKind::Directory, _) => &mut self.directories,
            (SectionKind::Location, _) => &mut self.locations,
        };
        list.push(number);
        self.has_names |= head.has_names();
        self.all.push(Section {
            head,
            settings,
            files: Vec::new(),
            conditions: Vec::new(),
        });
        number
    }

    /// Puts the lists into the order in which they are merged.
    pub(crate) fn finish(&mut self) {
        let all = &self.all;
        self.directories
            .sort_by_key(|&number| all[number as usize].head.depth().unwrap_or(usize::MAX));
    }

    /// The merged settings of the sections that match: `<Proxy>` for a proxied
    /// request, `<Directory>` and `<Files>` for a file, then `<Location>`, then
    /// `<If>`, of which `judge` decides.
    ///
    /// # Errors
    /// When a pattern is given up at its limit.
    pub(crate) fn merged(
        &self,
        host: &HostPart<'_>,
        sets: &SectionSets,
        subject: Subject<'_>,
        judge: Judge<'_>,
    ) -> Result<Arc<Settings>, GaveUp> {
        if self.all.is_empty() && subject.fragments.is_empty() {
            return Ok(Arc::clone(host.base));
        }
        let mut key = sets.key.borrow_mut();
        key.clear();
        key.push(u32::try_from(host.index).unwrap_or(u32::MAX));
        self.walk(subject).collect(judge, &mut key)?;
        if key.len() == 1 {
            return Ok(Arc::clone(host.base));
        }
        if !subject.fragments.is_empty() {
            // What stands in folders may be another thing by the next request.
            return Ok(Arc::new(self.walk(subject).merge(host, &key[1..])));
        }
        if let Some(known) = sets.merged.borrow().get(key.as_slice()) {
            return Ok(Arc::clone(known));
        }
        let merged = Arc::new(self.walk(subject).merge(host, &key[1..]));
        sets.remember(&key, &merged);
        Ok(merged)
    }

    /// The opening lines of the sections that match, in the order of their
    /// merge.
    pub(crate) fn heads<'s>(
        &'s self,
        subject: Subject<'s>,
        judge: Judge<'_>,
    ) -> impl Iterator<Item = &'s SectionHead> + use<'s> {
        let mut numbers = Vec::new();
        // Whoever merges them has seen that a pattern is given up.
        let _ = self.walk(subject).collect(judge, &mut numbers);
        // What stands in a folder has no place in the configuration.
        let own = numbers.into_iter().filter(|&number| number < length(self));
        own.map(|number| &self.all[number as usize].head)
    }

    /// The named groups in the patterns of the sections that match, with the
    /// names that httpd gives them.
    pub(crate) fn named_groups(&self, subject: Subject<'_>) -> Vec<(String, Vec<u8>)> {
        let mut fragments = subject.fragments.iter();
        if !self.has_names && !fragments.any(|one| one.sections.has_names) {
            return Vec::new();
        }
        let walk = self.walk(subject);
        let mut numbers = Vec::new();
        // Whoever merges them has seen that a pattern is given up.
        let _ = walk.collect(&mut |_| false, &mut numbers);
        let heads = numbers.iter().map(|&number| &walk.section(number).0.head);
        let named = heads.filter(|head| head.has_names());
        named
            .flat_map(|head| head.named_groups(subject.of(head.kind)))
            .collect()
    }

    /// The settings of the folders on the way to a file, from the outermost
    /// on, as `<Directory>` sections without patterns make them: what is known
    /// before the folders themselves are read.
    pub(crate) fn along(&self, host: &HostPart<'_>, folder: &[u8]) -> Vec<Arc<Settings>> {
        let ends =
            (0..=folder.len()).filter(|&end| folder.get(end).is_none_or(|&byte| byte == b'/'));
        let mut settings = Arc::clone(host.base);
        let mut levels = Vec::new();
        for (depth, end) in ends.enumerate() {
            for &number in &self.directories {
                let section = &self.all[number as usize];
                let part = folder.get(..end).unwrap_or_default();
                if section.head.depth() == Some(depth) && section.head.matches(part) == Ok(true) {
                    settings = Arc::new(merge(host, &settings, &section.settings));
                }
            }
            levels.push(Arc::clone(&settings));
        }
        levels
    }

    fn walk<'s>(&'s self, subject: Subject<'s>) -> Walk<'s> {
        Walk {
            sections: self,
            subject,
        }
    }

    /// Adds those of a list of conditions that hold, each with what holds
    /// inside of it (`ap_if_walk`). Numbers count from `offset`.
    fn hold(&self, numbers: &[u32], offset: u32, judge: Judge<'_>, into: &mut Vec<u32>) {
        let mut held = false;
        for &number in numbers {
            let section = &self.all[number as usize];
            let Matcher::Condition(condition) = &section.head.matcher else {
                continue;
            };
            held = match condition {
                Condition::If(expression) => judge(expression),
                Condition::ElseIf(_) | Condition::Else if held => continue,
                Condition::ElseIf(expression) => judge(expression),
                Condition::Else => true,
            };
            if held {
                into.push(number + offset);
                self.hold(&section.conditions, offset, judge, into);
            }
        }
    }

    /// Adds those of a list that match; numbers count from `offset`.
    fn matching(
        &self,
        numbers: &[u32],
        offset: u32,
        subject: &[u8],
        into: &mut Vec<u32>,
    ) -> Result<(), GaveUp> {
        for &number in numbers {
            if self.matches(number, subject)? {
                into.push(number + offset);
            }
        }
        Ok(())
    }

    fn matches(&self, number: u32, subject: &[u8]) -> Result<bool, GaveUp> {
        let head = &self.all[number as usize].head;
        head.matches(subject)
            .map_err(|error| format!("{head}: {error}"))
    }
}

/// The sections of a host with the fragments of one request, whose sections
/// have the numbers behind the host's.
#[derive(Clone, Copy)]
struct Walk<'s> {
    sections: &'s Sections,
    subject: Subject<'s>,
}

impl<'s> Walk<'s> {
    /// The table that a number belongs to, and where its numbers begin.
    fn table(&self, number: u32) -> (&'s Sections, u32) {
        let mut offset = length(self.sections);
        if number < offset {
            return (self.sections, 0);
        }
        for fragment in self.subject.fragments {
            let end = offset + length(&fragment.sections);
            if number < end {
                return (&fragment.sections, offset);
            }
            offset = end;
        }
        (self.sections, 0)
    }

    fn section(&self, number: u32) -> (&'s Section, &'s Sections, u32) {
        let (table, offset) = self.table(number);
        (&table.all[(number - offset) as usize], table, offset)
    }

    fn collect(&self, judge: Judge<'_>, into: &mut Vec<u32>) -> Result<(), GaveUp> {
        let (sections, subject) = (self.sections, self.subject);
        let first = into.len();
        if let Some(url) = subject.url {
            sections.matching(&sections.proxies, 0, url, into)?;
        } else if subject.file.is_some() {
            self.collect_file(into)?;
        }
        sections.matching(&sections.locations, 0, subject.path, into)?;
        let outer = first..into.len();
        sections.hold(&sections.conditions, 0, judge, into);
        for position in outer {
            let (section, table, offset) = self.section(into[position]);
            table.hold(&section.conditions, offset, judge, into);
        }
        Ok(())
    }

    fn collect_file(&self, into: &mut Vec<u32>) -> Result<(), GaveUp> {
        let first = into.len();
        self.collect_folder(self.subject.of(SectionKind::Directory), into)?;
        let directories = first..into.len();
        let name = self.subject.of(SectionKind::Files);
        let sections = self.sections;
        sections.matching(&sections.files, 0, name, into)?;
        for position in directories {
            let (section, table, offset) = self.section(into[position]);
            table.matching(&section.files, offset, name, into)?;
        }
        Ok(())
    }

    /// `<Directory>` sections, and what stands in each folder behind those of
    /// its path and of shorter ones.
    fn collect_folder(&self, folder: &[u8], into: &mut Vec<u32>) -> Result<(), GaveUp> {
        let mut offset = length(self.sections);
        let mut fragments = self.subject.fragments.iter().peekable();
        for &number in &self.sections.directories {
            if !self.sections.matches(number, folder)? {
                continue;
            }
            let head = &self.sections.all[number as usize].head;
            let depth = head.depth().unwrap_or(usize::MAX);
            while let Some(fragment) = fragments.next_if(|fragment| fragment.depth() < depth) {
                into.push(offset);
                offset += length(&fragment.sections);
            }
            into.push(number);
        }
        for fragment in fragments {
            into.push(offset);
            offset += length(&fragment.sections);
        }
        Ok(())
    }

    fn merge(&self, host: &HostPart<'_>, numbers: &[u32]) -> Settings {
        let mut settings = Settings::clone(host.base);
        for &number in numbers {
            settings = merge(host, &settings, &self.section(number).0.settings);
        }
        settings
    }
}

fn length(sections: &Sections) -> u32 {
    u32::try_from(sections.all.len()).unwrap_or(u32::MAX)
}

fn merge(host: &HostPart<'_>, outer: &Settings, inner: &Settings) -> Settings {
    let mut merged = Settings::default();
    for module in host.modules {
        module.merge_sealed(outer, inner, &mut merged);
    }
    merged
}

/// What merging needs of a host.
pub(crate) struct HostPart<'h> {
    pub(crate) index: usize,
    pub(crate) base: &'h Arc<Settings>,
    pub(crate) modules: &'static [&'static dyn AnyModule],
}

/// Merged section sets that have been seen, remembered per worker thread and
/// site: a set is merged once, not once per request.
#[derive(Default)]
pub struct SectionSets {
    key: RefCell<Vec<u32>>,
    merged: RefCell<HashMap<Vec<u32>, Arc<Settings>>>,
}

impl SectionSets {
    /// Sets remembered at the most; past that all are forgotten, since a
    /// client can choose paths but not how many distinct sets matter.
    const MOST: usize = 4096;

    fn remember(&self, key: &[u32], merged: &Arc<Settings>) {
        let mut sets = self.merged.borrow_mut();
        if sets.len() >= Self::MOST {
            sets.clear();
        }
        sets.insert(key.to_vec(), Arc::clone(merged));
    }
}
