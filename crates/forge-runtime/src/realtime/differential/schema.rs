//! Random schemas.

use std::fmt::Write as _;

use super::datum::{Datum, Ty, VALUES};
use super::dice::Dice;
use super::grammar::Grammar;

/// How many different ids there are: more than rows that meet, and few enough that they do.
pub(super) const IDS: usize = 18;

/// A column of a table or view.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Ty,
    pub(super) nullable: bool,
    /// The table whose id it holds.
    pub(super) of: Option<usize>,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) kind: Kind,
}

/// What sort of table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// With a primary key, `id`.
    Keyed,
    /// Without one: it may have many rows, and one writer never waits for another.
    Heap,
    /// By `id`, in three parts; the second one of which drops some rows that are moved into it.
    Parted,
}

/// A view.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Ty)>,
    /// For each table, whether it reads it, as far as names tell.
    reads: Vec<bool>,
}

/// A schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    pub(super) tables: Vec<Table>,
    pub(super) views: Vec<View>,
    pub(super) ddl: String,
}

impl Table {
    /// A value for a column.
    pub(super) fn value(&self, column: &Column, dice: &mut Dice) -> Datum {
        let null = column.nullable && dice.chance(15);
        let values = if column.name == "id" { IDS } else { VALUES };
        Datum { ty: column.ty, n: (!null).then(|| dice.below(values)) }
    }
}

impl Schema {
    pub(super) fn random(dice: &mut Dice) -> Self {
        let moods: Vec<String> = (0..VALUES).map(|n| Datum { ty: Ty::Mood, n: Some(n) }.literal()).collect();
        let mut schema = Self { ddl: format!("CREATE TYPE mood AS ENUM ({});\n", moods.join(", ")), ..Self::default() };
        for n in 0..3 {
            schema.table(n, Kind::Keyed, dice);
        }
        schema.table(3, Kind::Heap, dice);
        schema.table(4, Kind::Parted, dice);
        for n in 0..3 {
            let mut grammar = Grammar::new(dice, &schema).without_arguments();
            let (sql, columns) = grammar.view();
            let name = format!("v{n}");
            let _ = writeln!(schema.ddl, "CREATE VIEW {name} AS {sql};");
            let reads = schema.named_in(&sql);
            schema.views.push(View { name, columns, reads });
        }
        schema
    }

    /// For each table, whether a text may read it: its name is somewhere in it, or that of a view which does.
    pub(super) fn named_in(&self, text: &str) -> Vec<bool> {
        let mut named: Vec<bool> = self.tables.iter().map(|table| text.contains(&table.name)).collect();
        for view in self.views.iter().filter(|view| text.contains(&view.name)) {
            named.iter_mut().zip(&view.reads).for_each(|(named, reads)| *named |= reads);
        }
        named
    }

    fn table(&mut self, n: usize, kind: Kind, dice: &mut Dice) {
        let id = if kind == Kind::Parted { Ty::Int } else { *dice.pick(Ty::IDS) };
        let mut columns = vec![Column { name: "id".into(), ty: id, nullable: false, of: None }];
        if kind == Kind::Keyed && n > 0 {
            let of = dice.below(n);
            columns.push(Column { name: "ref".into(), ty: self.tables[of].columns[0].ty, nullable: true, of: Some(of) });
        }
        for n in 0..3 + dice.below(4) {
            let ty = *dice.pick(Ty::ALL);
            columns.push(Column { name: format!("c{n}"), ty, nullable: dice.chance(50), of: None });
        }
        let name = format!("t{n}");
        let described: Vec<String> = columns
            .iter()
            .map(|column| {
                let mut text = format!("{} {}", column.name, column.ty.sql());
                if !column.nullable {
                    text.push_str(" NOT NULL");
                }
                if column.name == "id" && kind == Kind::Keyed {
                    text.push_str(" PRIMARY KEY");
                }
                if let Some(of) = column.of {
                    let action = *dice.pick(&["CASCADE", "SET NULL"]);
                    let _ = write!(text, " REFERENCES t{of} ON DELETE {action} ON UPDATE CASCADE");
                }
                text
            })
            .collect();
        let partition = if kind == Kind::Parted { " PARTITION BY RANGE (id)" } else { "" };
        let _ = writeln!(self.ddl, "CREATE TABLE {name} ({}){partition};", described.join(", "));
        if kind == Kind::Parted {
            self.ddl.push_str(PARTS);
        }
        self.tables.push(Table { name, columns, kind });
    }
}

/// Where a row that moves to the second part is dropped now and then.
const PARTS: &str = "CREATE TABLE t4_low PARTITION OF t4 FOR VALUES FROM (MINVALUE) TO (14);
CREATE TABLE t4_high PARTITION OF t4 FOR VALUES FROM (14) TO (26);
CREATE TABLE t4_rest PARTITION OF t4 DEFAULT;
CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id % 4 = 1 THEN RETURN NULL; END IF; RETURN NEW; END';
CREATE TRIGGER picky BEFORE INSERT ON t4_high FOR EACH ROW EXECUTE FUNCTION picky();
";
