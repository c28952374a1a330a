use forge::{Error, ErrorKind, Result};
use serde_json::json;

#[derive(Debug, forge::AppError)]
pub enum BoardError {
    #[error(code = "COLUMN_FULL", status = 409, message = "the column holds {limit} cards, {{and}} {by_whom:?} wants more")]
    Full { limit: u32, by_whom: Option<String>, total: i64 },
    #[error(status = 410)]
    BoardArchived,
    #[error(message = "weight {weight} is no number")]
    OddWeight { weight: f64 },
}

fn fail(error: BoardError) -> Result<()> {
    Err(error)?;
    Ok(())
}

#[test]
fn clients_see_code_message_and_details() {
    let error = fail(BoardError::Full { limit: 3, by_whom: None, total: 4 }).unwrap_err();
    assert_eq!((error.kind(), error.code(), error.http_status()), (ErrorKind::App, "COLUMN_FULL", 409));
    assert_eq!(error.public_message(), "the column holds 3 cards, {and} None wants more");
    assert_eq!(error.details(), Some(&json!({ "limit": 3, "byWhom": null, "total": "4" })));
}

#[test]
fn what_is_not_said_comes_from_the_name() {
    let error = Error::from(BoardError::BoardArchived);
    assert_eq!((error.code(), error.http_status(), error.message()), ("BOARD_ARCHIVED", 410, "board archived"));
    assert_eq!(error.details(), None);
}

#[test]
fn details_that_json_cannot_say_are_a_mistake_of_the_server() {
    let error = Error::from(BoardError::OddWeight { weight: f64::NAN });
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("`weight`"));
}

#[test]
fn it_is_a_standard_error() {
    let error: Box<dyn std::error::Error> = Box::new(BoardError::BoardArchived);
    assert_eq!(error.to_string(), "board archived");
}
