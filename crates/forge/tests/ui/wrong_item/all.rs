#[forge::query]
struct NotAFunction;

#[forge::job]
struct NotAJob;

#[forge::cron("@daily")]
enum NotACron {}

#[forge::model]
enum NotAStruct {}

#[forge::model]
struct Tuple(i32);

#[forge::input]
fn not_a_type() {}

#[forge::input]
struct Unit;

#[forge::input]
struct Two(i32, i32);

#[forge::input]
struct Generic<T> {
    value: T,
}

#[forge::input]
enum Mixed {
    Tuple(i32),
    Tagged { r#type: i32 },
}

#[forge::forge_enum]
struct NotAnEnum;

#[forge::forge_enum]
enum Fields {
    One(i32),
}

#[forge::forge_enum]
enum Numbers {
    Two = 2,
}

#[forge::forge_enum]
enum Nothing {}

#[derive(forge::FromRow)]
enum NotARow {}

#[derive(Debug, forge::AppError)]
struct NotErrors;

fn main() {}
