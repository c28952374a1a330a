//! Columns that may be NULL and are read into fields that cannot be.
//!
//! It speaks only when it is sure, so as not to cry wolf over right code:
//!
//! - the statement only reads, and is not put together with UNION and the like;
//! - the column is one of a table (of a view or of an expression nobody says whether it may be NULL), is neither computed nor of a
//!   domain, and neither NOT NULL nor a CHECK that speaks of NULL forbids it;
//! - the statement does not name the column behind its first FROM: a condition there, such as `WHERE due IS NOT NULL` or
//!   `WHERE due < now()`, may well leave the NULLs out.
//!
//! The other way around it says nothing: a column that is NOT NULL can be NULL on the outer side of a join.

use forge_core::Result;
use tokio_postgres::{Client, Column};

use super::error;
use super::lexer::{self, Token};
use super::row::Field;
use super::sql::CheckedSql;
use super::statement::Verb;

/// Those of some columns, given by table and number, that the catalogue lets be NULL: position, table, column.
const NULLABLE: &str = "
    SELECT k.position, c.relname::text, a.attname::text
      FROM unnest($1::oid[], $2::int2[]) WITH ORDINALITY AS k(relation, number, position)
      JOIN pg_attribute a ON a.attrelid = k.relation AND a.attnum = k.number
      JOIN pg_class c ON c.oid = a.attrelid
      JOIN pg_type t ON t.oid = a.atttypid
     WHERE c.relkind IN ('r', 'p') AND NOT a.attnotnull AND a.attgenerated = '' AND t.typtype <> 'd'
       AND NOT EXISTS (
           SELECT FROM pg_constraint x
            WHERE x.conrelid = c.oid AND x.contype = 'c' AND a.attnum = ANY (x.conkey)
              AND pg_get_constraintdef(x.oid) ~* 'IS NOT NULL')";

/// What is wrong with a statement in this respect.
pub(super) async fn find(client: &Client, sql: &CheckedSql, read: &[(Field, Option<&Column>)]) -> Result<Vec<String>> {
    let Some(conditions) = conditions(sql.statement.text(), sql.statement.shape().verb) else { return Ok(Vec::new()) };
    let mut suspects = Vec::new();
    for (field, column) in read {
        if let Some(column) = column
            && let (Some(table), Some(number)) = (column.table_oid(), column.column_id())
            && (field.accepts)(column.type_())
            && !(field.takes_null)(column.type_())
        {
            suspects.push((field, column, table, number));
        }
    }
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let (tables, numbers): (Vec<u32>, Vec<i16>) = suspects.iter().map(|(_, _, table, number)| (*table, *number)).unzip();
    let rows = client.query(NULLABLE, &[&tables, &numbers]).await.map_err(error::from_driver)?;
    let mut found = Vec::new();
    for row in rows {
        let position: i64 = row.try_get(0).map_err(error::from_driver)?;
        let table: String = row.try_get(1).map_err(error::from_driver)?;
        let name: String = row.try_get(2).map_err(error::from_driver)?;
        let suspect = usize::try_from(position - 1).ok().and_then(|position| suspects.get(position));
        let Some((field, column, ..)) = suspect else { continue };
        if names(conditions, &name) || names(conditions, column.name()) {
            continue;
        }
        let rust = short(field.rust);
        let (place, remedy) = match field.field {
            Some(field) => {
                (format!("the field `{field}` of `{}`", short((sql.row)())), format!("`{field}: Option<{rust}>`"))
            }
            None => (format!("the row `{}`", short((sql.row)())), format!("`Option<{rust}>` there")),
        };
        found.push(format!(
            "column `{}` may be NULL (`{table}.{name}` is not NOT NULL), but is read as `{rust}` into {place}: write {remedy}, make the column NOT NULL in a migration, or leave such rows out with `WHERE {name} IS NOT NULL`",
            column.name()
        ));
    }
    Ok(found)
}

/// The part of a statement behind its first FROM; `None` when nothing can be said about the statement.
fn conditions(text: &str, verb: Verb) -> Option<&str> {
    if !matches!(verb, Verb::Read | Verb::ReadAlone) {
        return None;
    }
    let mut behind = None;
    for (token, end) in lexer::tokens(text) {
        let Token::Word(word) = token else { continue };
        if ["union", "intersect", "except", "natural"].iter().any(|known| word.eq_ignore_ascii_case(known)) {
            return None;
        }
        if word.eq_ignore_ascii_case("from") {
            behind.get_or_insert(end);
        }
    }
    behind.map(|end| &text[end..])
}

/// Whether a text names a column, anywhere: in doubt it does.
fn names(text: &str, column: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if !column.chars().all(is_part) {
        return text.contains(column);
    }
    text.split(|c: char| !is_part(c)).any(|word| word.eq_ignore_ascii_case(column))
}

/// A type's name without the paths in it.
fn short(name: &str) -> String {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut short = String::new();
    for part in name.split_inclusive(|c: char| !is_path(c)) {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions_of(text: &str) -> Option<&str> {
        conditions(text, super::super::Shape::of(text).verb)
    }

    #[test]
    fn only_what_stands_behind_from_is_a_condition() {
        assert_eq!(conditions_of("SELECT due FROM cards"), Some(" cards"));
        assert_eq!(conditions_of("SELECT 'from', due FROM cards"), Some(" cards"));
        assert_eq!(conditions_of("SELECT 1"), None);
        assert_eq!(conditions_of("UPDATE cards SET due = now() RETURNING due"), None);
        assert_eq!(conditions_of("SELECT due FROM a UNION SELECT due FROM b"), None);
        assert!(names(" cards WHERE \"Due\" > now()", "due"));
        assert!(names(" cards c WHERE c.due IS NOT NULL", "due"));
        assert!(!names(" cards WHERE overdue OR due_soon", "due"));
    }

    #[test]
    fn types_are_named_without_their_paths() {
        assert_eq!(short("core::option::Option<jiff::timestamp::Timestamp>"), "Option<Timestamp>");
        assert_eq!(short("(i64, alloc::string::String)"), "(i64, String)");
        assert_eq!(short("alloc::vec::Vec<my_app::State>"), "Vec<State>");
    }
}
