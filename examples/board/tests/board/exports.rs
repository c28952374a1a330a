//! Exports: a job of whoever asked for it, and its output is the file.

use board::boards::{RenameBoard, rename_board};
use board::exports::{ExportBoard, StartExport, start_export};
use board::members::{MemberRole, RemoveMember, remove_member};
use forge::testing::TestApp;
use forge::{JobStatus, Result};

use crate::people::{board_of, card, member, person, refused};

#[forge::test]
async fn a_board_becomes_a_file(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    ada.calls.call(rename_board, RenameBoard { board_id: board.id, name: "Kitchen & co".into() }).await?;
    card(&ada, board.columns[0].id, "Milk, \"fresh\"").await?;
    card(&ada, board.columns[2].id, "=HYPERLINK(\"x\")").await?;
    let id = ada.calls.call(start_export, StartExport { board_id: board.id }).await?;
    app.assert_dispatched::<ExportBoard>(|job| job.board_id == board.id).await;
    app.run_jobs().await?;
    let job = app.parts().job(id).await?;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    let file = job.output.unwrap_or_else(|| panic!("there is an output"));
    assert_eq!((file["fileName"].as_str(), file["cards"].as_u64()), (Some("Kitchen-co.csv"), Some(2)));
    let lines: Vec<&str> = file["content"].as_str().unwrap_or_default().lines().collect();
    assert_eq!(lines[0], "\u{feff}Column,Title,Description,Priority,Due,Estimate,Assigned to,Comments");
    assert_eq!(lines[1], r#""To do","Milk, ""fresh""","","normal","","","","0""#);
    assert!(lines[2].starts_with(r#""Done","'=HYPERLINK(""x"")""#), "{}", lines[2]);
    assert_eq!(lines.len(), 3);
    Ok(())
}

#[forge::test]
async fn only_who_may_see_a_board_may_export_it(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let board_id = board.id;
    let eve = person(&app, "Eve").await?;
    refused(eve.calls.call(start_export, StartExport { board_id }).await, "NOT_A_MEMBER");
    refused(app.anonymous().call(start_export, StartExport { board_id }).await, "UNAUTHORIZED");
    // Who has left before it is begun gets nothing.
    let vic = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?;
    let id = vic.calls.call(start_export, StartExport { board_id }).await?;
    ada.calls.call(remove_member, RemoveMember { board_id, user_id: vic.id }).await?;
    app.run_jobs().await?;
    let job = app.parts().job(id).await?;
    assert_eq!((job.output, job.error.map(|error| error["code"].clone())), (None, Some("NOT_A_MEMBER".into())));
    Ok(())
}
