//! The statements by which transactions begin, are divided and end.

use std::sync::{Arc, LazyLock};

use crate::db::Shape;

macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        $(pub(super) static $name: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of($text));)*
    };
}

statements! {
    BEGIN_SERIALIZABLE = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    BEGIN_READ_COMMITTED = "BEGIN ISOLATION LEVEL READ COMMITTED";
    BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    // Assigning the id here costs nothing: the first write of the mutation would assign it.
    SET_WRITE = "SELECT pg_current_xact_id()::text, set_config('statement_timeout', $1, true), set_config('forge.user_id', $2, true), \
                 set_config('forge.function_name', $3, true), set_config('forge.trace_id', $4, true)";
    SET_OWN = "SELECT pg_current_xact_id()::text, set_config('statement_timeout', $1, true)";
    SET_READ = "SELECT set_config('statement_timeout', $1, true)";
    BEGIN_READ = "BEGIN READ ONLY";
    NOTHING = "SELECT";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    SAVEPOINT = "SAVEPOINT forge_nested";
    RELEASE = "RELEASE SAVEPOINT forge_nested";
    ROLLBACK_TO = "ROLLBACK TO SAVEPOINT forge_nested";
    EXPORT = "SELECT pg_export_snapshot()";
}
