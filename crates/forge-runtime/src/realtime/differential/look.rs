//! How results are looked at: one number for each query, by as few statements as possible.
//!
//! A query answers the same while the rows of all tables that it names are the same, and that does not depend on anything that is tested here:
//! so first the tables are looked at, and then the queries of those that have changed.

use std::sync::Arc;

use tokio_postgres::types::ToSql;

use super::datum::Arg;
use super::grammar::Query;
use super::schema::Schema;
use crate::db::{Answer, Shape};

/// The statements.
pub(super) struct Looks {
    /// How many rows each table has, and which.
    pub(super) tables: Arc<Shape>,
    /// The results of the queries that name a table, by table.
    pub(super) of_table: Vec<Look>,
}

/// One statement for the results of some queries.
pub(super) struct Look {
    /// Which ones.
    pub(super) queries: Vec<usize>,
    pub(super) shape: Arc<Shape>,
    args: Vec<Arg>,
}

/// What a table's rows are, as far as it has to be known to see whether they are others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) count: i64,
    written: i64,
}

impl Looks {
    pub(super) fn new(schema: &Schema, queries: &[Query]) -> Self {
        // A row that is new, or was changed, is written by a later transaction than all that were there before; what only went is missed in the
        // number of them. (A transaction that stays open while others come and go does nothing but insert.)
        let all: Vec<String> = schema
            .tables
            .iter()
            .map(|table| format!("SELECT count(*), coalesce(sum(xmin::text::bigint), 0)::bigint FROM {}", table.name))
            .collect();
        let reads: Vec<Vec<bool>> = queries.iter().map(|query| schema.named_in(&query.text)).collect();
        let of_table = |table: usize| Look::new(queries, (0..queries.len()).filter(|n| reads[*n][table]).collect());
        Self { tables: Shape::of(&all.join(" UNION ALL ")), of_table: (0..schema.tables.len()).map(of_table).collect() }
    }
}

impl Rows {
    /// What the statement about the tables answered.
    pub(super) fn read(answer: &Answer) -> Result<Vec<Self>, tokio_postgres::Error> {
        answer.rows.iter().map(|row| Ok(Self { count: row.try_get(0)?, written: row.try_get(1)? })).collect()
    }
}

impl Look {
    fn new(all: &[Query], queries: Vec<usize>) -> Self {
        let mut args: Vec<Arg> = Vec::new();
        let results: Vec<String> = queries
            .iter()
            .map(|n| {
                let query = &all[*n];
                let text = shifted(&query.text, args.len());
                args.extend(query.args.iter().cloned());
                let result = if query.ordered {
                    "hashtextextended(coalesce(string_agg(q::text, '|'), ''), 0)"
                } else {
                    // The sum does not depend on the order, and nothing has to be sorted for it.
                    "coalesce(sum(hashtextextended(q::text, 0)), 0)"
                };
                format!("(SELECT {result}::text FROM ({text}) q)")
            })
            .collect();
        Self { queries, shape: Shape::of(&format!("SELECT ARRAY[{}]::text[]", results.join(",\n"))), args }
    }

    /// The arguments of all of them.
    pub(super) fn args(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.args.iter().map(|arg| arg as _).collect()
    }
}

/// The same text, with its arguments counted from further on.
fn shifted(text: &str, by: usize) -> String {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        let number: usize = part[..digits].parse().unwrap_or(0);
        whole.push_str(&format!("${}{}", number + by, &part[digits..]));
    }
    whole
}
