//! Random queries. What they answer is determined: whatever takes some rows of many orders them by everything it shows.

use super::datum::{Arg, Datum, Ty, VALUES};
use super::dice::Dice;
use super::schema::{IDS, Schema, Table};

/// A query.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) args: Vec<Arg>,
    /// The order of its rows is part of the result.
    pub(super) ordered: bool,
    /// Rows of one table, picked by nothing but what rows can be matched by, and shown as they are.
    pub(super) keyed: bool,
    /// `table.column = value` is among its conditions.
    pub(super) target: Option<(usize, String, Datum)>,
}

/// Something in a FROM.
#[derive(Debug, Clone)]
struct Item {
    alias: String,
    columns: Vec<(String, Ty)>,
}

/// A part of a query.
struct Part {
    sql: String,
    columns: Vec<(String, Ty)>,
}

/// Makes queries.
pub(super) struct Grammar<'a> {
    dice: &'a mut Dice,
    schema: &'a Schema,
    args: Vec<Arg>,
    with_arguments: bool,
    /// WITH queries that may be read.
    ctes: Vec<(String, Vec<(String, Ty)>)>,
    aliases: usize,
    /// How deep in sub-selects.
    depth: usize,
    /// Only what rows can be matched by.
    keyed: bool,
}

impl<'a> Grammar<'a> {
    pub(super) fn new(dice: &'a mut Dice, schema: &'a Schema) -> Self {
        Self { dice, schema, args: Vec::new(), with_arguments: true, ctes: Vec::new(), aliases: 1, depth: 0, keyed: false }
    }

    pub(super) fn without_arguments(mut self) -> Self {
        self.with_arguments = false;
        self
    }

    /// The body of a view.
    pub(super) fn view(&mut self) -> (String, Vec<(String, Ty)>) {
        let part = self.inner(&[]);
        (part.sql, part.columns)
    }

    /// One table by its keys.
    pub(super) fn keyed(mut self) -> Query {
        self.keyed = true;
        let table = self.dice.below(self.schema.tables.len());
        let of = &self.schema.tables[table];
        let keys: Vec<_> = of.columns.iter().filter(|column| column.ty.is_key()).cloned().collect();
        let column = self.dice.pick(&keys).clone();
        let value = Datum { ty: column.ty, n: Some(self.dice.below(VALUES)) };
        let wanted = self.value(value);
        let mut conditions = vec![format!("{} = {wanted}", column.name)];
        if self.dice.chance(40) {
            let other = self.dice.pick(&keys).clone();
            let condition = match self.dice.below(4) {
                0 if other.nullable => format!("{} IS NULL", other.name),
                1 if other.ty.has_order() => {
                    let bound = self.any_value(other.ty);
                    format!("{} {} {bound}", other.name, self.dice.pick(&["<", ">=", ">"]))
                }
                2 => {
                    let list = self.array(other.ty);
                    format!("{} = ANY({list})", other.name)
                }
                _ => format!("{} IN ({}, {})", other.name, self.any_value(other.ty), self.any_value(other.ty)),
            };
            conditions.push(condition);
        }
        let shown: Vec<String> = of.columns.iter().map(|column| column.name.clone()).collect();
        let shown =
            if self.dice.chance(50) { "*".to_owned() } else { shown[..1 + self.dice.below(shown.len())].join(", ") };
        Query {
            text: format!("SELECT {shown} FROM {} WHERE {}", of.name, conditions.join(" AND ")),
            args: self.args,
            ordered: false,
            keyed: true,
            target: Some((table, column.name, value)),
        }
    }

    /// Anything.
    pub(super) fn any(mut self) -> Query {
        let mut with = String::new();
        if self.dice.chance(25) {
            let body = self.inner(&[]);
            // Now and then it takes the name of a table, which it may read itself.
            let name =
                if self.dice.chance(40) { self.dice.pick(&self.schema.tables).name.clone() } else { "w0".to_owned() };
            with = format!("WITH {name} AS ({}) ", body.sql);
            self.ctes.push((name, body.columns));
        }
        let ordered = self.dice.chance(35);
        let part = self.select(&[], false, ordered);
        Query { text: format!("{with}{}", part.sql), args: self.args, ordered, keyed: false, target: None }
    }

    /// A sub-select with names for what it shows.
    fn inner(&mut self, outer: &[Item]) -> Part {
        self.depth += 1;
        let limited = self.dice.chance(22);
        let mut part = self.select(outer, true, limited);
        if !limited && self.dice.chance(12) {
            // The same columns of something else, so that they fit.
            let casts: Vec<Ty> = part.columns.iter().map(|(_, ty)| *ty).collect();
            if let Some(other) = self.of_types(&casts) {
                let word = self.dice.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
                part.sql = format!("{} {word} {other}", part.sql);
            }
        }
        self.depth -= 1;
        part
    }

    /// A simple SELECT of columns of these types, if a table has them.
    fn of_types(&mut self, types: &[Ty]) -> Option<String> {
        if types.iter().any(|ty| !ty.is_strict()) {
            return None;
        }
        let readable = self.tables();
        let start = self.dice.below(readable.len().max(1));
        for n in 0..readable.len() {
            let table = &readable[(start + n) % readable.len()];
            let find = |ty: &Ty| table.columns.iter().find(|column| column.ty == *ty).map(|column| column.name.clone());
            let found: Option<Vec<String>> = types.iter().map(find).collect();
            if let Some(found) = found {
                let item = Item {
                    alias: table.name.clone(),
                    columns: table.columns.iter().map(|column| (column.name.clone(), column.ty)).collect(),
                };
                let condition = self.comparison(std::slice::from_ref(&item));
                return Some(format!("SELECT {} FROM {} WHERE {condition}", found.join(", "), table.name));
            }
        }
        None
    }

    fn select(&mut self, outer: &[Item], named: bool, ordered: bool) -> Part {
        let (first, mut from) = if self.dice.chance(if self.depth == 0 { 40 } else { 15 }) {
            // The same alias everywhere, so that one hides another.
            let table = self.dice.pick(&self.tables()).clone();
            let columns = table.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
            (Item { alias: "x1".into(), columns }, format!("{} x1", table.name))
        } else {
            self.item(outer)
        };
        let mut items = vec![first];
        let joins = if self.depth > 1 { 0 } else { *self.dice.pick(&[0, 0, 0, 1, 1, 2]) };
        for _ in 0..joins {
            let (item, sql) = self.item(outer);
            let mut both = items.clone();
            both.push(item.clone());
            let on = self.join_condition(&items, &item);
            match self.dice.below(10) {
                0..4 => from = format!("{from} JOIN {sql} ON {on}"),
                4..7 => from = format!("{from} LEFT JOIN {sql} ON {on}"),
                7 => from = format!("{from} RIGHT JOIN {sql} ON {on}"),
                8 if self.full_is_possible(&on) => from = format!("{from} FULL JOIN {sql} ON {on}"),
                _ => from = format!("{from} JOIN {sql} ON {on}"),
            }
            items = both;
        }
        if self.depth < 2 && self.dice.chance(6) {
            // What is joined sees what it is joined to.
            let lateral = self.inner_of(&items, outer);
            let alias = self.alias();
            let word = *self.dice.pick(&["JOIN", "LEFT JOIN"]);
            from = format!("{from} {word} LATERAL ({}) {alias} ON true", lateral.sql);
            items.push(Item { alias, columns: lateral.columns });
        }
        let condition = self.condition(&items, outer);
        self.show(&items, &from, &condition, named, ordered)
    }

    fn inner_of(&mut self, items: &[Item], outer: &[Item]) -> Part {
        let mut all = in_sight(outer, items);
        all.extend(items.iter().cloned());
        self.inner(&all)
    }

    /// FULL JOIN wants a condition that can be hashed or merged.
    fn full_is_possible(&self, on: &str) -> bool {
        on.contains(" = ") && !on.contains("(SELECT") && !on.contains(" OR ")
    }

    /// What is shown of the rows, with everything around it.
    fn show(&mut self, items: &[Item], from: &str, condition: &str, named: bool, ordered: bool) -> Part {
        let grouped = self.dice.chance(14);
        let distinct = !grouped && self.dice.chance(10);
        let strict = grouped || distinct || ordered || named;
        let mut shown: Vec<(String, Ty)> = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let (sql, ty) = self.column(items);
            // Json has an order, but no minimum; what is not strict may be shown in more than one way.
            if !strict || (ty.is_strict() && ty != Ty::Json) {
                shown.push((sql, ty));
            }
        }
        let mut tail = String::new();
        if grouped {
            let keys: Vec<String> = shown.iter().map(|(sql, _)| sql.clone()).collect();
            if !keys.is_empty() {
                tail = format!(" GROUP BY {}", keys.join(", "));
            }
            let (counted, _) = self.column(items);
            shown.push((format!("count({counted})"), Ty::BigInt));
            if self.dice.chance(30) {
                tail.push_str(&format!(" HAVING count(*) > {}", self.dice.below(3)));
            }
        } else if !distinct && !named {
            if self.dice.chance(5) {
                let alias = &self.dice.pick(items).alias;
                shown.push((format!("{alias}::text"), Ty::Text));
            }
            if self.dice.chance(6) {
                let (by, _) = self.column(items);
                let window = *self.dice.pick(&["count(*)", "count(*) FILTER (WHERE true)"]);
                shown.push((format!("{window} OVER (PARTITION BY {by})"), Ty::BigInt));
            }
        } else if named && !distinct && self.dice.chance(6) {
            let (by, _) = self.column(items);
            shown.push((format!("count(*) OVER (PARTITION BY {by})"), Ty::BigInt));
        }
        if shown.is_empty() {
            shown.push(("1".into(), Ty::Int));
        }
        let star = !strict && items.len() == 1 && self.dice.chance(20);
        let columns: Vec<(String, Ty)> = shown.iter().enumerate().map(|(n, (_, ty))| (format!("o{n}"), *ty)).collect();
        let list: Vec<String> = shown
            .iter()
            .enumerate()
            .map(|(n, (sql, _))| if named { format!("{sql} AS o{n}") } else { sql.clone() })
            .collect();
        let list = if star { "*".to_owned() } else { list.join(", ") };
        let word = if distinct { "SELECT DISTINCT" } else { "SELECT" };
        let filter = if condition.is_empty() { String::new() } else { format!(" WHERE {condition}") };
        if ordered {
            let mut by: Vec<String> = (1..=shown.len()).map(|n| n.to_string()).collect();
            if !grouped && !distinct && self.dice.chance(40) {
                let (first, _) = self.column(items);
                by.insert(0, format!("{first} DESC"));
            }
            tail.push_str(&format!(" ORDER BY {}", by.join(", ")));
            if named || self.dice.chance(50) {
                tail.push_str(&format!(" LIMIT {}", 1 + self.dice.below(4)));
                if self.dice.chance(30) {
                    tail.push_str(&format!(" OFFSET {}", self.dice.below(3)));
                }
            }
        }
        Part { sql: format!("{word} {list} FROM {from}{filter}{tail}"), columns }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("x{}", self.aliases)
    }

    /// Something to read, and how it is written.
    fn item(&mut self, outer: &[Item]) -> (Item, String) {
        let roll = self.dice.below(100);
        if let Some((name, columns)) = self.ctes.first().cloned().filter(|_| roll < 12) {
            let alias = self.alias();
            return (Item { alias: alias.clone(), columns }, format!("{name} {alias}"));
        }
        if roll < 28
            && let Some(view) = (!self.schema.views.is_empty()).then(|| self.dice.pick(&self.schema.views).clone())
        {
            let alias = self.alias();
            return (Item { alias: alias.clone(), columns: view.columns }, format!("{} {alias}", view.name));
        }
        if roll < 36 && self.depth < 2 {
            // What stands in a FROM sees nothing of what is beside it, but of what is outside.
            let part = self.inner(outer);
            let alias = self.alias();
            return (Item { alias: alias.clone(), columns: part.columns }, format!("({}) {alias}", part.sql));
        }
        let tables = self.tables();
        let table = self.dice.pick(&tables);
        let alias = self.alias();
        let columns = table.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        (Item { alias: alias.clone(), columns }, format!("{} {alias}", table.name))
    }

    /// The tables whose names are not taken by WITH queries.
    fn tables(&self) -> Vec<Table> {
        let taken = |table: &&Table| self.ctes.iter().any(|(name, _)| *name == table.name);
        self.schema.tables.iter().filter(|table| !taken(table)).cloned().collect()
    }

    fn column(&mut self, items: &[Item]) -> (String, Ty) {
        let item = self.dice.pick(items);
        let (name, ty) = self.dice.pick(&item.columns);
        (format!("{}.{name}", item.alias), *ty)
    }

    /// Two columns of one type, if there are.
    fn pair(&mut self, left: &[Item], right: &Item) -> Option<(String, String)> {
        for _ in 0..8 {
            let (one, ty) = self.column(left);
            let fitting: Vec<_> = right.columns.iter().filter(|(_, other)| *other == ty && ty != Ty::Json).collect();
            if !fitting.is_empty() {
                let (other, _) = self.dice.pick(&fitting);
                return Some((one, format!("{}.{other}", right.alias)));
            }
        }
        None
    }

    fn join_condition(&mut self, left: &[Item], right: &Item) -> String {
        let mut conditions = Vec::new();
        if let Some((one, other)) = self.pair(left, right) {
            conditions.push(format!("{one} = {other}"));
        }
        if conditions.is_empty() || self.dice.chance(25) {
            let mut all = left.to_vec();
            all.push(right.clone());
            conditions.push(self.comparison(&all));
        }
        if self.dice.chance(10)
            && let Some((one, other)) = self.pair(left, right)
        {
            conditions.push(format!("{one} <> {other}"));
        }
        conditions.join(" AND ")
    }

    /// A WHERE, mostly one that narrows.
    fn condition(&mut self, items: &[Item], outer: &[Item]) -> String {
        let mut conditions = Vec::new();
        let outside = in_sight(outer, items);
        if !outside.is_empty() && self.dice.chance(70) {
            let right = self.dice.pick(items).clone();
            if let Some((one, other)) = self.pair(&outside, &right) {
                conditions.push(format!("{one} = {other}"));
            }
        }
        if self.dice.chance(85) {
            let key = (0..6).find_map(|_| Some(self.column(items)).filter(|(_, ty)| ty.is_key()));
            if let Some((column, ty)) = key {
                conditions.push(format!("{column} = {}", self.any_value(ty)));
            }
        }
        while self.dice.chance(40) {
            conditions.push(self.predicate(items, outer));
        }
        conditions.join(" AND ")
    }

    fn predicate(&mut self, items: &[Item], outer: &[Item]) -> String {
        match self.dice.below(20) {
            0..12 => self.comparison(items),
            12 => format!("({} OR {})", self.comparison(items), self.comparison(items)),
            13 => format!("NOT ({})", self.comparison(items)),
            14 => format!("NOT ({} AND {})", self.comparison(items), self.comparison(items)),
            _ if self.depth < 2 => self.sub_select(items, outer),
            _ => self.comparison(items),
        }
    }

    fn sub_select(&mut self, items: &[Item], outer: &[Item]) -> String {
        let not = if self.dice.chance(40) { "NOT " } else { "" };
        match self.dice.below(5) {
            0..3 => {
                let part = self.inner_of(items, outer);
                format!("{not}EXISTS ({})", part.sql)
            }
            3 => {
                let (column, ty) = self.column(items);
                match self.of_types(&[ty]).filter(|_| ty != Ty::Json) {
                    Some(sql) => format!("{column} {not}IN ({sql})"),
                    None => self.comparison(items),
                }
            }
            _ => {
                let part = self.inner_of(items, outer);
                format!("(SELECT count(*) FROM ({}) s) > {}", part.sql, self.dice.below(3))
            }
        }
    }

    /// A condition on the columns of one row.
    fn comparison(&mut self, items: &[Item]) -> String {
        let (column, ty) = self.column(items);
        match self.dice.below(22) {
            0..5 => format!("{column} = {}", self.any_value(ty)),
            5 => format!("{} = {column}", self.any_value(ty)),
            6 => format!("{column} IN ({}, {})", self.any_value(ty), self.any_value(ty)),
            7 | 8 => format!("{column} = ANY({})", self.array(ty)),
            9 | 10 if ty != Ty::Json => {
                let operator = *self.dice.pick(&["<", "<=", ">", ">="]);
                format!("{column} {operator} {}", self.any_value(ty))
            }
            11 if ty != Ty::Json => format!("{column} BETWEEN {} AND {}", self.any_value(ty), self.any_value(ty)),
            12 => format!("{column} IS NULL"),
            13 => format!("{column} IS NOT NULL"),
            14 => format!("{column} IS DISTINCT FROM {}", self.any_value(ty)),
            15 => format!("{column} IS NOT DISTINCT FROM {}", self.any_value(ty)),
            16 => format!("{column} <> {}", self.any_value(ty)),
            17 => format!("coalesce({column}, {}) = {}", self.any_value(ty), self.any_value(ty)),
            18 if ty.has_order() => {
                let (other, second) = self.column(items);
                if !second.has_order() {
                    return format!("{column} = {}", self.any_value(ty));
                }
                let operator = *self.dice.pick(&["<", "<=", ">", ">="]);
                format!("({column}, {other}) {operator} ({}, {})", self.any_value(ty), self.any_value(second))
            }
            19 if ty == Ty::Bool => column,
            20 if ty == Ty::Bool => format!("NOT {column}"),
            _ => format!("{column} = {}", self.any_value(ty)),
        }
    }

    fn any_value(&mut self, ty: Ty) -> String {
        let values = if Ty::IDS.contains(&ty) && self.dice.chance(30) { IDS } else { VALUES };
        let null = self.dice.chance(2);
        let n = (!null).then(|| self.dice.below(values));
        self.value(Datum { ty, n })
    }

    fn value(&mut self, datum: Datum) -> String {
        let cast = || datum.ty.sql().split(' ').next().unwrap_or_default().to_owned();
        // A time that is written in a statement is not understood: how it is read depends on settings.
        if !self.with_arguments || (datum.ty != Ty::Stamp && self.dice.chance(25)) {
            return if datum.n.is_none() { format!("NULL::{}", cast()) } else { datum.literal() };
        }
        self.args.push(Arg::One(datum));
        let place = format!("${}", self.args.len());
        if datum.ty == Ty::Text && !self.keyed && self.dice.chance(15) {
            // Cut to one letter by the cast.
            return format!("{place}::varchar(1)");
        }
        // Where nothing else says what it is, so that all places have the type that is sent.
        format!("{place}::{}", cast())
    }

    fn array(&mut self, ty: Ty) -> String {
        let mut list = Vec::new();
        for _ in 0..self.dice.below(4) {
            let null = self.dice.chance(10);
            list.push(Datum { ty, n: (!null).then(|| self.dice.below(VALUES)) });
        }
        let name = ty.sql().split(' ').next().unwrap_or_default().to_owned();
        if !self.with_arguments {
            let list: Vec<String> = list.iter().map(|datum| datum.literal()).collect();
            return format!("ARRAY[{}]::{name}[]", list.join(", "));
        }
        self.args.push(Arg::Many(list));
        format!("${}::{name}[]", self.args.len())
    }
}

/// What is not hidden by an alias of these.
fn in_sight(outer: &[Item], items: &[Item]) -> Vec<Item> {
    outer.iter().filter(|one| items.iter().all(|item| item.alias != one.alias)).cloned().collect()
}
