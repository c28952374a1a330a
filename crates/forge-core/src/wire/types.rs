//! The description of types, as the manifest holds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::validate::Rule;

/// A use of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum TypeRef {
    /// Text.
    String,
    /// Text that only goes to the server, such as a password: an argument, never a result.
    Secret,
    /// True or false.
    Bool,
    /// An integer of at most 32 bits: a number.
    Int32,
    /// An integer of 64 bits: a string of digits.
    Int64,
    /// A floating-point number, never NaN or infinite.
    Float,
    /// A decimal number of any precision: a string.
    Decimal,
    /// A UUID: a string.
    Uuid,
    /// A moment: RFC 3339 text in UTC.
    Timestamp,
    /// A calendar date: `2026-11-22`.
    Date,
    /// A time of day: `19:36:46`.
    Time,
    /// Bytes: base64 text, standard alphabet, padded.
    Bytes,
    /// Any JSON value.
    Json,
    /// Nothing: `null`.
    Null,
    /// A value or `null`.
    Option {
        /// The value's type.
        of: Box<TypeRef>,
    },
    /// An array.
    List {
        /// The type of its items.
        of: Box<TypeRef>,
    },
    /// An object with any keys.
    Map {
        /// The type of its values.
        of: Box<TypeRef>,
    },
    /// An array of fixed length.
    Tuple {
        /// The types of its items, in order.
        of: Vec<TypeRef>,
    },
    /// A type of the app, by name; its definition is in the manifest's `types`.
    Named {
        /// The name.
        name: String,
    },
}

impl TypeRef {
    /// The types that it is made of. What a [named](Self::Named) one is made of its definition says.
    pub fn parts(&self) -> &[Self] {
        match self {
            Self::Option { of } | Self::List { of } | Self::Map { of } => std::slice::from_ref(&**of),
            Self::Tuple { of } => of,
            Self::String
            | Self::Secret
            | Self::Bool
            | Self::Int32
            | Self::Int64
            | Self::Float
            | Self::Decimal
            | Self::Uuid
            | Self::Timestamp
            | Self::Date
            | Self::Time
            | Self::Bytes
            | Self::Json
            | Self::Null
            | Self::Named { .. } => &[],
        }
    }
}

/// The definition of a named type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeDef {
    /// Its name, in Rust and in TypeScript.
    pub name: String,
    /// The Rust path it was defined at; two types of one name at two paths are a mistake.
    pub rust: String,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// What it consists of.
    pub shape: TypeShape,
}

/// What a named type consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum TypeShape {
    /// An object with these fields.
    Struct {
        /// The fields, in order.
        fields: Vec<FieldDef>,
    },
    /// One of these strings.
    Enum {
        /// The variants; none has fields.
        variants: Vec<VariantDef>,
    },
    /// One of these objects, told apart by the string in the field `tag`.
    Union {
        /// The name of the telling field.
        tag: String,
        /// The variants.
        variants: Vec<VariantDef>,
    },
    /// Another type under a name of its own.
    Alias {
        /// That type.
        of: TypeRef,
        /// The rules its values obey.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<Rule>,
    },
}

/// A field of a struct or of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDef {
    /// Its name on the wire.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: TypeRef,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Whether it may be left out when sent to the server. Answers always have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The rules its values obey.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A variant of an enum or a union.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariantDef {
    /// Its name on the wire.
    pub name: String,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Its fields beside the tag; none in an enum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDef>,
}

/// Collects the named types that are met while an app is described.
#[derive(Debug, Default)]
pub struct TypeRegistry {
    types: BTreeMap<String, Option<TypeDef>>,
    clashes: Vec<String>,
}

impl TypeRegistry {
    /// Refers to a named type, and defines it when it is met for the first time. A type may contain itself.
    pub fn named(&mut self, name: &str, rust: &str, shape: impl FnOnce(&mut Self) -> (String, TypeShape)) -> TypeRef {
        match self.types.get(name) {
            None => {
                self.types.insert(name.to_owned(), None);
                let (doc, shape) = shape(self);
                let def = TypeDef { name: name.to_owned(), rust: rust.to_owned(), doc, shape };
                self.types.insert(name.to_owned(), Some(def));
            }
            Some(Some(known)) if known.rust != rust => {
                self.clashes.push(format!("the type name `{name}` is used twice: by {} and by {rust}", known.rust));
            }
            Some(_) => {}
        }
        TypeRef::Named { name: name.to_owned() }
    }

    /// The definitions, by name.
    ///
    /// # Errors
    /// The names that two different types claim: generated code could not tell them apart.
    pub fn finish(self) -> Result<Vec<TypeDef>, Vec<String>> {
        if self.clashes.is_empty() { Ok(self.types.into_values().flatten().collect()) } else { Err(self.clashes) }
    }
}
