//! The manifest: a whole app, described as data.
//!
//! `my-app manifest` prints it as JSON; code generation reads this and nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::function::{Access, Function, FunctionKind, Isolation};
use crate::human::format_duration;
use crate::schema::{EnumDef, TableDef};
use crate::wire::{TypeDef, TypeRef, TypeRegistry, WireType};

/// The version of the manifest's own shape.
pub const MANIFEST_VERSION: u32 = 1;

/// An app, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub manifest_version: u32,
    /// The app's name.
    pub name: String,
    /// The app's version.
    pub version: String,
    /// The functions, by name.
    pub functions: Vec<FunctionDef>,
    /// The named types that functions take and return, by name.
    pub types: Vec<TypeDef>,
    /// The tables, by name.
    pub tables: Vec<TableDef>,
    /// The enum types of the database, by name.
    pub enums: Vec<EnumDef>,
}

/// A function, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionDef {
    /// Its name on the wire.
    pub name: String,
    /// Its kind.
    pub kind: FunctionKind,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Its arguments: a named type, or [`TypeRef::Null`] when it takes none.
    pub args: TypeRef,
    /// Its result.
    pub output: TypeRef,
    /// Whether it may be called by somebody who is not signed in.
    pub public: bool,
    /// The roles of which the caller needs one; empty when any caller who is signed in may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// How long it may take, when it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// A mutation's isolation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

impl FunctionDef {
    /// Describes a function, and the types it uses.
    pub fn of<F: Function>(types: &mut TypeRegistry) -> Self {
        let info = F::INFO;
        let roles = match info.access {
            Access::AnyRole(roles) => roles.iter().map(|role| (*role).to_owned()).collect(),
            Access::Public | Access::SignedIn => Vec::new(),
        };
        Self {
            name: info.name.to_owned(),
            kind: info.kind,
            doc: info.doc.to_owned(),
            args: F::Args::wire_type(types),
            output: F::Output::wire_type(types),
            public: info.access == Access::Public,
            roles,
            timeout: info.timeout.map(|timeout: Duration| format_duration(timeout)),
            isolation: (info.kind == FunctionKind::Mutation).then_some(info.isolation),
        }
    }
}
