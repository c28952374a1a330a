//! What stands in a FROM: tables, views, WITH queries, sub-selects, and how they are joined.

use sqlparser::ast::{Expr, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins};

use super::{Env, Stop, Walk, With, unclear};
use crate::read_set::catalogue::{Column, Relation};
use crate::read_set::outline::{folded, name};
use crate::read_set::scope::{Item, ItemColumn, Of, Scope};
use crate::read_set::{Fault, Unfollowable};

impl<'c> Walk<'c> {
    /// A FROM with its WHERE.
    pub(super) fn scope<'e>(
        &mut self,
        from: &'e [TableWithJoins],
        selection: Option<&'e Expr>,
        env: Env<'e>,
    ) -> Result<Scope<'e>, Stop>
    where
        'c: 'e,
    {
        let mut scope = Scope::default();
        for chain in from {
            self.chain(&mut scope, chain, env)?;
        }
        if let Some(condition) = selection {
            let all = 0..scope.items.len();
            scope.filters.push((all, condition));
        }
        Ok(scope)
    }

    /// A table and what is joined to it.
    fn chain<'e>(&mut self, scope: &mut Scope<'e>, from: &'e TableWithJoins, env: Env<'e>) -> Result<(), Stop>
    where
        'c: 'e,
    {
        let first = scope.items.len();
        self.factor(scope, &from.relation, env)?;
        for join in &from.joins {
            let right = scope.items.len();
            self.factor(scope, &join.relation, env)?;
            let end = scope.items.len();
            let mut on = |constraint: &'e JoinConstraint| match constraint {
                JoinConstraint::On(condition) => Some(condition),
                JoinConstraint::Using(_) | JoinConstraint::Natural => {
                    scope.merged = true;
                    None
                }
                JoinConstraint::None => None,
            };
            match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
                    let on = on(constraint);
                    scope.filters.extend(on.map(|condition| (first..end, condition)));
                }
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    let on = on(constraint);
                    scope.has_outer = true;
                    scope.outer.extend(on.map(|condition| (right..end, first..end, condition)));
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    let on = on(constraint);
                    scope.has_outer = true;
                    scope.outer.extend(on.map(|condition| (first..right, first..end, condition)));
                }
                JoinOperator::FullOuter(constraint) => {
                    on(constraint);
                    scope.has_outer = true;
                }
                _ => scope.has_outer = true,
            }
        }
        Ok(())
    }

    fn factor<'e>(&mut self, scope: &mut Scope<'e>, factor: &'e TableFactor, env: Env<'e>) -> Result<(), Stop>
    where
        'c: 'e,
    {
        let item = match factor {
            TableFactor::Table { name: object, alias, args: None, .. } => {
                let Some(name) = name(object) else { return Err(unclear("a name in its FROM is not understood")) };
                let own = name.last().cloned().unwrap_or_default();
                let hidden = Fault::WithShadow.is_planted()
                    && matches!(self.catalogue.relations.get(&name), Some(Relation::Table(_)));
                let mut item = match self.cte(&name, env) {
                    Some(with) if !hidden => self.cte_item(with)?,
                    _ => self.relation(&name)?,
                };
                item.alias = Some(own);
                renamed(item, alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => return self.chain(scope, table_with_joins, env),
            // Its name hides those inside, but not from the conditions inside: nothing is known of it.
            TableFactor::NestedJoin { table_with_joins, alias: Some(_) } => {
                Item { alias: None, of: Of::Joined(table_with_joins), columns: Vec::new(), complete: false }
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let (columns, complete) = self.columns_of(subquery, env)?;
                let of = if *lateral { Of::Lateral(subquery) } else { Of::Query(subquery, env) };
                renamed(Item { alias: None, of, columns, complete }, alias.as_ref())
            }
            TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                renamed(Item { alias: None, of: Of::Nothing, columns: Vec::new(), complete: false }, alias.as_ref())
            }
            _ => return Err(unclear("a part of its FROM is not understood")),
        };
        scope.items.push(item);
        Ok(())
    }

    /// The WITH query that a name stands for.
    fn cte<'e>(&self, name: &[String], env: Env<'e>) -> Option<&'e With<'e>>
    where
        'c: 'e,
    {
        let [name] = name else { return None };
        let mut next = env.ctes;
        while let Some(with) = next {
            if folded(&with.cte.alias.name) == *name {
                return Some(with);
            }
            next = with.next;
        }
        None
    }

    fn cte_item<'e>(&mut self, with: &'e With<'e>) -> Result<Item<'e>, Stop>
    where
        'c: 'e,
    {
        let Some(env) = with.env else {
            return Ok(Item { alias: None, of: Of::Nothing, columns: Vec::new(), complete: false });
        };
        let (columns, complete) = self.columns_of(&with.cte.query, env)?;
        let item = Item { alias: None, of: Of::Query(&with.cte.query, env), columns, complete };
        Ok(renamed(item, Some(&with.cte.alias)))
    }

    fn relation<'e>(&mut self, name: &[String]) -> Result<Item<'e>, Stop>
    where
        'c: 'e,
    {
        let catalogue = self.catalogue;
        match catalogue.relations.get(name) {
            Some(Relation::Table(table)) => {
                let column =
                    |column: &Column| ItemColumn { name: column.name.clone(), kind: column.key, ordered: column.ordered };
                let columns = table.columns.iter().map(column).collect();
                // Beside these there are system columns, which cannot be read here (see `outline`).
                Ok(Item { alias: None, of: Of::Table(table.clone()), columns, complete: true })
            }
            Some(Relation::View(_)) if Fault::View.is_planted() => {
                Ok(Item { alias: None, of: Of::Nothing, columns: Vec::new(), complete: false })
            }
            Some(Relation::View(outline)) => {
                let env = Env { outline, ctes: None, outer: None };
                let (columns, complete) = self.columns_of(&outline.statement, env)?;
                Ok(Item { alias: None, of: Of::Query(&outline.statement, env), columns, complete })
            }
            Some(Relation::Unfollowable(why)) => Err(Stop::Unfollowable(Unfollowable(why.clone()))),
            None => Err(unclear(&format!("there is no table {}", name.join(".")))),
        }
    }
}

/// An item under the names that its alias gives it.
fn renamed<'e>(mut item: Item<'e>, alias: Option<&TableAlias>) -> Item<'e> {
    if let Some(alias) = alias {
        item.alias = Some(folded(&alias.name));
        for (column, name) in item.columns.iter_mut().zip(&alias.columns) {
            column.name = folded(&name.name);
        }
    }
    item
}
