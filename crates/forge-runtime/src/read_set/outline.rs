//! A statement's text taken apart: which relations and functions it names, and which words occur in it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArguments, Ident, ObjectName, Query, SetExpr, Statement, TableAlias, TableFactor, Value, ValueWithSpan,
    Visit as _, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use super::{Fault, Unfollowable};

/// A name as PostgreSQL takes it: parts folded to lower case where they are not quoted.
pub(super) type Name = Vec<String>;

/// What a statement's text says by itself.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) statement: Box<Query>,
    /// Every place that names a relation, in order, functions in FROM left out.
    pub(super) relations: Vec<Name>,
    pub(super) functions: BTreeSet<Name>,
    /// Every identifier and keyword. A column that is read by its name is among them.
    pub(super) words: BTreeSet<String>,
    /// Columns may be read without being named: `*`, NATURAL, a row as a whole, renamed columns.
    pub(super) all_columns: bool,
}

/// Functions that are not in the catalogue under their name but read the clock or the session.
const TIME: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_catalog",
    "current_schema",
];

impl Outline {
    pub(super) fn of(text: &str) -> Result<Self, Unfollowable> {
        let unreadable = |why: String| Unfollowable(format!("the statement is not understood ({why})"));
        let dialect = PostgreSqlDialect {};
        let tokens = Tokenizer::new(&dialect, text).tokenize().map_err(|why| unreadable(why.to_string()))?;
        let mut statements = Parser::parse_sql(&dialect, text).map_err(|why| unreadable(why.to_string()))?;
        let (Some(Statement::Query(statement)), true) = (statements.pop(), statements.is_empty()) else {
            return Err(Unfollowable("only a SELECT (or WITH .. SELECT) can be followed".into()));
        };
        let mut names = Names::default();
        // A visitor that breaks has found what cannot be followed.
        if let ControlFlow::Break(why) = statement.visit(&mut names) {
            return Err(Unfollowable(why));
        }
        let (words, star) = words(&tokens);
        let whole_row = names.bare.iter().any(|word| names.aliases.contains(word));
        let natural = tokens.iter().any(|token| matches!(token, Token::Word(word) if word.keyword == Keyword::NATURAL));
        let Names { relations, functions, renamed, .. } = names;
        let whole_row = whole_row && !Fault::WholeRow.is_planted();
        Ok(Self { statement, relations, functions, words, all_columns: star || whole_row || natural || renamed })
    }
}

/// An identifier as PostgreSQL folds it.
pub(super) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A name's parts, unless one of them is no identifier.
pub(super) fn name(object: &ObjectName) -> Option<Name> {
    object.0.iter().map(|part| part.as_ident().map(folded)).collect()
}

/// All words, and whether a `*` stands for columns.
fn words(tokens: &[Token]) -> (BTreeSet<String>, bool) {
    let mut words = BTreeSet::new();
    let mut star = false;
    let mut before: Option<&Token> = None;
    for token in tokens {
        match token {
            Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => continue,
            Token::Whitespace(_) => continue,
            Token::Word(word) => {
                words.insert(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() });
            }
            // After an operand it multiplies; in `count(*)` it is no column. A closing parenthesis may be either.
            Token::Mul => {
                star |= match before {
                    Some(Token::Word(word)) => word.keyword != Keyword::NoKeyword,
                    Some(Token::Number(..) | Token::Placeholder(_) | Token::LParen) => false,
                    _ => true,
                };
            }
            _ => {}
        }
        before = Some(token);
    }
    (words, star)
}

/// Collects names.
#[derive(Default)]
struct Names {
    relations: Vec<Name>,
    functions: BTreeSet<Name>,
    /// Everything that a row can be called.
    aliases: BTreeSet<String>,
    /// Identifiers that stand alone, or end a longer name.
    bare: BTreeSet<String>,
    /// An alias renames columns.
    renamed: bool,
}

impl Names {
    fn alias(&mut self, alias: Option<&TableAlias>) {
        if let Some(alias) = alias {
            self.aliases.insert(folded(&alias.name));
            self.renamed |= !alias.columns.is_empty();
        }
    }
}

impl Visitor for Names {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.alias(Some(&cte.alias));
        }
        let mut bodies = vec![&*query.body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                SetExpr::Table(_) => {
                    return ControlFlow::Break("`TABLE name` cannot be followed; write SELECT * FROM name".into());
                }
                _ => return ControlFlow::Break("a statement that writes cannot be followed".into()),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        let unknown = || ControlFlow::Break("a part of its FROM is not understood".to_owned());
        match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                return ControlFlow::Break("TABLESAMPLE draws lots".into());
            }
            TableFactor::Table { name: object, alias, args, .. } => {
                let Some(name) = name(object) else { return unknown() };
                self.alias(alias.as_ref());
                if args.is_some() {
                    self.functions.insert(name);
                } else {
                    self.aliases.extend(name.last().cloned());
                    self.relations.push(name);
                }
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::NestedJoin { alias, .. }
            | TableFactor::UNNEST { alias, .. } => {
                self.alias(alias.as_ref());
            }
            TableFactor::Function { name: object, alias, .. } => {
                let Some(name) = name(object) else { return unknown() };
                self.alias(alias.as_ref());
                self.functions.insert(name);
            }
            _ => return unknown(),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        let refused = |why: &str| ControlFlow::Break(why.to_owned());
        match expr {
            Expr::Identifier(ident) => return self.column(ident),
            Expr::CompoundIdentifier(parts) => {
                return parts.last().map_or(ControlFlow::Continue(()), |last| self.column(last));
            }
            Expr::Function(function) => {
                let Some(name) = name(&function.name) else { return refused("one of its functions is not understood") };
                let last = name.last().map_or("", String::as_str);
                if matches!(function.args, FunctionArguments::None) || TIME.contains(&last) {
                    return refused(&format!("it reads `{last}`, which changes without anything being written"));
                }
                self.functions.insert(name);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<String> {
        let text = match &value.value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => text,
            Value::DollarQuotedString(text) => &text.value,
            _ => return ControlFlow::Continue(()),
        };
        if tells_time(text) {
            return ControlFlow::Break(format!(
                "'{text}' may be read as a time, which changes without anything being written"
            ));
        }
        ControlFlow::Continue(())
    }
}

/// Whether PostgreSQL could read a text as a time of today: `now`, `tomorrow`, also with a time of day or a zone.
fn tells_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()).collect();
    let begins = |word: &str| ["now", "today", "tomorrow", "yesterday"].contains(&word);
    // A time of day, a zone, `allballs`: nothing that a sentence would go on with.
    let belongs = |word: &str| {
        begins(word)
            || word == "allballs"
            || word.len() <= 4
            || word.contains(|c: char| c.is_ascii_digit() || "/:+".contains(c))
    };
    words.iter().any(|word| begins(word)) && words.iter().all(|word| belongs(word))
}

/// Columns that every table has and no trigger sees a change of.
const SYSTEM: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl Names {
    fn column(&mut self, ident: &Ident) -> ControlFlow<String> {
        let name = folded(ident);
        if SYSTEM.contains(&name.as_str()) {
            return ControlFlow::Break(format!("it reads `{name}`, which changes without anybody being told"));
        }
        self.bare.insert(name);
        ControlFlow::Continue(())
    }
}
