//! The httpd configuration language: text to tree, with a span for every byte, and diagnostics.
//!
//! [`load`] reads a main file and everything it includes, carries out what the language does while it is being read
//! (`Include`, `Define`, `<IfModule>`, `<Macro>`…), and answers with a [`Tree`] and [`Diagnostics`]. Reading never stops
//! at the first problem. The crate knows no directive beyond those of the language itself, reads no clock, starts no
//! thread, and reaches files only through the [`Files`] trait.

mod diagnostics;
mod disk;
mod files;
mod fnmatch;
mod lines;
mod load;
mod memory;
mod render;
mod source;
mod text;
mod tree;
pub mod value;
mod variables;
mod version;

pub use diagnostics::{CODES, Diagnostic, Diagnostics, Label, Severity};
pub use disk::DiskFiles;
pub use files::{Files, Kind};
pub use load::{Environment, HTTPD_VERSION, Host, Include, Loaded, Options, load};
pub use memory::MemoryFiles;
pub use render::render_one;
pub use source::{FileId, SourceFile, SourceMap, Span};
pub use text::Text;
pub use tree::{Directive, Item, Section, Tree};
