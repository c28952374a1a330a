//! The columns that a query shows.

use sqlparser::ast::{Expr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr};

use super::{Env, Stop, Walk};
use crate::read_set::outline::{folded, name};
use crate::read_set::scope::{ItemColumn, Meaning, Place, Scope};

impl<'c> Walk<'c> {
    /// The columns of a query, and whether that is all of them.
    pub(super) fn columns_of<'e>(&mut self, query: &'e Query, env: Env<'e>) -> Result<(Vec<ItemColumn>, bool), Stop>
    where
        'c: 'e,
    {
        let at: *const Query = query;
        if let Some(known) = self.outputs.get(&at) {
            return Ok(known.clone());
        }
        let mut found = (Vec::new(), false);
        self.with(query, env, &mut |walk: &mut Self, env: Env<'_>| {
            found = walk.columns_of_body(&query.body, env)?;
            Ok(())
        })?;
        self.outputs.insert(at, found.clone());
        Ok(found)
    }

    fn columns_of_body<'e>(&mut self, body: &'e SetExpr, env: Env<'e>) -> Result<(Vec<ItemColumn>, bool), Stop>
    where
        'c: 'e,
    {
        match body {
            SetExpr::Select(select) => {
                let scope = self.scope(&select.from, None, env)?;
                let shown = projection(select, &scope);
                let complete = shown.is_some();
                let column = |(name, place): (String, Option<Place>)| {
                    let of = place.and_then(|place| scope.column(place));
                    let (kind, ordered) = of.map_or((None, false), |of| (of.kind, of.ordered));
                    ItemColumn { name, kind, ordered }
                };
                Ok((shown.unwrap_or_default().into_iter().map(column).collect(), complete))
            }
            SetExpr::Query(query) => self.columns_of(query, env),
            SetExpr::SetOperation { left, right, .. } => {
                let (mut columns, complete) = self.columns_of_body(left, env)?;
                let (others, known) = self.columns_of_body(right, env)?;
                for (n, column) in columns.iter_mut().enumerate() {
                    let other = others.get(n).filter(|other| known && other.kind == column.kind);
                    column.kind = column.kind.filter(|_| other.is_some());
                    column.ordered &= other.is_some_and(|other| other.ordered);
                }
                Ok((columns, complete))
            }
            _ => Ok((Vec::new(), false)),
        }
    }
}

/// What a select shows: names, and the columns of its FROM where they are shown as they are. None when that is not known.
pub(super) fn projection(select: &Select, scope: &Scope<'_>) -> Option<Vec<(String, Option<Place>)>> {
    let all = 0..scope.items.len();
    let place = |expr: &Expr| match scope.meaning(expr, &all) {
        Meaning::Local(place) => Some(place),
        _ => None,
    };
    let columns_of = |item: usize| {
        let columns = scope.items[item].columns.iter().enumerate();
        columns.map(move |(column, of)| (of.name.clone(), Some(Place { item, column })))
    };
    let mut shown = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => match expr {
                Expr::Identifier(ident) => shown.push((folded(ident), place(expr))),
                Expr::CompoundIdentifier(parts) => shown.push((parts.last().map(folded)?, place(expr))),
                // PostgreSQL makes up a name.
                _ => return None,
            },
            SelectItem::ExprWithAlias { expr, alias } => shown.push((folded(alias), place(expr))),
            SelectItem::Wildcard(_) if !scope.merged && scope.items.iter().all(|item| item.complete) => {
                shown.extend(all.clone().flat_map(columns_of));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(object), _) => {
                let [alias]: [String; 1] = name(object)?.try_into().ok()?;
                let mut named = all.clone().filter(|n| scope.items[*n].alias.as_ref() == Some(&alias));
                let (item, None) = (named.next()?, named.next()) else { return None };
                if !scope.items[item].complete {
                    return None;
                }
                shown.extend(columns_of(item));
            }
            _ => return None,
        }
    }
    Some(shown)
}
