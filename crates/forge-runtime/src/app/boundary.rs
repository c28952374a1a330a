//! What may not cross the line between clients and the server, looked at once, when the app is put together: a secret on its way
//! out, and a model with private columns on its way in.

use forge_core::function::FunctionInfo;
use forge_core::schema::TableDef;
use forge_core::wire::{TypeDef, TypeRef, TypeRegistry, path_to};
use forge_core::{Error, Result};

use crate::function::FunctionRegistry;

/// Checks what all functions take and answer.
///
/// # Errors
/// `SECRET_ANSWERED`, `PRIVATE_ARGUMENT`.
pub(super) fn check(functions: &FunctionRegistry, tables: &[TableDef]) -> Result<()> {
    let mut types = TypeRegistry::default();
    let definitions: Vec<_> = functions.iter().map(|entry| (entry.info, (entry.describe)(&mut types))).collect();
    // Two types of one name are reported where the app is described.
    let Ok(types) = types.finish() else { return Ok(()) };
    let private =
        |model: &str| tables.iter().any(|table| table.model == model && table.columns.iter().any(|column| column.private));
    for (info, definition) in &definitions {
        answers(info, &types, &definition.output)?;
        takes(info, &types, &definition.args, &private)?;
    }
    Ok(())
}

fn answers(info: &FunctionInfo, types: &[TypeDef], output: &TypeRef) -> Result<()> {
    let Some(path) = path_to(types, output, &|ty| *ty == TypeRef::Secret) else { return Ok(()) };
    let what = if path.is_empty() { "a secret".to_owned() } else { format!("the secret `{path}`") };
    Err(Error::config(
        "SECRET_ANSWERED",
        format!(
            "the function `{}` ({}:{}) would answer with {what}, and secrets only come from clients, they never go to one; answer with another type, or make the column `#[private]`",
            info.name, info.file, info.line
        ),
    ))
}

fn takes(info: &FunctionInfo, types: &[TypeDef], args: &TypeRef, private: &dyn Fn(&str) -> bool) -> Result<()> {
    let Some(path) = path_to(types, args, &|ty| matches!(ty, TypeRef::Named { name } if private(name))) else {
        return Ok(());
    };
    let what = if path.is_empty() { "it".to_owned() } else { format!("`{path}`") };
    Err(Error::config(
        "PRIVATE_ARGUMENT",
        format!(
            "the function `{}` ({}:{}) takes a model with private columns, which clients cannot send ({what}), so that they would be empty; take a `#[forge::input]` with what clients may send",
            info.name, info.file, info.line
        ),
    ))
}
