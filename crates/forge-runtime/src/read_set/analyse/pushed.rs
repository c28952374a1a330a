//! What is asked of a sub-select's columns, and may be asked of its tables.

use std::ops::ControlFlow;

use sqlparser::ast::{Distinct, Expr, Function, GroupByExpr, Select, Value, Visit, Visitor};

use super::shown::projection;
use crate::read_set::Test;
use crate::read_set::scope::{Meaning, Place, Scope};

/// What is asked of a select's columns, where that may be asked of its FROM: of columns that are shown as they are, and when leaving rows
/// out changes nothing about the others.
pub(super) fn pushable(select: &Select, scope: &Scope<'_>, pushed: &[(usize, Test)]) -> Vec<(Place, Test)> {
    if pushed.is_empty() || matches!(select.distinct, Some(Distinct::On(_))) || has_window(select) {
        return Vec::new();
    }
    let Some(shown) = projection(select, scope) else { return Vec::new() };
    let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else { return Vec::new() };
    let plain = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_));
    if !modifiers.is_empty() || !groups.iter().all(plain) {
        return Vec::new();
    }
    let all = 0..scope.items.len();
    let in_group = |n: usize, place: Place| {
        groups.iter().any(|group| match group {
            Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if *digits == (n + 1).to_string()),
            group => matches!(scope.meaning(group, &all), Meaning::Local(one) if one == place),
        })
    };
    let mut found = Vec::new();
    for (n, test) in pushed {
        let Some((_, Some(place))) = shown.get(*n) else { continue };
        // A group's rows are left out together.
        let whole = groups.is_empty() || in_group(*n, *place);
        // A row that is missing shows NULL too.
        let there = !scope.has_outer || !test.may_be_null();
        if whole && there {
            found.push((*place, test.clone()));
        }
    }
    found
}

/// Whether a select looks at rows beside the one it shows.
fn has_window(select: &Select) -> bool {
    struct Windows;
    impl Visitor for Windows {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(Function { over: Some(_), .. }) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    select.projection.visit(&mut Windows).is_break()
}
