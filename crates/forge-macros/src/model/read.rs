//! What a model may say about its table and its columns.

use proc_macro2::{Ident, Span, TokenStream};
use syn::spanned::Spanned;
use syn::{Attribute, Fields, ItemStruct, LitStr, Meta};

use crate::attrs::{refuse_cfg, refuse_generics};
use crate::keys::{Grammar, inner};
use crate::mistakes::Mistakes;
use crate::names::{did_you_mean, identifier_mistake, list, plain, table_name};
use crate::rules::Rule;
use crate::types::{is_named, option_content};
use crate::wire_field::{SerdeKeys, WireField, refuse_clashes};

const MODEL: Grammar = Grammar { attribute: "#[forge::model]", accepted: &[], planned: &[] };

const ON_STRUCT: Grammar = Grammar {
    attribute: "#[forge::model]",
    accepted: &["table", "schema"],
    planned: &["soft_delete", "tenant", "sql_after", "sql_constraint"],
};

const TABLE: Grammar = Grammar { attribute: "#[table(..)]", accepted: &["name", "schema"], planned: &[] };
const SCHEMA: Grammar = Grammar { attribute: "#[schema(..)]", accepted: &["name"], planned: &[] };
const INDEX: Grammar = Grammar { attribute: "#[index(..)]", accepted: &["fields", "name"], planned: &["order", "unique"] };

const ON_FIELD: Grammar = Grammar {
    attribute: "a field of a model",
    accepted: &["id", "indexed", "unique", "default", "updated_at", "max_length", "jsonb", "column", "nullable", "private"],
    planned: &["encrypted", "relation", "text_search"],
};

/// A model, read and checked.
pub(super) struct Model {
    pub(super) table: String,
    pub(super) schema: Option<String>,
    pub(super) columns: Vec<Column>,
    pub(super) indexes: Vec<Index>,
    /// The position of the primary key among the columns.
    pub(super) id: usize,
}

/// A field and its column.
pub(super) struct Column {
    pub(super) wire: WireField,
    pub(super) name: String,
    pub(super) unique: bool,
    pub(super) indexed: bool,
    pub(super) default: Option<String>,
    pub(super) updated_at: bool,
    pub(super) max_length: Option<u32>,
    /// Whether it is kept off the wire.
    pub(super) private: bool,
}

/// An index over several columns.
pub(super) struct Index {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// Reads the model and takes our attributes off it. `None` when it has no fields to speak of.
pub(super) fn read(args: TokenStream, item: &mut ItemStruct, mistakes: &mut Mistakes) -> Option<Model> {
    let _ = MODEL.read(args, mistakes);
    refuse_generics(&item.generics, "a model", mistakes);
    let serde = SerdeKeys::take(&mut item.attrs, false, mistakes);
    if let Some(name) = serde.rename {
        mistakes.add(name, "a type has one name, in Rust and in generated clients: rename the type itself");
    }
    let index_attrs = take_indexes(&mut item.attrs);
    let (table, schema) = read_table(item, mistakes);
    if !matches!(item.fields, Fields::Named(_)) {
        mistakes.add(&item.ident, "a model is a struct with named fields: one for each column");
        return None;
    }
    let mut ids = Vec::new();
    let mut columns = Vec::new();
    for field in item.fields.iter_mut() {
        let Some(ident) = field.ident.clone() else { continue };
        refuse_cfg(&field.attrs, "a column", "the table has one shape", mistakes);
        let (column, id) = read_column(&mut field.attrs, &ident, &field.ty, mistakes);
        if let Some(place) = id {
            ids.push((columns.len(), place));
        }
        columns.push(column);
    }
    refuse_clashes(columns.iter().filter(|column| !column.private).map(|column| &column.wire), mistakes);
    refuse_column_clashes(&columns, mistakes);
    let indexes = read_indexes(&index_attrs, &table, &columns, mistakes);
    let id = choose_id(&ids, item, mistakes)?;
    Some(Model { table, schema, columns, indexes, id })
}

fn read_table(item: &mut ItemStruct, mistakes: &mut Mistakes) -> (String, Option<String>) {
    let mut keys = ON_STRUCT.read_helpers(&mut item.attrs, mistakes);
    let mut nested = |name: &str, grammar: &Grammar, example: &str, mistakes: &mut Mistakes| {
        let meta = keys.take(name)?;
        let tokens = inner(&meta, example, mistakes)?;
        Some(grammar.read(tokens, mistakes))
    };
    let mut table = nested("table", &TABLE, "#[table(name = \"cards\")]", mistakes);
    let mut schema = nested("schema", &SCHEMA, "#[schema(name = \"billing\")]", mistakes);
    let name = table.as_mut().and_then(|keys| keys.text("name", "cards", mistakes));
    let in_table = table.as_mut().and_then(|keys| keys.text("schema", "billing", mistakes));
    let alone = schema.as_mut().and_then(|keys| keys.text("name", "billing", mistakes));
    if let (Some(_), Some(alone)) = (&in_table, &alone) {
        mistakes.add(alone, "the schema is given twice: in `#[table(schema = ..)]` and here");
    }
    for text in [&name, &in_table, &alone].into_iter().flatten() {
        check_identifier(&text.value(), text, mistakes);
    }
    let table = name.map_or_else(|| table_name(&plain(&item.ident)), |name| name.value());
    (table, in_table.or(alone).map(|schema| schema.value()))
}

fn read_column(
    attrs: &mut Vec<Attribute>,
    ident: &Ident,
    ty: &syn::Type,
    mistakes: &mut Mistakes,
) -> (Column, Option<Span>) {
    let mut keys = ON_FIELD.read_helpers(attrs, mistakes);
    if let Some(attr) = attrs.iter().find(|attr| attr.path().is_ident("validate")) {
        mistakes.add(
            attr,
            "rules stand on what clients send: put them on the `#[forge::input]`; a model knows `#[max_length = N]`",
        );
    }
    attrs.retain(|attr| !attr.path().is_ident("validate"));
    let id = match keys.take("id") {
        Some(Meta::List(list)) if list.tokens.to_string() == "auto" => {
            mistakes.add(&list, "`id(auto)` is not available yet: write `#[id] pub id: Uuid`, which FORGE makes");
            Some(list.path.span())
        }
        other => keys.flag_of(other, "id", mistakes),
    };
    let unique = keys.flag("unique", mistakes);
    let indexed = keys.flag("indexed", mistakes);
    let updated_at = keys.flag("updated_at", mistakes);
    let jsonb = keys.flag("jsonb", mistakes);
    let nullable = keys.flag("nullable", mistakes);
    let private = keys.flag("private", mistakes);
    if private.is_some()
        && let Some(attr) = attrs.iter().find(|attr| attr.path().is_ident("serde"))
    {
        mistakes.add(attr, "a private field is not on the wire, so there is nothing to say about its form there");
    }
    let default = keys.text("default", "now()", mistakes);
    let column = keys.text("column", "column_name", mistakes);
    let max_length = keys.integer("max_length", "200", mistakes);

    let optional = option_content(ty).is_some();
    let content = option_content(ty).unwrap_or(ty);
    let mut refuse = |place: Option<Span>, why: &str| {
        if let Some(place) = place {
            mistakes.add_error(syn::Error::new(place, why));
        }
    };
    refuse(id.filter(|_| optional), "a primary key is never NULL: its type cannot be an `Option`");
    refuse(unique.filter(|_| id.is_some()), "a primary key is unique anyway: leave `unique` out");
    refuse(indexed.filter(|_| id.is_some()), "a primary key is indexed anyway: leave `indexed` out");
    refuse(indexed.filter(|_| unique.is_some()), "a unique column is indexed anyway: leave `indexed` out");
    refuse(
        private.filter(|_| id.is_some()),
        "a primary key is part of the cursors that clients get with pages: it cannot be private",
    );
    refuse(updated_at.filter(|_| id.is_some()), "a primary key does not change: `updated_at` cannot stand here");
    refuse(
        nullable.filter(|_| !optional),
        "a column that may be NULL is an `Option` in Rust: write `Option<..>` (then `nullable` says nothing new)",
    );
    let is_json = is_named(content, "Json") || is_named(content, "Value");
    refuse(
        jsonb.filter(|_| !is_json),
        "a `jsonb` column has the type `Json<T>` for a T of your own, or `serde_json::Value` for any JSON",
    );

    let name = column.as_ref().map_or_else(|| plain(ident), LitStr::value);
    match &column {
        Some(text) => check_identifier(&name, text, mistakes),
        None => check_identifier(&name, ident, mistakes),
    }
    if let Some(text) = default.as_ref().filter(|text| text.value().trim().is_empty()) {
        mistakes.add(text, "a default is an SQL expression: `#[default = \"now()\"]`, `#[default = \"'open'\"]`");
    }
    let mut wire = WireField::take(attrs, ident, ty, mistakes);
    let max_length = max_length.and_then(|number| {
        if !is_named(content, "String") {
            mistakes.add(&number, "`max_length` is the length of a text: the field must be a `String`");
            return None;
        }
        match number.base10_parse::<u32>() {
            // The largest that PostgreSQL takes for varchar(N).
            Ok(length @ 1..=10_485_760) => {
                wire.rules.push(Rule::max_length(length as usize, number.span()));
                Some(length)
            }
            _ => {
                mistakes.add(&number, "a length is from 1 to 10485760 characters");
                None
            }
        }
    });
    let column = Column {
        wire,
        name,
        unique: unique.is_some(),
        indexed: indexed.is_some(),
        default: default.map(|text| text.value()),
        updated_at: updated_at.is_some(),
        max_length,
        private: private.is_some(),
    };
    (column, id)
}

fn check_identifier(name: &str, place: impl quote::ToTokens, mistakes: &mut Mistakes) {
    if let Some(why) = identifier_mistake(name) {
        mistakes.add(place, why);
    }
}

fn refuse_column_clashes(columns: &[Column], mistakes: &mut Mistakes) {
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|earlier| earlier.name == column.name) {
            mistakes.add(&column.wire.ident, format!("two fields are stored in the column `{}`", column.name));
        }
    }
}

fn choose_id(ids: &[(usize, Span)], item: &ItemStruct, mistakes: &mut Mistakes) -> Option<usize> {
    for (_, place) in ids.iter().skip(1) {
        mistakes.add_error(syn::Error::new(*place, "a model has one primary key; this is a second `#[id]`"));
    }
    let first = ids.first().map(|(index, _)| *index);
    if first.is_none() {
        mistakes.add(&item.ident, "a model has a primary key: write `#[id]` on one field, as in `#[id] pub id: Uuid`");
    }
    first
}

/// Takes the `#[index(..)]` attributes: the only ones that may be there more than once.
fn take_indexes(attrs: &mut Vec<Attribute>) -> Vec<Meta> {
    let mut found = Vec::new();
    attrs.retain(|attr| {
        let is_index = attr.path().is_ident("index");
        if is_index {
            found.push(attr.meta.clone());
        }
        !is_index
    });
    found
}

fn read_indexes(metas: &[Meta], table: &str, columns: &[Column], mistakes: &mut Mistakes) -> Vec<Index> {
    let mut indexes: Vec<Index> = columns
        .iter()
        .filter(|column| column.indexed)
        .map(|column| Index { name: index_name(table, &[&column.name]), columns: vec![column.name.clone()] })
        .collect();
    for meta in metas {
        if let Some(index) = read_index(meta, table, columns, mistakes) {
            if indexes.iter().any(|known| known.name == index.name) {
                mistakes.add(
                    meta,
                    format!("two indexes are called `{}`: give one another name with `name = \"..\"`", index.name),
                );
            }
            indexes.push(index);
        }
    }
    indexes
}

fn read_index(meta: &Meta, table: &str, columns: &[Column], mistakes: &mut Mistakes) -> Option<Index> {
    let example = "#[index(fields = [\"column_id\", \"position\"])]";
    let mut keys = INDEX.read(inner(meta, example, mistakes)?, mistakes);
    let name = keys.text("name", "idx_cards_by_position", mistakes);
    let Some(fields) = keys.texts("fields", "column_id", mistakes) else {
        mistakes.add(meta, format!("an index says which fields it is over: `{example}`"));
        return None;
    };
    if fields.is_empty() {
        mistakes.add(meta, format!("an index has at least one field: `{example}`"));
    }
    let mut names: Vec<String> = Vec::new();
    for field in &fields {
        let value = field.value();
        match columns.iter().find(|column| plain(&column.wire.ident) == value) {
            Some(column) if names.contains(&column.name) => {
                mistakes.add(field, format!("`{value}` is in this index twice"))
            }
            Some(column) => names.push(column.name.clone()),
            None => {
                let known: Vec<String> = columns.iter().map(|column| plain(&column.wire.ident)).collect();
                let known = || known.iter().map(String::as_str);
                mistakes.add(
                    field,
                    format!(
                        "there is no field `{value}`{}\nthe fields are {}",
                        did_you_mean(&value, known()),
                        list(known())
                    ),
                );
            }
        }
    }
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = match name {
        Some(name) => {
            check_identifier(&name.value(), &name, mistakes);
            name.value()
        }
        None => index_name(table, &parts),
    };
    Some(Index { name, columns: names })
}

/// `idx_<table>_<columns>`, cut where PostgreSQL would cut it, so that the name in the database is the name we know.
fn index_name(table: &str, columns: &[&str]) -> String {
    let mut name = format!("idx_{table}_{}", columns.join("_"));
    while name.len() > crate::names::MAX_IDENTIFIER_BYTES {
        name.pop();
    }
    name
}
