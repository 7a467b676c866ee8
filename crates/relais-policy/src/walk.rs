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
}

/// Says whether an expression is true of the request.
pub(crate) type Judge<'j> = &'j mut dyn FnMut(&Expression) -> bool;

/// What sections are asked about.
#[derive(Clone, Copy, Default, Debug)]
pub struct Subject<'s> {
    /// The request's path, decoded and normalised: `<Location>`.
    pub path: &'s [u8],
    /// The URL that the request is proxied to: `<Proxy>`.
    pub url: Option<&'s [u8]>,
    /// The absolute name of the file that is served, with a slash at its end
    /// for a folder: `<Directory>` and `<Files>`.
    pub file: Option<&'s [u8]>,
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
    pub(crate) fn merged(
        &self,
        host: &HostPart<'_>,
        sets: &SectionSets,
        subject: Subject<'_>,
        judge: Judge<'_>,
    ) -> Arc<Settings> {
        if self.all.is_empty() {
            return Arc::clone(host.base);
        }
        let mut key = sets.key.borrow_mut();
        key.clear();
        key.push(u32::try_from(host.index).unwrap_or(u32::MAX));
        self.collect(subject, judge, &mut key);
        if key.len() == 1 {
            return Arc::clone(host.base);
        }
        if let Some(known) = sets.merged.borrow().get(key.as_slice()) {
            return Arc::clone(known);
        }
        let merged = Arc::new(self.merge(host, &key[1..]));
        sets.remember(&key, &merged);
        merged
    }

    /// The opening lines of the sections that match, in the order of their
    /// merge.
    pub(crate) fn heads<'s>(
        &'s self,
        subject: Subject<'_>,
        judge: Judge<'_>,
    ) -> impl Iterator<Item = &'s SectionHead> + use<'s> {
        let mut numbers = Vec::new();
        self.collect(subject, judge, &mut numbers);
        numbers
            .into_iter()
            .map(|number| &self.all[number as usize].head)
    }

    fn collect(&self, subject: Subject<'_>, judge: Judge<'_>, into: &mut Vec<u32>) {
        let first = into.len();
        if let Some(url) = subject.url {
            self.matching(&self.proxies, url, into);
        } else if let Some(file) = subject.file {
            self.collect_file(file, into);
        }
        self.matching(&self.locations, subject.path, into);
        let outer = first..into.len();
        self.hold(&self.conditions, judge, into);
        for position in outer {
            let inner = &self.all[into[position] as usize].conditions;
            self.hold(inner, judge, into);
        }
    }

    /// Adds those of a list of conditions that hold, each with what holds
    /// inside of it (`ap_if_walk`).
    fn hold(&self, numbers: &[u32], judge: Judge<'_>, into: &mut Vec<u32>) {
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
                into.push(number);
                self.hold(&section.conditions, judge, into);
            }
        }
    }

    fn collect_file(&self, file: &[u8], into: &mut Vec<u32>) {
        let slash = file.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let (folder, name) = file.split_at(slash);
        let first = into.len();
        self.matching(&self.directories, folder, into);
        let directories = first..into.len();
        let name = name.get(1..).unwrap_or_default();
        self.matching(&self.files, name, into);
        for position in directories {
            let inner = &self.all[into[position] as usize].files;
            self.matching(inner, name, into);
        }
    }

    fn matching(&self, numbers: &[u32], subject: &[u8], into: &mut Vec<u32>) {
        let matching = numbers
            .iter()
            .filter(|&&number| self.all[number as usize].head.matches(subject));
        into.extend(matching);
    }

    fn merge(&self, host: &HostPart<'_>, numbers: &[u32]) -> Settings {
        let mut settings = Settings::clone(host.base);
        for &number in numbers {
            let section = &self.all[number as usize];
            let mut merged = Settings::default();
            for module in host.modules {
                module.merge_sealed(&settings, &section.settings, &mut merged);
            }
            settings = merged;
        }
        settings
    }
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
