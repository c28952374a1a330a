//! Statements whose result changes with their table.

use forge::prelude::*;

use crate::Note;

/// The notes of a batch, twice in one snapshot.
#[forge::query(public, snapshot)]
pub async fn notes_twice(ctx: &QueryContext, batch: Uuid) -> Result<Vec<Note>> {
    let mut notes = sql!(Note, "SELECT * FROM notes WHERE batch = {batch}").fetch_all(ctx.db()).await?;
    notes.extend(sql!(Note, "SELECT * FROM notes WHERE batch = {batch} ORDER BY position").fetch_all(ctx.db()).await?);
    Ok(notes)
}

/// Writes, then reads the notes of a batch twice.
#[forge::mutation(public)]
pub async fn count_and_read(ctx: &MutationContext, name: String, batch: Uuid) -> Result<Vec<Note>> {
    sql!(
        "INSERT INTO counters (name, value) VALUES ({name}, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1"
    )
    .execute(ctx.db())
    .await?;
    let mut notes = sql!(Note, "SELECT * FROM notes WHERE batch = {batch} AND position >= 0").fetch_all(ctx.db()).await?;
    notes.extend(sql!(Note, "SELECT notes.* FROM notes WHERE batch = {batch}").fetch_all(ctx.db()).await?);
    Ok(notes)
}
