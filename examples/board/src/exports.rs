//! Exports: a board as a table for a spreadsheet, made by a job whose progress the page shows.
//!
//! The file is the job's output. Of the app's users only whoever dispatched it sees it (see `trackJob`), and goes on seeing what the board said then, also
//! after they have left it; whoever operates the app sees outputs as well (`/_api/jobs/{id}`). It is kept with the job's history: an hour at least,
//! and until its day is dropped, some days later.

use forge::prelude::*;

use crate::access;
use crate::boards::Board;
use crate::columns::BoardColumn;
use crate::errors::BoardError;
use crate::members::MemberRole;

/// How large a file may be, in bytes: as JSON it has to fit into an answer (function.max_result_size).
const BYTES_MAX: usize = 700_000;

/// What a table begins with.
const HEAD: &str = "Column,Title,Description,Priority,Due,Estimate,Assigned to,Comments\r\n";

/// A board to be exported.
#[forge::input]
pub struct ExportBoard {
    /// The board.
    pub board_id: Uuid,
}

/// A file.
#[forge::input]
pub struct ExportFile {
    /// What to call it.
    pub file_name: String,
    /// What is in it: CSV, with a byte order mark, as spreadsheets like it.
    pub content: String,
    /// How many cards that is.
    pub cards: u32,
}

/// A card in full.
#[derive(forge::FromRow)]
struct Row {
    title: String,
    description: String,
    priority: crate::cards::Priority,
    due: Option<Timestamp>,
    estimate: Option<Decimal>,
    assignee: Option<String>,
    comments: i64,
}

/// Begins to export a board; answers with the job to follow.
#[forge::mutation]
pub async fn start_export(ctx: &MutationContext, board_id: Uuid) -> Result<Uuid> {
    access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Viewer).await?;
    Ok(ctx.dispatch_job(ExportBoard { board_id }).await?.id)
}

/// Makes the file, column by column.
#[forge::job(
    queue = "exports",
    timeout = "2m",
    retain = "1h",
    concurrency(limit = 4),
    retry(max_attempts = 3, initial = "1s")
)]
pub async fn export_board(ctx: &JobContext, input: ExportBoard) -> Result<ExportFile> {
    // Again: whoever asked may not be a member any more.
    access::to_board(ctx.auth(), ctx.db(), input.board_id, MemberRole::Viewer).await?;
    let board = Board::find(input.board_id).fetch_one(ctx.db()).await?;
    let columns = BoardColumn::query().filter(BoardColumn::BOARD_ID.eq(board.id)).order_by(BoardColumn::POSITION.asc());
    let columns = columns.fetch_all(ctx.db()).await?;
    let mut content = format!("\u{feff}{HEAD}");
    let mut cards = 0_u32;
    for (n, column) in columns.iter().enumerate() {
        let percent = u8::try_from(n * 100 / columns.len())?;
        ctx.progress(percent, format!("“{}”, column {} of {}", column.name, n + 1, columns.len())).await?;
        for row in cards_of(ctx, column.id).await? {
            write(&mut content, &column.name, &row);
            cards += 1;
        }
        if content.len() > BYTES_MAX {
            // Trying again would not make it smaller.
            return Err(Error::cancel(BoardError::ExportTooLarge { limit: BYTES_MAX / 1000 }.to_string()));
        }
    }
    Ok(ExportFile { file_name: file_name(&board.name), content, cards })
}

async fn cards_of(ctx: &JobContext, column_id: Uuid) -> Result<Vec<Row>> {
    sql!(
        Row,
        "SELECT c.title, c.description, c.priority, c.due, c.estimate, u.name AS assignee,
                (SELECT count(*) FROM comments m WHERE m.card_id = c.id) AS comments
           FROM cards c LEFT JOIN users u ON u.id = c.assignee_id
          WHERE c.column_id = {column_id} ORDER BY c.position"
    )
    .fetch_all(ctx.db())
    .await
}

fn write(content: &mut String, column: &str, row: &Row) {
    let priority = format!("{:?}", row.priority).to_lowercase();
    let due = row.due.map(|due| due.to_string()).unwrap_or_default();
    let estimate = row.estimate.map(|estimate| estimate.to_string()).unwrap_or_default();
    let comments = row.comments.to_string();
    let assignee = row.assignee.as_deref().unwrap_or_default();
    let fields = [column, &row.title, &row.description, &priority, &due, &estimate, assignee, &comments];
    let line: Vec<String> = fields.into_iter().map(field).collect();
    content.push_str(&line.join(","));
    content.push_str("\r\n");
}

/// A field of a table. What a spreadsheet would take for a formula is kept from being one.
fn field(text: &str) -> String {
    let quote = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{quote}{}\"", text.replace('"', "\"\""))
}

/// A board's name as that of a file, anywhere.
fn file_name(board: &str) -> String {
    let words = board.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let name: String = words.collect::<Vec<_>>().join("-").chars().take(60).collect();
    format!("{}.csv", if name.is_empty() { "board" } else { &name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_card_says_stays_in_its_field() {
        assert_eq!(field("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(field("=1+1"), "\"'=1+1\"");
        assert_eq!(file_name("Füllig & co/../x"), "Füllig-co-x.csv");
        assert_eq!(file_name("🥛"), "board.csv");
    }
}
