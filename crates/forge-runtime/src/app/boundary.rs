//! What may not cross the line between clients and the server, or lie in a row, looked at once, when the app is put together: a secret
//! on its way out or into a queue, and a model with private columns on its way in.

use forge_core::schema::TableDef;
use forge_core::wire::{TypeDef, TypeRef, TypeRegistry, path_to};
use forge_core::{Error, Result};

use crate::function::{FunctionRegistry, Place};
use crate::jobs::JobRegistry;

/// Checks what all functions and jobs take and answer.
///
/// # Errors
/// `SECRET_ANSWERED`, `SECRET_STORED`, `PRIVATE_ARGUMENT`.
pub(super) fn check(functions: &FunctionRegistry, jobs: &JobRegistry, tables: &[TableDef]) -> Result<()> {
    let mut types = TypeRegistry::default();
    let functions: Vec<_> =
        functions.iter().map(|entry| (Place::of_function(&entry.info), (entry.describe)(&mut types))).collect();
    let jobs: Vec<_> = jobs.describe(&mut types).into_iter().map(|(info, job)| (Place::of_job(info), job)).collect();
    // Two types of one name are reported where the app is described.
    let Ok(types) = types.finish() else { return Ok(()) };
    let private =
        |model: &str| tables.iter().any(|table| table.model == model && table.columns.iter().any(|column| column.private));
    for (place, definition) in &functions {
        answers(place, &types, &definition.output)?;
        takes(place, &types, &definition.args, &private)?;
    }
    for (place, definition) in &jobs {
        answers(place, &types, &definition.output)?;
        takes(place, &types, &definition.input, &private)?;
        stores(place, &types, &definition.input)?;
    }
    Ok(())
}

fn secret_in(types: &[TypeDef], ty: &TypeRef) -> Option<String> {
    let path = path_to(types, ty, &|ty| *ty == TypeRef::Secret)?;
    Some(if path.is_empty() { "a secret".to_owned() } else { format!("the secret `{path}`") })
}

fn answers(place: &Place, types: &[TypeDef], output: &TypeRef) -> Result<()> {
    let Some(what) = secret_in(types, output) else { return Ok(()) };
    Err(Error::config(
        "SECRET_ANSWERED",
        format!(
            "{place} would answer with {what}, and secrets only come from clients, they never go to one; answer with another type, or make the column `#[private]`"
        ),
    ))
}

fn stores(place: &Place, types: &[TypeDef], input: &TypeRef) -> Result<()> {
    let Some(what) = secret_in(types, input) else { return Ok(()) };
    Err(Error::config(
        "SECRET_STORED",
        format!(
            "{place} takes {what}, and a job's input lies in the database in plain text, in its history too; give the job an id, and let it look up what it needs"
        ),
    ))
}

fn takes(place: &Place, types: &[TypeDef], args: &TypeRef, private: &dyn Fn(&str) -> bool) -> Result<()> {
    let Some(path) = path_to(types, args, &|ty| matches!(ty, TypeRef::Named { name } if private(name))) else {
        return Ok(());
    };
    let what = if path.is_empty() { "it".to_owned() } else { format!("`{path}`") };
    Err(Error::config(
        "PRIVATE_ARGUMENT",
        format!(
            "{place} takes a model with private columns, which clients cannot send ({what}), so that they would be empty; take a `#[forge::input]` with what clients may send"
        ),
    ))
}
