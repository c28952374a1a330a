//! Turns the manifest of an app into the files of a client.
//!
//! Pure: a manifest goes in, texts come out, the same manifest always gives the same texts. Which folder they are
//! written to, and whether something there is in the way, is the business of the command line; [`check_edits`] tells
//! it whether people have changed a generated file.
//!
//! # What is promised
//!
//! - The files compile under the strictest settings of TypeScript, whatever the app calls its types, fields and
//!   functions; names for which that cannot be are refused, all of them in one error.
//! - Only types that functions use, and the models, are written.
//! - The client's runtime comes along as source: an app needs no package of ours.
//!
//! # A choice: when a field may be left out
//!
//! The server lets a field be missing when it is an `Option` or has a default, but answers always spell it out. One
//! TypeScript type is written per Rust type, so a type that is only ever sent has `field?: T`, and a type that is
//! received, or both sent and received, has `field: T`: reading is never wrong, and sending is at worst asked to
//! spell out a `null`. An app that wants the shorter form for both has two types.

mod stamp;
mod typescript;

pub use stamp::{Edits, check_edits};
pub use typescript::{Flavour, GeneratedFile, typescript, typescript_for};
