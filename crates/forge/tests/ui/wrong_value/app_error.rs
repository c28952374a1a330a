#[derive(Debug, forge::AppError)]
enum BoardError {
    #[error(code = "NOT_FOUND")]
    Gone,
    #[error(code = "column full", status = 200)]
    Full,
    #[error(code = "SAME")]
    One,
    #[error(code = "SAME")]
    Other,
    #[error(message = "only {limt}")]
    Limited { limit: u32 },
    #[error]
    Empty,
    Tuple(u32),
    Timeout,
}

fn main() {}
