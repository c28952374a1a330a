//! Random writes.

use super::datum::{Datum, VALUES};
use super::dice::Dice;
use super::grammar::Query;
use super::schema::{Column, Kind, Schema, Table};

/// One transaction.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) how: How,
    pub(super) statements: Vec<String>,
    /// The query, among those that are followed, that it must not concern.
    pub(super) spares: Option<usize>,
}

/// How it comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// As somebody types it into psql.
    Raw,
    /// The same, and then rolled back.
    RolledBack,
    /// In the transaction of a mutation; statements from the second on are a mutation that it calls.
    Mutation { inner_fails: bool },
    /// COPY, with its lines.
    Copy(String),
    /// In a transaction that stays open while others come and go.
    Straddling,
}

/// Makes writes.
pub(super) struct Writer<'a> {
    pub(super) dice: &'a mut Dice,
    pub(super) schema: &'a Schema,
    /// How many rows each table has.
    pub(super) rows: &'a [i64],
    pub(super) queries: &'a [Query],
}

/// Settings that change how values are written as text.
const SETTINGS: &[&str] = &[
    "SET LOCAL TimeZone = 'America/New_York'",
    "SET LOCAL TimeZone = 'Asia/Kolkata'",
    "SET LOCAL DateStyle = 'SQL, DMY'",
    "SET LOCAL DateStyle = 'German'",
    "SET LOCAL extra_float_digits = -3",
    "SET LOCAL search_path = pg_catalog, w, public",
];

impl Writer<'_> {
    pub(super) fn write(mut self) -> Write {
        if self.dice.chance(12)
            && let Some(write) = self.another_key()
        {
            return write;
        }
        let raw = |statements| Write { how: How::Raw, statements, spares: None };
        match self.dice.below(100) {
            0..58 => raw(vec![self.statement()]),
            58..68 => {
                let mut statements = vec!["BEGIN".to_owned()];
                if self.dice.chance(40) {
                    statements.push((*self.dice.pick(SETTINGS)).to_owned());
                }
                for _ in 0..1 + self.dice.below(3) {
                    if self.dice.chance(35) {
                        let kept = self.dice.chance(60);
                        let inner = self.statement();
                        let end = if kept { "RELEASE s" } else { "ROLLBACK TO s" };
                        statements.extend(["SAVEPOINT s".to_owned(), inner, end.to_owned()]);
                    } else {
                        statements.push(self.statement());
                    }
                }
                statements.push("COMMIT".to_owned());
                raw(statements)
            }
            68..72 => {
                let statements = vec!["BEGIN".to_owned(), self.statement(), self.statement(), "ROLLBACK".to_owned()];
                Write { how: How::RolledBack, statements, spares: None }
            }
            72..88 => {
                let statements = (0..1 + self.dice.below(2)).map(|_| self.statement()).collect();
                Write { how: How::Mutation { inner_fails: self.dice.chance(30) }, statements, spares: None }
            }
            88..91 => self.copy(),
            91..94 => {
                let table = &self.schema.tables[3];
                let statements =
                    vec!["BEGIN".to_owned(), "SAVEPOINT s".to_owned(), self.insert(table, 1), "RELEASE s".to_owned()];
                Write { how: How::Straddling, statements, spares: None }
            }
            _ => {
                let both = format!("{}; {}", self.statement(), self.statement());
                raw(vec![both])
            }
        }
    }

    fn table(&mut self) -> (usize, Table) {
        let n = self.dice.below(self.schema.tables.len());
        (n, self.schema.tables[n].clone())
    }

    fn statement(&mut self) -> String {
        let (n, table) = self.table();
        let rows = self.rows.get(n).copied().unwrap_or(0);
        let name = &table.name;
        match self.dice.below(100) {
            _ if rows > 60 => format!("DELETE FROM {name} WHERE {}", self.some(&table)),
            _ if rows < 6 => self.insert(&table, 8),
            0..26 => {
                let count = 1 + self.dice.below(2);
                self.insert(&table, count)
            }
            26..30 if table.kind != Kind::Keyed => self.insert(&table, 160),
            26..36 => self.upsert(&table),
            36..78 => self.update(&table),
            78..92 => format!("DELETE FROM {name} WHERE {}", self.some(&table)),
            92 | 93 => format!("UPDATE {name} SET id = id"),
            94 if self.dice.chance(40) => format!("TRUNCATE {name} CASCADE"),
            95 if table.kind == Kind::Parted => {
                let part = *self.dice.pick(&["t4_low", "t4_rest"]);
                let values = self.row(&table, |_| None);
                // A row of another part is refused.
                format!("INSERT INTO {part} ({}) VALUES {values}", names(&table))
            }
            96 | 97 if table.kind == Kind::Parted => format!("DELETE FROM t4_low WHERE {}", self.some(&table)),
            98 => format!("DELETE FROM {name}"),
            _ => self.update(&table),
        }
    }

    /// Rows that a statement is about.
    fn some(&mut self, table: &Table) -> String {
        let column = self.dice.pick(&table.columns).clone();
        let value = table.value(&column, self.dice);
        if value.n.is_none() {
            format!("{} IS NULL", column.name)
        } else {
            format!("{} = {}", column.name, value.literal())
        }
    }

    fn assignments(&mut self, table: &Table, but: Option<&str>) -> Option<String> {
        let open: Vec<&Column> =
            table.columns.iter().filter(|column| but.is_none_or(|but| column.name != but && column.of.is_none())).collect();
        // Several rows cannot be given one id.
        let open: Vec<&Column> = open
            .into_iter()
            .filter(|column| column.name != "id" || table.kind == Kind::Parted || self.dice.chance(8))
            .collect();
        if open.is_empty() {
            return None;
        }
        let mut set: Vec<String> = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            let column = (*self.dice.pick(&open)).clone();
            if set.iter().all(|one| !one.starts_with(&format!("{} =", column.name))) {
                set.push(format!("{} = {}", column.name, self.new_value(table, &column)));
            }
        }
        Some(set.join(", "))
    }

    fn new_value(&mut self, table: &Table, column: &Column) -> String {
        match column.of {
            // One that is there.
            Some(of) if !self.dice.chance(15) => {
                let of = &self.schema.tables[of].name;
                let n = self.dice.below(12);
                format!("(SELECT id FROM {of} ORDER BY id OFFSET {n} % greatest((SELECT count(*) FROM {of}), 1) LIMIT 1)")
            }
            Some(_) => "NULL".to_owned(),
            // The id of rows that are dropped when they are moved.
            None if table.kind == Kind::Parted && column.name == "id" && self.dice.chance(20) => {
                Datum { ty: column.ty, n: Some(7) }.literal()
            }
            None => table.value(column, self.dice).literal(),
        }
    }

    fn update(&mut self, table: &Table) -> String {
        let condition = self.some(table);
        match self.assignments(table, None) {
            Some(set) => format!("UPDATE {} SET {set} WHERE {condition}", table.name),
            None => format!("DELETE FROM {} WHERE {condition}", table.name),
        }
    }

    fn row(&mut self, table: &Table, fixed: impl Fn(&Column) -> Option<String>) -> String {
        let values: Vec<String> =
            table.columns.iter().map(|column| fixed(column).unwrap_or_else(|| self.new_value(table, column))).collect();
        format!("({})", values.join(", "))
    }

    fn insert(&mut self, table: &Table, count: usize) -> String {
        let rows: Vec<String> = (0..count).map(|_| self.row(table, |_| None)).collect();
        let conflict = if table.kind == Kind::Keyed { " ON CONFLICT DO NOTHING" } else { "" };
        format!("INSERT INTO {} ({}) VALUES {}{conflict}", table.name, names(table), rows.join(", "))
    }

    fn upsert(&mut self, table: &Table) -> String {
        let row = self.row(table, |_| None);
        let set: Vec<String> =
            table.columns.iter().skip(1).map(|column| format!("{0} = excluded.{0}", column.name)).collect();
        let conflict = match table.kind {
            Kind::Keyed => format!(" ON CONFLICT (id) DO UPDATE SET {}", set.join(", ")),
            _ => String::new(),
        };
        format!("INSERT INTO {} ({}) VALUES {row}{conflict}", table.name, names(table))
    }

    fn copy(&mut self) -> Write {
        let table = self.dice.pick(&[self.schema.tables[3].clone(), self.schema.tables[4].clone()]).clone();
        let mut lines = String::new();
        for _ in 0..1 + self.dice.below(3) {
            let values: Vec<String> = table.columns.iter().map(|column| table.value(column, self.dice).copied()).collect();
            lines.push_str(&values.join("\t"));
            lines.push('\n');
        }
        let statement = format!("COPY {} ({}) FROM STDIN", table.name, names(&table));
        Write { how: How::Copy(lines), statements: vec![statement], spares: None }
    }

    /// A write to rows that a keyed query does not have, neither before nor after.
    fn another_key(&mut self) -> Option<Write> {
        let n = self.dice.below(self.queries.len());
        let (table, column, value) = self.queries[n].target.clone()?;
        let table = self.schema.tables[table].clone();
        if self.rows.get(self.queries[n].target.as_ref()?.0).is_none_or(|rows| *rows > 40) {
            // So many rows may be written down as "all rows".
            return None;
        }
        let other = Datum { ty: value.ty, n: Some((value.n? + 1 + self.dice.below(VALUES - 1)) % VALUES) };
        if other.literal() == value.literal() {
            return None;
        }
        let statement = if self.dice.chance(50) {
            let set = self.assignments(&table, Some(&column))?;
            format!("UPDATE {} SET {set} WHERE {column} IS DISTINCT FROM {}", table.name, value.literal())
        } else {
            let row = self.row(&table, |of| (of.name == column).then(|| other.literal()));
            let conflict = if table.kind == Kind::Keyed { " ON CONFLICT DO NOTHING" } else { "" };
            format!("INSERT INTO {} ({}) VALUES {row}{conflict}", table.name, names(&table))
        };
        Some(Write { how: How::Raw, statements: vec![statement], spares: Some(n) })
    }
}

fn names(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}
