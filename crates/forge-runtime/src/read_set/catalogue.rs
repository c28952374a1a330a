//! What the database knows about the names in a statement.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use forge_core::Result;
use postgres_types::Type;
use tokio_postgres::Client;

use super::outline::{Name, Outline};
use super::{KeyKind, Reading, Unfollowable};
use crate::db::error::from_driver;

/// A table that can be followed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    /// With its schema, quoted where necessary.
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// How many columns it has ever had: one more after each that is added.
    pub(crate) attributes: i32,
    /// Itself and its partitions and heirs, each of which may be written directly: oid and name.
    pub(crate) family: Vec<(u32, String)>,
    /// A number for its columns and their types. A change that was written down by other ones is not comparable.
    pub(crate) shape: u32,
}

/// A column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Set when rows can be matched by it.
    pub(crate) key: Option<KeyKind>,
    /// Values that are equal are written alike. (1.0 and 1.00 are equal numbers.)
    pub(crate) bytewise: bool,
    /// `<` and its kin can be decided outside of PostgreSQL.
    pub(crate) ordered: bool,
    /// Its type's oid.
    pub(crate) ty: u32,
    /// Its type's name, as SQL.
    pub(crate) type_name: String,
}

impl Table {
    pub(crate) fn new(oid: u32, name: String, columns: Vec<Column>, attributes: i32, family: Vec<(u32, String)>) -> Self {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        hash.update(attributes.to_be_bytes());
        for column in &columns {
            hash.update(format!("{} {} {} {}\n", column.name, column.ty, column.bytewise, column.key.is_some()));
        }
        let hash: [u8; 32] = hash.finalize().into();
        let shape = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        Self { oid, name, columns, attributes, family, shape }
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// What a relation's name stands for.
#[derive(Debug, Clone)]
pub(super) enum Relation {
    Table(Arc<Table>),
    /// Its definition.
    View(Arc<Outline>),
    Unfollowable(String),
}

/// What the names of a statement stand for.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub(super) relations: HashMap<Name, Relation>,
    /// By which it would be noticed that a name stands for something else.
    pub(super) marks: HashMap<Name, String>,
}

/// How deep views may stand on views.
const VIEWS_MAX: usize = 16;

/// Types beside those of [`KeyKind`] whose equal values are written alike.
const BYTEWISE: &[Type] = &[Type::TIME, Type::BYTEA];

const RELATIONS: &str = concat!(include_str!("sql/relations.sql"), include_str!("sql/mark.sql"));
const FUNCTIONS: &str = include_str!("sql/functions.sql");

impl Catalogue {
    /// What a statement reads.
    ///
    /// # Errors
    /// The outer one when the database cannot be asked, the inner one when the statement cannot be followed.
    pub(crate) async fn read(client: &Client, text: &str) -> Result<std::result::Result<Reading, Unfollowable>> {
        let statement = match Outline::of(text) {
            Ok(outline) => Arc::new(outline),
            Err(why) => return Ok(Err(why)),
        };
        let mut catalogue = Self::default();
        let mut open = vec![(statement.clone(), 0)];
        while let Some((outline, depth)) = open.pop() {
            if depth > VIEWS_MAX {
                return Ok(Err(Unfollowable(format!("its views stand on views more than {VIEWS_MAX} deep"))));
            }
            if let Some(why) = unknown_function(client, &outline.functions).await? {
                return Ok(Err(why));
            }
            for (name, found, mark) in relations(client, &outline, &catalogue.relations).await? {
                let relation = match found {
                    Found::Relation(relation) => relation,
                    Found::View(text) => match Outline::of(&text) {
                        Ok(outline) => {
                            let outline = Arc::new(outline);
                            open.push((outline.clone(), depth + 1));
                            Relation::View(outline)
                        }
                        Err(why) => Relation::Unfollowable(format!("of the view {}: {}", name.join("."), why.0)),
                    },
                };
                catalogue.relations.insert(name.clone(), relation);
                catalogue.marks.insert(name, mark);
            }
        }
        Ok(super::analyse::analyse(&statement, &catalogue))
    }
}

/// What was found under a name.
enum Found {
    Relation(Relation),
    View(String),
}

/// What the names of a text stand for, those left out that are known already.
async fn relations(
    client: &Client,
    outline: &Outline,
    known: &HashMap<Name, Relation>,
) -> Result<Vec<(Name, Found, String)>> {
    let names: BTreeSet<Name> = outline.relations.iter().filter(|name| !known.contains_key(*name)).cloned().collect();
    let names: Vec<Name> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let quoted: Vec<String> = names.iter().map(quote).collect();
    let rows = client.query_typed(RELATIONS, &[(&quoted, Type::TEXT_ARRAY)]).await.map_err(from_driver)?;
    let mut found = Vec::new();
    for row in rows {
        let place: i64 = row.try_get("place").map_err(from_driver)?;
        let Some(name) = usize::try_from(place - 1).ok().and_then(|n| names.get(n)) else { continue };
        found.push((name.clone(), relation(&row).map_err(from_driver)?, row.try_get("mark").map_err(from_driver)?));
    }
    Ok(found)
}

fn relation(row: &tokio_postgres::Row) -> Result<Found, tokio_postgres::Error> {
    let (oid, name): (u32, String) = (row.try_get("oid")?, row.try_get("name")?);
    let unfollowable = |why: String| Found::Relation(Relation::Unfollowable(why));
    let refused = |what: &str| unfollowable(format!("{name} is {what}, whose changes nothing reports"));
    if row.try_get("system")? {
        return Ok(refused("part of the catalogue"));
    }
    if row.try_get("partition")? {
        return Ok(unfollowable(format!(
            "{name} is a partition or an heir, and is also written through its parent; read the parent"
        )));
    }
    if row.try_get("policies")? {
        return Ok(unfollowable(format!("{name} has row-level security, whose policies are not followed")));
    }
    Ok(match row.try_get::<_, String>("kind")?.as_str() {
        "r" | "p" => {
            let names: Vec<String> = row.try_get("columns")?;
            let types: Vec<u32> = row.try_get("types")?;
            let enums: Vec<bool> = row.try_get("enums")?;
            let plain: Vec<bool> = row.try_get("plain")?;
            let ordered: Vec<bool> = row.try_get("ordered")?;
            let type_names: Vec<String> = row.try_get("type_names")?;
            let columns = names.into_iter().zip(types).zip(enums).zip(plain).zip(ordered).zip(type_names);
            let column = |(((((name, oid), is_enum), plain), ordered), type_name)| {
                let key = kind(oid, is_enum).filter(|_| plain);
                let bytewise = key.is_some() || Type::from_oid(oid).is_some_and(|ty| BYTEWISE.contains(&ty));
                let ordered = key.is_some_and(|kind: KeyKind| kind.has_order() && (kind != KeyKind::Text || ordered));
                Column { name, key, bytewise, ordered, ty: oid, type_name }
            };
            let family_oids: Vec<u32> = row.try_get("family")?;
            let family_names: Vec<String> = row.try_get("family_names")?;
            let family = family_oids.into_iter().zip(family_names).collect();
            let attributes = row.try_get("attributes")?;
            Found::Relation(Relation::Table(Arc::new(Table::new(
                oid,
                name,
                columns.map(column).collect(),
                attributes,
                family,
            ))))
        }
        "v" => Found::View(row.try_get("definition")?),
        "m" => refused("a materialised view"),
        "f" => refused("a foreign table"),
        _ => refused("no table"),
    })
}

fn kind(oid: u32, is_enum: bool) -> Option<KeyKind> {
    if is_enum {
        return Some(KeyKind::Enum(oid));
    }
    KeyKind::of(&Type::from_oid(oid)?)
}

/// A function among these whose reads nobody knows, or that reads the clock or draws lots.
async fn unknown_function(client: &Client, functions: &BTreeSet<Name>) -> Result<Option<Unfollowable>> {
    let names: Vec<&str> = functions.iter().filter_map(|name| name.last().map(String::as_str)).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let rows = client.query_typed(FUNCTIONS, &[(&names, Type::TEXT_ARRAY)]).await.map_err(from_driver)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (name, ours): (String, bool) = (row.try_get(0).map_err(from_driver)?, row.try_get(1).map_err(from_driver)?);
    Ok(Some(Unfollowable(if ours {
        format!("it calls {name}(), which may read anything; only functions that are IMMUTABLE can be followed")
    } else {
        format!("it calls {name}(), whose answer changes without anything being written")
    })))
}

/// A name as SQL.
pub(super) fn quote(name: &Name) -> String {
    let quoted: Vec<String> = name.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    quoted.join(".")
}
