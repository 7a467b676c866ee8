//! The `Module` trait, and the same without its types.
//!
//! A module declares what it keeps per host and per section, how inner
//! settings go over outer ones, and its directive table. The rest of relais
//! reaches a module only through this trait and through the phase functions
//! that `relais-modules` lists.

use std::any::{Any, TypeId};
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use relais_conf::{Diagnostics, Text};

use crate::directive::{Directive, DirectiveInfo, Place, Slot};
use crate::site::SiteDraft;
use crate::spec::{HostSpec, ServerSpec};

/// One Apache module.
pub trait Module: Sized + 'static {
    /// Its source name, as `<IfModule mod_proxy.c>` has it, without `.c`.
    const NAME: &'static str;
    /// Its identifier, as `LoadModule` has it: `proxy_module`.
    const IDENTIFIER: &'static str;
    /// What it keeps per server and virtual host (httpd's per-server config).
    type Host: Clone + Default + Send + Sync + 'static;
    /// What it keeps per section (httpd's per-directory config).
    type Section: Clone + Default + Send + Sync + 'static;
    /// Its directives.
    const DIRECTIVES: &'static [Directive<Self>];

    /// The settings of a virtual host over those of the main server.
    fn merge_host(outer: &Self::Host, inner: &Self::Host) -> Self::Host;
    /// The settings of an inner section over those of an outer one.
    fn merge_section(outer: &Self::Section, inner: &Self::Section) -> Self::Section;

    /// Checks that need the whole tree: cross-directive errors and warnings.
    fn check(_draft: &SiteDraft, _diagnostics: &mut Diagnostics) {}
    /// Writes what the runtime crates need of a merged host.
    fn finish_host(_host: &Self::Host, _section: &Self::Section, _spec: &mut HostSpec) {}
    /// Writes what the program needs of the main server.
    fn finish_server(_host: &Self::Host, _spec: &mut ServerSpec) {}
}

/// Settings of all modules at one level, found by their type. A configuration
/// has many levels: a list is as long as it has to be.
#[derive(Clone, Default)]
pub struct Settings(Vec<Arc<dyn Any + Send + Sync>>);

impl Settings {
    /// An empty list with room for a number of modules.
    pub(crate) fn with_capacity(modules: usize) -> Self {
        Self(Vec::with_capacity(modules))
    }

    /// The settings of type `T`: a module's `Host` or `Section`.
    ///
    /// # Panics
    /// When no registered module has settings of this type, which the first
    /// request of any test would show.
    #[must_use]
    pub fn get<T: Any>(&self) -> &T {
        self.find().expect("the module is registered")
    }

    /// The settings of type `T`, if a registered module has them.
    #[must_use]
    pub fn find<T: Any>(&self) -> Option<&T> {
        let guess = &PLACES[slot_of(TypeId::of::<T>())];
        let guessed = self.0.get(usize::from(guess.load(Ordering::Relaxed)));
        guessed.and_then(|value| value.downcast_ref()).or_else(|| {
            let mut all = self.0.iter().enumerate();
            let found = all.find_map(|(place, value)| Some((place, value.downcast_ref()?)));
            found.map(|(place, value)| {
                guess.store(u8::try_from(place).unwrap_or_default(), Ordering::Relaxed);
                value
            })
        })
    }

    /// Takes over the settings in one place of another level's list.
    pub(crate) fn share(&mut self, from: &Self, place: usize) {
        self.0.extend(from.0.get(place).cloned());
    }

    fn push(&mut self, value: Arc<dyn Any + Send + Sync>) {
        self.0.push(value);
    }
}

/// Where settings of a type were found the last time. All levels list the modules in one order, so that a request, which
/// asks some fifty times, need not search each time.
static PLACES: [AtomicU8; PLACES_LEN] = [const { AtomicU8::new(0) }; PLACES_LEN];

/// Many times the number of types, so that few of them share a slot; two that do are searched for.
const PLACES_LEN: usize = 1024;

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits of a hash will do"
)]
fn slot_of(id: TypeId) -> usize {
    let mut bits = Bits(0);
    id.hash(&mut bits);
    bits.finish() as usize % PLACES_LEN
}

/// Takes the hash that an identifier of a type is made of as it is.
struct Bits(u64);

impl Hasher for Bits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 ^= bits;
    }
}

/// One module's settings of one level while the tree is read.
pub type Draft = Box<dyn Any + Send + Sync>;

/// The drafts at one level, each with its module's place in the module list;
/// there is none while no directive of a module stands there. A configuration
/// has many hosts and sections, and few modules have a say in each.
#[derive(Default)]
pub struct Drafts(Vec<(usize, Draft)>);

impl Drafts {
    /// The draft of type `T`, if a directive of its module stands there.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.iter().find_map(|(_, draft)| draft.downcast_ref())
    }

    /// The draft of the module in this place of the list.
    pub(crate) fn at(&self, module: usize) -> Option<&Draft> {
        let mut drafts = self.0.iter();
        let found = drafts.find(|(place, _)| *place == module);
        found.map(|(_, draft)| draft)
    }

    /// The draft of the module in this place of the list, made if need be.
    pub(crate) fn of(&mut self, module: usize, empty: impl FnOnce() -> Draft) -> &mut Draft {
        let known = self.0.iter().position(|(place, _)| *place == module);
        let index = known.unwrap_or_else(|| {
            self.0.push((module, empty()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }
}

/// A module without its types, so that different ones fit into one list.
pub trait AnyModule: Sync {
    /// See [`Module::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Module::IDENTIFIER`].
    fn identifier(&self) -> &'static str;
    /// Its directive rows.
    fn directives(&self) -> Vec<DirectiveInfo>;
    /// Empty settings of a host.
    fn draft_host(&self) -> Draft;
    /// Empty settings of a section.
    fn draft_section(&self) -> Draft;
    /// Applies the directive in row `row`; false if it was refused.
    fn apply(
        &self,
        row: usize,
        host: &mut Draft,
        section: &mut Draft,
        place: Place<'_>,
        args: &Text,
        diagnostics: &mut Diagnostics,
    ) -> bool;
    /// Ends the module's own section in row `row`.
    fn close(
        &self,
        row: usize,
        host: &mut Draft,
        section: &mut Draft,
        place: Place<'_>,
        diagnostics: &mut Diagnostics,
    );
    /// Puts the settings of a host over those of the main server among the
    /// settings; `None` has no directive of this module.
    fn seal_host(&self, outer: Option<&Draft>, inner: Option<&Draft>, into: &mut Settings);
    /// The same for what is outside of every section.
    fn seal_base(&self, outer: Option<&Draft>, inner: Option<&Draft>, into: &mut Settings);
    /// Puts the settings of a section among the settings.
    fn seal_section(&self, draft: Option<&Draft>, into: &mut Settings);
    /// Merges two sealed sections into a third.
    fn merge_sealed(&self, outer: &Settings, inner: &Settings, into: &mut Settings);
    /// See [`Module::check`].
    fn check(&self, draft: &SiteDraft, diagnostics: &mut Diagnostics);
    /// See [`Module::finish_host`].
    fn finish_host(&self, host: &Settings, section: &Settings, spec: &mut HostSpec);
    /// See [`Module::finish_server`].
    fn finish_server(&self, host: &Settings, spec: &mut ServerSpec);
}

/// The bridge from a [`Module`] to an [`AnyModule`].
pub struct Registered<M>(PhantomData<fn() -> M>);

impl<M: Module> Registered<M> {
    /// A handle to put into a list of modules.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a handle, not a value with a default state"
    )]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// Puts one level over another, where there are both.
fn merged<T: Clone + Default + Send + Sync + 'static>(
    outer: Option<&Draft>,
    inner: Option<&Draft>,
    merge: fn(&T, &T) -> T,
    into: &mut Settings,
) {
    let inner: Option<&T> = inner.and_then(|draft| draft.downcast_ref());
    into.push(match outer {
        None => Arc::new(inner.cloned().unwrap_or_default()),
        Some(outer) => {
            let (outer, empty) = (outer.downcast_ref(), T::default());
            Arc::new(merge(outer.unwrap_or(&empty), inner.unwrap_or(&empty)))
        }
    });
}

fn slot<'a, M: Module>(
    host: &'a mut Draft,
    section: &'a mut Draft,
    place: Place<'a>,
    diagnostics: &'a mut Diagnostics,
) -> Option<Slot<'a, M>> {
    Some(Slot {
        host: host.downcast_mut()?,
        section: section.downcast_mut()?,
        place,
        diagnostics,
    })
}

impl<M: Module> AnyModule for Registered<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn identifier(&self) -> &'static str {
        M::IDENTIFIER
    }

    fn directives(&self) -> Vec<DirectiveInfo> {
        M::DIRECTIVES.iter().map(Directive::info).collect()
    }

    fn draft_host(&self) -> Draft {
        Box::new(M::Host::default())
    }

    fn draft_section(&self) -> Draft {
        Box::new(M::Section::default())
    }

    fn apply(
        &self,
        row: usize,
        host: &mut Draft,
        section: &mut Draft,
        place: Place<'_>,
        args: &Text,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let slot = slot::<M>(host, section, place, diagnostics);
        match (slot, M::DIRECTIVES.get(row)) {
            (Some(mut slot), Some(directive)) => directive.apply(&mut slot, args),
            _ => false,
        }
    }

    fn close(
        &self,
        row: usize,
        host: &mut Draft,
        section: &mut Draft,
        place: Place<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let slot = slot::<M>(host, section, place, diagnostics);
        if let (Some(mut slot), Some(directive)) = (slot, M::DIRECTIVES.get(row)) {
            directive.close(&mut slot);
        }
    }

    fn seal_host(&self, outer: Option<&Draft>, inner: Option<&Draft>, into: &mut Settings) {
        merged(outer, inner, M::merge_host, into);
    }

    fn seal_base(&self, outer: Option<&Draft>, inner: Option<&Draft>, into: &mut Settings) {
        merged(outer, inner, M::merge_section, into);
    }

    fn seal_section(&self, draft: Option<&Draft>, into: &mut Settings) {
        merged(None, draft, M::merge_section, into);
    }

    fn merge_sealed(&self, outer: &Settings, inner: &Settings, into: &mut Settings) {
        into.push(Arc::new(M::merge_section(outer.get(), inner.get())));
    }

    fn check(&self, draft: &SiteDraft, diagnostics: &mut Diagnostics) {
        M::check(draft, diagnostics);
    }

    fn finish_host(&self, host: &Settings, section: &Settings, spec: &mut HostSpec) {
        M::finish_host(host.get(), section.get(), spec);
    }

    fn finish_server(&self, host: &Settings, spec: &mut ServerSpec) {
        M::finish_server(host.get(), spec);
    }
}
