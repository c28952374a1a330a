#[forge::input]
struct New {
    #[validate(email)]
    number: i32,
    #[validate(range(max = 3))]
    text: String,
    #[validate(custom = "check")]
    other: i64,
}

fn check(text: &String) -> Result<(), String> {
    drop(text.clone());
    Ok(())
}

fn main() {}
