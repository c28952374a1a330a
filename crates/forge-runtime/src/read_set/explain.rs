//! A reading, told to people.

use std::fmt::Write as _;

use super::{Columns, Dependency, Key, Point, Reading, Term, Test, Values};

impl Reading {
    /// A line for each source, then what narrows nothing.
    pub(crate) fn explained(&self) -> String {
        let mut text = String::new();
        for source in &self.sources {
            let rows = rows(source.keys.iter().map(key).collect());
            // Writing to a string succeeds.
            let _ = writeln!(text, "  {}: {rows}; reads {}", source.table.name, columns(&source.columns));
        }
        if self.sources.is_empty() {
            text.push_str("  no table\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  narrows nothing: {note}");
        }
        text
    }
}

impl Dependency {
    /// A line for it.
    pub(crate) fn explained(&self) -> String {
        let rows = rows(self.keys.iter().map(|(column, values)| bound(column, values)).collect());
        format!("  {}: {rows}; reads {}", self.table.name, columns(&self.columns))
    }
}

fn rows(keys: Vec<String>) -> String {
    if keys.is_empty() { "all rows".to_owned() } else { format!("rows with {}", keys.join(" and ")) }
}

fn columns(columns: &Columns) -> String {
    match columns {
        Columns::All => "all columns".to_owned(),
        Columns::These(names) if names.is_empty() => "no column's values".to_owned(),
        Columns::These(names) => names.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

/// A column with the values that a run wanted.
fn bound(column: &str, values: &Values) -> String {
    match values {
        Values::Among(values) => {
            let values: Vec<String> =
                values.iter().map(|value| value.as_ref().map_or("NULL".into(), |text| quoted(text))).collect();
            match values.as_slice() {
                [one] if one == "NULL" => format!("{column} IS NULL"),
                [one] => format!("{column} = {one}"),
                several => format!("{column} IN ({})", several.join(", ")),
            }
        }
        Values::Within(span) => {
            let edge = |sign: &str, (at, included): &(Point, bool)| {
                format!("{column} {sign}{} {}", if *included { "=" } else { "" }, point(at))
            };
            let low = span.low.as_ref().map(|low| edge(">", low));
            let high = span.high.as_ref().map(|high| edge("<", high));
            low.into_iter().chain(high).collect::<Vec<_>>().join(" and ")
        }
    }
}

fn point(point: &Point) -> String {
    match point {
        Point::Int(n) => n.to_string(),
        Point::Uuid(id) => quoted(&uuid::Uuid::from_u128(*id).to_string()),
        Point::Text(text) => quoted(text),
        Point::Time(i128::MAX) => "'infinity'".into(),
        Point::Time(i128::MIN) => "'-infinity'".into(),
        Point::Time(micros) => {
            let time = i64::try_from(*micros).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
            time.map_or_else(|| format!("{micros} µs since 1970"), |time| quoted(&time.to_string()))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn key(key: &Key) -> String {
    let column = &key.column;
    match &key.test {
        Test::Among(terms) => {
            let terms: Vec<String> = terms.iter().map(term).collect();
            match terms.as_slice() {
                [one] if one == "NULL" => format!("{column} IS NULL"),
                [one] => format!("{column} = {one}"),
                several => format!("{column} IN ({})", several.join(", ")),
            }
        }
        Test::Above { than, included } => format!("{column} {} {}", if *included { ">=" } else { ">" }, term(than)),
        Test::Below { than, included } => format!("{column} {} {}", if *included { "<=" } else { "<" }, term(than)),
    }
}

fn term(term: &Term) -> String {
    match term {
        Term::Argument(n) => format!("${}", n + 1),
        Term::ArgumentOrNull(n) => format!("${} or NULL", n + 1),
        Term::Elements(n) => format!("ANY(${})", n + 1),
        Term::Literal(text) => quoted(text),
        Term::Null => "NULL".to_owned(),
    }
}
